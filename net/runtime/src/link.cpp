#include "link.hpp"

#include <algorithm>
#include <cstring>

#include "core.hpp"
#include "flow_hash.hpp"
#include "kernel/log/log.hpp"
#include "kernel/random/random.hpp"
#include "kernel/sched/scheduler.hpp"
#include "kernel/sched/timer.hpp"
#include "net/runtime/runtime.hpp"
#include "net/wire/address_text.hpp"

namespace aril::net {
namespace {
constexpr unsigned kReceiveBudget = 64;
/// Frames up to this size, that of a usual link's, are copied into the ring: cheaper than keeping
/// track of their blocks, and one descriptor for the device.
constexpr size_t kCopyLimit = 1514;
constexpr size_t kMaxPieces = 20;
constexpr size_t kMaxHeader = HeaderBuffer::kSize;
}  // namespace

struct Link::Record {
  std::array<RefPtr<Block>, kMaxPieces> blocks;
  std::array<TxFrame::Piece, kMaxPieces + 1> pieces;
  size_t piece_count = 0;
  uint16_t checksum_start = 0, checksum_offset = 0, segment_size = 0, header_length = 0;
  std::array<std::byte, kMaxHeader> header;
  bool is_ipv6 = false, is_datagram = false;
  PacketPtr copy;  // of payload that nobody keeps alive

  static void release(void* record) { delete static_cast<Record*>(record); }
  static Record* make(const TxPacket& packet);
};

Link::Record* Link::Record::make(const TxPacket& packet) {
  if (packet.header.size() > kMaxHeader || packet.payload.size() > kMaxPieces) return nullptr;
  std::unique_ptr<Record> record(new (std::nothrow) Record);
  if (!record) return nullptr;
  std::memcpy(record->header.data(), packet.header.data(), packet.header.size());
  record->header_length = static_cast<uint16_t>(packet.header.size());
  record->pieces[record->piece_count++] = {record->header.data(), record->header_length};
  bool shared = std::ranges::all_of(packet.payload, [](const TxPiece& p) { return p.block; });
  size_t total = packet.size() - packet.header.size();
  if (shared) {
    for (size_t i = 0; i < packet.payload.size(); ++i) {
      record->blocks[i] = RefPtr<Block>(packet.payload[i].block);
      record->pieces[record->piece_count++] = {packet.payload[i].data, packet.payload[i].length};
    }
  } else if (total != 0) {
    auto copy = Packet::allocate(total);
    if (!copy) return nullptr;
    record->copy = std::move(*copy);
    size_t at = 0;
    for (const TxPiece& piece : packet.payload) {
      std::memcpy(record->copy->bytes().data() + at, piece.data, piece.length);
      at += piece.length;
    }
    record->pieces[record->piece_count++] = {record->copy->bytes().data(),
                                             static_cast<uint32_t>(total)};
  }
  record->checksum_start = packet.checksum_start;
  record->checksum_offset = packet.checksum_offset;
  record->segment_size = packet.segment_size;
  record->is_ipv6 = packet.is_ipv6;
  record->is_datagram = packet.is_datagram;
  return record.release();
}

Result<void> Link::make_queues() {
  const unsigned count = std::min(device_.queue_count(), NetDevice::kMaxQueues);
  queues_.reset(new (std::nothrow) Queue[count]);
  if (!queues_) return fail(Errno::kNoMem);
  queue_count_ = count;
  for (unsigned i = 0; i < count; ++i) {
    queues_[i].link = this;
    queues_[i].index = static_cast<uint8_t>(i);
  }
  flow_seed_ = static_cast<uint32_t>(random::next_u64());
  return {};
}

Result<void> Link::start(unsigned number) {
  ARIL_TRY(make_queues());
  char name[16];
  auto text = format_to(std::span(name), "eth%u", number);
  InterfaceConfig config{.name = text, .hardware = device_.mac(), .mtu = device_.mtu()};
  if (has(device_.offloads(), NetOffload::kTxChecksum)) config.features |= LinkFeatures::kChecksum;
  if (has(device_.offloads(), NetOffload::kTsoIpv4)) config.features |= LinkFeatures::kTso;
  if (has(device_.offloads(), NetOffload::kTsoIpv6)) config.features |= LinkFeatures::kTso6;
  if (has(device_.offloads(), NetOffload::kUfo)) config.features |= LinkFeatures::kUfo;
  core_.lock();
  auto interface = core_.stack->add_interface(config, *this);
  core_.unlock();
  interface_ = ARIL_TRY(std::move(interface));
  for (Queue& queue : queues()) {
    if (queue.index != 0) text = format_to(std::span(name), "eth%u-%u", number, queue.index);
    queue.thread = ARIL_TRY(Thread::create(text, Thread::Kind::kKernel, run, &queue));
    // As far as there are CPUs: a device may have more queues.
    if (queue_count_ > 1) (void)queue.thread->set_affinity(CpuMask{1} << queue.index);
    device_.set_callback(queue.index, on_device_event, &queue);
  }
  for (Queue& queue : queues()) queue.thread->start();
  return {};
}

void Link::on_device_event(void* queue) { static_cast<Queue*>(queue)->wake(); }

void Link::Queue::wake() {
  // Release pairs with the thread's exchange: it sees what the device did before.
  event.store(true, std::memory_order_release);
  events.wake_all();
}

void Link::run(void* self) {
  auto& queue = *static_cast<Queue*>(self);
  Link& link = *queue.link;
  for (;;) {
    if (link.serve(queue)) {
      // Let the threads that were woken run: their answers leave in the same batch.
      Thread::yield();
      continue;
    }
    if (!link.device_.arm_interrupt(queue.index)) continue;
    (void)queue.events.wait_until([&queue] { return queue.event.exchange(false); },
                                  Instant::never(), Interruptible::kNo);
  }
}

/// Receives once, in the queue's thread. True when there was something.
bool Link::serve(Queue& queue) {
  const bool is_alone = NetDevice::kMaxQueues == 1 || queue_count_ == 1;
  if (!is_alone && device_.poll_receive(queue.index, kReceiveBudget, deliver_locking, &queue) != 0)
    return true;
  core_.lock();
  unsigned received = 0;
  if (is_alone) {
    received = poll(queue, kReceiveBudget);
  } else {
    prepare_poll(queue);  // the last look before the thread sleeps
  }
  if (!queue.batch.is_empty()) end_batch(queue);
  // Not the stack's time, which is that before the frames.
  queue.batch.expect(received, now());
  core_.unlock();
  return received != 0;
}

void Link::prepare_poll(Queue& queue) {
  queue.batch.expect_no_more();
  core_.stack->ip().set_carrier(*interface_, device_.link_up());
  drain_backlog(queue);
}

void Link::deliver(void* self, std::span<const RxFrame> frames) {
  auto* link = static_cast<Link*>(self);
  for (const RxFrame& frame : frames)
    link->core_.stack->receive(*link->interface_, frame.bytes(),
                               frame.checksum == RxChecksum::kVerified ? ChecksumState::kVerified
                                                                       : ChecksumState::kUnknown);
}

void Link::deliver_locking(void* self, std::span<const RxFrame> frames) {
  auto& queue = *static_cast<Queue*>(self);
  Link& link = *queue.link;
  link.core_.lock();
  link.prepare_poll(queue);
  deliver(&link, frames);
  link.poll_dhcp();
  if (!queue.batch.is_empty()) link.end_batch(queue);
  queue.batch.expect(static_cast<unsigned>(frames.size()), now());
  link.core_.unlock();
}

unsigned Link::poll(Queue& queue, unsigned budget) {
  prepare_poll(queue);
  const unsigned count = device_.poll_receive(queue.index, budget, deliver, this);
  if (count != 0) poll_dhcp();
  return count;
}

unsigned Link::poll(unsigned budget) {
  unsigned count = 0;
  for (Queue& queue : queues()) count += poll(queue, budget);
  return count;
}

void Link::end_batch(Queue& queue) {
  // With others before it, it could be long until this queue's thread gets its turn.
  bool others_wait = Scheduler::waiting_here() > 1;
  if (!others_wait && !queue.batch.is_due(core_.stack->now())) return;
  queue.batch.clear();
  // Release, and after the frames were queued: whoever clears it sees them.
  queue.needs_flush.store(true, std::memory_order_release);
}

void Link::flush() {
  for (Queue& queue : queues()) {
    if (queue.needs_flush.load(std::memory_order_relaxed) && queue.needs_flush.exchange(false))
      device_.flush_transmit(queue.index);
  }
}

Link::Queue& Link::queue_of(const TxPacket& packet) {
  if (NetDevice::kMaxQueues == 1 || queue_count_ == 1) return queues_[0];
  return queues_[uint64_t{flow_hash(packet.header, flow_seed_)} * queue_count_ >> 32];
}

void Link::transmit(const TxPacket& packet) {
  Queue& queue = queue_of(packet);
  auto& backlog = queue.backlog;
  const size_t size = packet.size();
  queue.batch.add(size, core_.stack->now());
  core_.has_frames = true;
  if (backlog.empty() && size <= kCopyLimit && packet.payload.size() < kMaxPieces) {
    std::array<TxFrame::Piece, kMaxPieces> pieces;
    size_t count = 0;
    pieces[count++] = {packet.header.data(), static_cast<uint32_t>(packet.header.size())};
    for (const TxPiece& piece : packet.payload) pieces[count++] = {piece.data, piece.length};
    TxFrame frame{.pieces = {pieces.data(), count},
                  .checksum_start = packet.checksum_start,
                  .checksum_offset = packet.checksum_offset,
                  .queue = queue.index};
    auto sent = device_.transmit(frame);
    if (sent || sent.error() != Errno::kAgain) return;
  }
  std::unique_ptr<Record> record(Record::make(packet));
  if (record && backlog.empty()) {
    auto sent = submit(queue, *record);
    if (sent) {
      (void)record.release();  // the device's now
      return;
    }
    if (sent.error() != Errno::kAgain) record.reset();
  }
  if (!record || backlog.size() >= kMaxBacklog || !backlog.push_back(record.get())) {
    ++interface_->statistics().send_dropped;
    core_.stack->counters().drop(DropReason::kDeviceFull);
    return;
  }
  (void)record.release();
  // The thread arms the room interrupt when it goes to sleep.
  if (backlog.size() == 1) queue.wake();
}

Result<void> Link::submit(Queue& queue, Record& record) {
  TxFrame frame{.pieces = {record.pieces.data(), record.piece_count},
                .checksum_start = record.checksum_start,
                .checksum_offset = record.checksum_offset,
                .segment_size = record.segment_size,
                .header_length = record.header_length,
                .is_ipv6 = record.is_ipv6,
                .is_datagram = record.is_datagram,
                .queue = queue.index};
  return device_.transmit(frame, Record::release, &record);
}

void Link::drain_backlog(Queue& queue) {
  auto& backlog = queue.backlog;
  while (!backlog.empty()) {
    Record* record = backlog.front();
    auto sent = submit(queue, *record);
    if (!sent && sent.error() == Errno::kAgain) return;
    backlog.pop_front();
    queue.batch.add(0, core_.stack->now());
    core_.has_frames = true;
    if (!sent) {
      ++interface_->statistics().send_dropped;
      delete record;
    }
  }
}

Result<void> Link::configure(const Ipv4Configuration& configuration) {
  IpLayer& ip = core_.stack->ip();
  while (!interface_->addresses().empty())
    ip.remove_address(*interface_, interface_->addresses()[0].address);
  configuration_ = {};
  ARIL_TRY(ip.add_address(*interface_, {configuration.address, configuration.prefix_length}));
  if (!configuration.gateway.is_unspecified()) {
    // A gateway outside the subnet (cloud networks with /32 addresses) is reached on the link.
    if (!interface_->addresses()[0].contains(configuration.gateway))
      ARIL_TRY(ip.add_route({.network = configuration.gateway,
                             .prefix_length = 32,
                             .interface = interface_,
                             .source = configuration.address}));
    ARIL_TRY(ip.add_route({.prefix_length = 0,
                           .gateway = configuration.gateway,
                           .interface = interface_,
                           .source = configuration.address}));
  }
  configuration_ = configuration;
  core_.configuration_changed();
  ARIL_LOG_INFO("net", "%.*s: address %s/%u, gateway %s",
                static_cast<int>(interface_->name().size()), interface_->name().data(),
                AddressText(configuration.address).c_str(), configuration.prefix_length,
                AddressText(configuration.gateway).c_str());
  return {};
}

Result<void> Link::configure(const Ipv6Configuration& configuration) {
  IpLayer& ip = core_.stack->ip();
  IpAddress any = IpAddress::v6(0, 0);
  ARIL_TRY(ip.add_ipv6_address(*interface_, {.address = configuration.address,
                                             .prefix_length = configuration.prefix_length}));
  IpAddress gateway = configuration.gateway;
  if (!gateway.is_unspecified()) {
    // A link-local gateway is on the link; another outside the prefix is made so.
    bool on_link = gateway.is_link_local() ||
                   network_of(gateway, configuration.prefix_length) ==
                       network_of(configuration.address, configuration.prefix_length);
    if (!on_link)
      ARIL_TRY(ip.add_route({.network = gateway,
                             .prefix_length = 128,
                             .gateway = any,
                             .interface = interface_,
                             .source = any}));
    ARIL_TRY(ip.add_route({.network = any,
                           .prefix_length = 0,
                           .gateway = gateway,
                           .interface = interface_,
                           .source = any}));
  }
  core_.configuration_changed();
  ARIL_LOG_INFO("net", "%.*s: address %s/%u, gateway %s",
                static_cast<int>(interface_->name().size()), interface_->name().data(),
                AddressText(configuration.address).c_str(), configuration.prefix_length,
                AddressText(gateway).c_str());
  return {};
}

Result<void> Link::start_dhcp(std::string_view host_name) {
  dhcp_socket_ = ARIL_TRY(core_.stack->create_udp_socket());
  DatagramOptions options;
  options.broadcast = true;
  options.reuse_address = true;
  options.interface = interface_->index();
  ARIL_TRY(dhcp_socket_->set_options(options));
  ARIL_TRY(dhcp_socket_->bind({IpAddress(), kDhcpClientPort}));
  dhcp_.reset(new (std::nothrow)
                  DhcpClient(*this, interface_->hardware(), host_name, core_.stack->random()));
  if (!dhcp_) return fail(Errno::kNoMem);
  core_.has_dhcp = true;
  dhcp_->start(core_.stack->now());
  return {};
}

void Link::on_ipv6_event(Ipv6Event event, IpAddress address) {
  bool is_told = event == Ipv6Event::kManagedAddresses || event == Ipv6Event::kOtherConfiguration;
  if (is_told && !configurator_ && core_.make_configurator != nullptr)
    configurator_ = core_.make_configurator(*core_.stack, *interface_);
  core_.has_dhcp |= configurator_ != nullptr;
  if (!configurator_) return;
  if (is_told) configurator_->router_said(event == Ipv6Event::kManagedAddresses);
  if (event == Ipv6Event::kDuplicate) configurator_->address_is_duplicate(address);
}

void Link::poll_dhcp() {
  if (configurator_) configurator_->poll();
  if (!dhcp_) return;
  while (auto datagram = dhcp_socket_->receive())
    dhcp_->receive(datagram->payload(), core_.stack->now());
  dhcp_->poll(core_.stack->now());
}

void Link::send_dhcp(std::span<const std::byte> message, IpAddress destination) {
  // A datagram that cannot be sent now is sent again by the client's own timer.
  (void)dhcp_socket_->send(message, Endpoint{destination, kDhcpServerPort},
                           {.interface = interface_->index()});
}

void Link::lease_acquired(const DhcpLease& lease) {
  if (lease.mtu >= 576 && lease.mtu < device_.mtu())
    core_.stack->ip().set_mtu(*interface_, lease.mtu);
  // Renewing the same address must not disturb connections.
  bool same = configuration_.address == lease.address && configuration_.gateway == lease.gateway &&
              configuration_.prefix_length == lease.prefix_length;
  Ipv4Configuration configuration{
      .address = lease.address, .prefix_length = lease.prefix_length, .gateway = lease.gateway};
  configuration.nameservers.assign(lease.nameservers.begin(),
                                   lease.nameservers.begin() + lease.nameserver_count);
  if (same) {
    configuration_ = std::move(configuration);
    core_.configuration_changed();
  } else if (auto done = configure(configuration); !done) {
    ARIL_LOG_WARNING("net", "cannot use the address that DHCP gave: error %d",
                     static_cast<int>(done.error()));
  }
}

void Link::lease_lost() {
  ARIL_LOG_WARNING("net", "%.*s: the DHCP lease ended", static_cast<int>(interface_->name().size()),
                   interface_->name().data());
  while (!interface_->addresses().empty())
    core_.stack->ip().remove_address(*interface_, interface_->addresses()[0].address);
  configuration_ = {};
  core_.configuration_changed();
}

}  // namespace aril::net
