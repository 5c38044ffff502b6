#include "net.hpp"

#include <algorithm>
#include <new>

#include "base/units.hpp"
#include "kernel/log/log.hpp"
#include "kernel/memory/page_allocator.hpp"
#include "kernel/random/random.hpp"
#include "net_pair.hpp"

namespace aril::virtio {
namespace {

constexpr bool kHasMultiqueue = NetDevice::kMaxQueues > 1;

}  // namespace

NetDriver::Sizes NetDriver::sizes_for(size_t total_ram, unsigned cpus) {
  if (total_ram < 32 * kMiB) return {.receive_buffers = 64, .transmit_slots = 32};
  // Each pair takes half a MiB.
  unsigned pairs = std::clamp(cpus, 1u, kMaxQueues);
  if (total_ram < 256 * kMiB)
    return {.receive_buffers = 128, .transmit_slots = 64, .merge_segments = true, .pairs = pairs};
  return {.receive_buffers = 256, .transmit_slots = 128, .merge_segments = true, .pairs = pairs};
}

NetDriver::NetDriver(std::unique_ptr<Transport> transport, Sizes sizes)
    : Driver(std::move(transport)), sizes_(sizes) {}

NetDriver::~NetDriver() = default;

Result<void> NetDriver::start() {
  if (kHasMultiqueue && sizes_.pairs > 1 && offers_pairs()) {
    Result<void> started = start_with(sizes_.pairs);
    if (started) return {};
    ARIL_TRY(give_up_pairs(started.error()));
  }
  return start_with(1);
}

Result<void> NetDriver::start_with(unsigned pairs) {
  uint64_t wanted = kNetChecksum | kNetGuestChecksum | kNetMtu | kNetMac | kNetHostTso4 |
                    kNetHostTso6 | kNetHostUfo | kNetMergeBuffers | kNetStatus;
  // Merged segments need buffers that merge too: single buffers of 64 KiB would waste memory. The
  // offer is looked at first because the two cannot be accepted independently.
  bool merging = (transport().offered_features() & kNetMergeBuffers) != 0;
  if (merging && sizes_.merge_segments) wanted |= kNetGuestTso4 | kNetGuestTso6;
  if (kHasMultiqueue && pairs > 1) wanted |= kNetControlQueue | kNetMultiqueue;
  ARIL_TRY(negotiate(wanted));
  merge_buffers_ = has(kNetMergeBuffers);
  read_config();
  if (kHasMultiqueue && pairs > 1) pairs = ARIL_TRY(count_pairs(pairs));
  pair_count_ = pairs;

  ARIL_TRY(transport().connect_interrupts(*this, 2 * pairs));
  for (unsigned i = 0; i < pairs; ++i) {
    pairs_[i].reset(new (std::nothrow) Pair(*this, i));
    if (pairs_[i] == nullptr) return fail(Errno::kNoMem);
    ARIL_TRY(pairs_[i]->prepare());
  }
  if (kHasMultiqueue && pairs > 1) {
    // [virtio-1.2] 5.1.2: behind all the pairs that the device has, used or not.
    unsigned index = 2 * transport().read_config(kNetConfigMaxPairs, 2);
    control_ = ARIL_TRY(NetControl::create(ARIL_TRY(make_queue(index, NetControl::kQueueSize))));
  }
  set_live();
  for (unsigned i = 0; i < pairs; ++i) pairs_[i]->offer_buffers();
  // [virtio-1.2] 5.1.6.5.5: until then the device uses the first pair alone.
  if (kHasMultiqueue && pairs > 1) ARIL_TRY(control_->set_pairs(static_cast<uint16_t>(pairs)));
  return {};
}

bool NetDriver::offers_pairs() {
  const uint64_t offered = transport().offered_features();
  if ((offered & kNetMultiqueue) == 0) return false;
  if ((offered & kNetControlQueue) != 0) return true;
  // [virtio-1.2] 5.1.3.1
  ++multiqueue_errors_;
  ARIL_LOG_WARNING("virtio", "%s: several pairs of queues, but no control queue: using one pair",
                   place());
  return false;
}

/// How many pairs there will be. kRange when the device names an impossible number.
Result<unsigned> NetDriver::count_pairs(unsigned most) {
  const unsigned offered = transport().read_config(kNetConfigMaxPairs, 2);
  if (!has(kNetMultiqueue) || offered == 0 || offered > kNetMaxPairs) return fail(Errno::kRange);
  return std::min(most, offered);
}

/// What was begun with several pairs is undone, for a new start with one.
Result<void> NetDriver::give_up_pairs(Errno error) {
  ++multiqueue_errors_;
  [[maybe_unused]] const char* what = "an error";
  if (error == Errno::kRange) what = "an impossible number of them";
  if (error == Errno::kNoDev) what = "too few queues";
  if (error == Errno::kProto) what = "the command was refused";
  if (error == Errno::kTimedOut) what = "no answer to the command";
  if (error == Errno::kIo) what = "a broken control queue";
  ARIL_LOG_WARNING("virtio", "%s: several pairs of queues do not work (%s: %d): using one pair",
                   place(), what, static_cast<int>(error));
  // The queues' memory is the device's until then.
  if (!transport().reset()) return fail(Errno::kIo);
  for (auto& pair : pairs_) pair.reset();
  control_.reset();
  return {};
}

void NetDriver::read_config() {
  offloads_ = NetOffload::kNone;
  if (has(kNetMac)) {
    for (unsigned i = 0; i < mac_.size(); ++i)
      mac_[i] = static_cast<uint8_t>(transport().read_config(kNetConfigMac + i, 1));
  } else {
    random::fill(std::as_writable_bytes(std::span(mac_)));
    mac_[0] = static_cast<uint8_t>((mac_[0] | 2) & ~1);  // locally administered, not a group
  }
  if (has(kNetMtu)) {
    uint32_t mtu = transport().read_config(kNetConfigMtu, 2);
    // A frame must fit into one buffer where they do not merge. Below 68 there is no IPv4
    // [RFC 791] 3.2.
    uint32_t most = (merge_buffers_ ? kMaxFrame : Pair::kSlotPayload) - kEthernetHeader;
    mtu_ = std::clamp<uint32_t>(mtu, 68, most);
  }
  if (has(kNetChecksum)) {
    offloads_ |= NetOffload::kTxChecksum;
    // [virtio-1.2] 5.1.3.1: segmentation needs the checksum feature.
    if (has(kNetHostTso4)) offloads_ |= NetOffload::kTsoIpv4;
    if (has(kNetHostTso6)) offloads_ |= NetOffload::kTsoIpv6;
    if (has(kNetHostUfo)) offloads_ |= NetOffload::kUfo;
  }
  if (has(kNetGuestChecksum)) offloads_ |= NetOffload::kRxChecksum;
  if (has(kNetGuestTso4 | kNetGuestTso6)) offloads_ |= NetOffload::kRxGro;
  on_config_change();
}

void NetDriver::on_config_change() {
  if (!has(kNetStatus)) return;
  bool up = (transport().read_config(kNetConfigStatus, 2) & kNetStatusLinkUp) != 0;
  if (link_up_.exchange(up, std::memory_order_relaxed) != up) signals_[0].wake();
}

void NetDriver::set_callback(unsigned queue, void (*callback)(void*), void* context) {
  signals_[queue].context = context;
  // Release: the interrupt handler that sees the function sees its context.
  signals_[queue].callback.store(callback, std::memory_order_release);
}

void NetDriver::Signal::wake() {
  if (auto function = callback.load(std::memory_order_acquire); function != nullptr)
    function(context);
}

void NetDriver::on_failed() {
  for (Signal& signal : signals_) signal.wake();
}

void NetDriver::on_queue_interrupt(unsigned queue) {
  const unsigned index = queue / 2 % kMaxQueues;
  const bool is_receive = queue % 2 == 0;
  Signal& signal = signals_[index];
  std::atomic<bool>& armed = is_receive ? signal.receive_armed : signal.transmit_blocked;
  if (!armed.load(std::memory_order_relaxed)) return;
  // Where the queues share an interrupt, only those who have something are woken. What is armed has
  // a pair that stays.
  if (kHasMultiqueue && is_receive && !pairs_[index]->has_received()) return;
  // Acquire and release pair with the arming thread: its callback runs for what it armed.
  if (armed.exchange(false, std::memory_order_acq_rel)) signal.wake();
}

unsigned NetDriver::cpu_of_queue(unsigned queue) const { return queue / 2; }

Result<void> NetDriver::transmit(const TxFrame& frame, void (*release)(void*), void* context) {
  return pair(frame.queue).transmit(frame, {release, context});
}

void NetDriver::flush_transmit(unsigned queue) { pair(queue).flush_transmit(); }

unsigned NetDriver::poll_receive(unsigned queue, unsigned budget, Sink sink, void* context) {
  return pair(queue).poll_receive(budget, sink, context);
}

bool NetDriver::arm_interrupt(unsigned queue) { return pair(queue).arm_interrupt(); }

NetDevice::QueueCounters NetDriver::queue_counters(unsigned queue) const {
  return pair(queue).frames;
}

NetDriver::Counters NetDriver::counters() const {
  Counters sum{.multiqueue_errors = multiqueue_errors_};
  for (const auto& pair : pairs_) {
    if (pair == nullptr) continue;
    sum.receive_errors += pair->receive_errors;
    sum.transmit_full += pair->transmit_full;
  }
  return sum;
}

void NetDriver::broken(const char* what) {
  if (has_failed()) return;
  fail_device(what);
  on_failed();
}

}  // namespace aril::virtio
