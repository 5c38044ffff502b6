#include "net/ip/reassembly.hpp"

#include <cstring>

namespace aril::net {
namespace {
// [RFC 1122] 3.3.2 recommends 60 to 120 s; Linux waits 30.
constexpr Duration kTimeout = Duration::seconds(30);
constexpr uint32_t kMaxPayload = 65535 - sizeof(Ipv4Header);
}  // namespace

Reassembly::Reassembly(StackContext& context, TimeoutHook hook, void* hook_context)
    : context_(context),
      hook_(hook),
      hook_context_(hook_context),
      timer_([](void* self) { static_cast<Reassembly*>(self)->on_timer(); }, this) {}

Reassembly::~Reassembly() {
  context_.timers.cancel(timer_);
  while (Datagram* datagram = datagrams_.front()) destroy(*datagram);
}

PacketPtr Reassembly::add(const Ipv4View& fragment) {
  context_.counters.add(Counter::kIpReasmReqds);
  size_t length = fragment.payload().size();
  bool valid = length != 0 && fragment.fragment_offset() + length <= kMaxPayload &&
               (!fragment.more_fragments() || length % 8 == 0);
  if (!valid) {
    context_.counters.drop(DropReason::kFragmentInvalid);
    return nullptr;
  }
  Datagram* datagram = find(fragment);
  if (datagram == nullptr) datagram = create(fragment);
  if (datagram == nullptr) return nullptr;
  if (!insert(*datagram, fragment)) {
    context_.counters.add(Counter::kIpReasmFails);
    destroy(*datagram);
    return nullptr;
  }
  if (datagram->total == 0 || datagram->received != datagram->total) return nullptr;
  PacketPtr packet = assemble(*datagram);
  destroy(*datagram);
  return packet;
}

Reassembly::Datagram* Reassembly::find(const Ipv4View& fragment) {
  for (Datagram& datagram : datagrams_)
    if (datagram.identification == fragment.identification() &&
        datagram.source == fragment.source() && datagram.destination == fragment.destination() &&
        datagram.protocol == fragment.protocol())
      return &datagram;
  return nullptr;
}

Reassembly::Datagram* Reassembly::create(const Ipv4View& fragment) {
  // The oldest makes room: a flood of first fragments must not lock out everyone else for 30 s.
  while (count_ >= kMaxDatagrams || (bytes_ >= kMaxBytes && count_ != 0)) {
    context_.counters.drop(DropReason::kFragmentLimit);
    destroy(*datagrams_.front());
  }
  auto* datagram = new (std::nothrow) Datagram;
  if (datagram == nullptr) {
    context_.counters.drop(DropReason::kNoMemory);
    return nullptr;
  }
  datagram->source = fragment.source();
  datagram->destination = fragment.destination();
  datagram->identification = fragment.identification();
  datagram->protocol = fragment.protocol();
  datagram->expiry = context_.now + kTimeout;
  datagrams_.push_back(*datagram);
  ++count_;
  context_.timers.arm_by(timer_, datagrams_.front()->expiry);
  return datagram;
}

void Reassembly::destroy(Datagram& datagram) {
  datagram.node.unlink();
  bytes_ -= datagram.bytes;
  --count_;
  delete &datagram;
}

bool Reassembly::insert(Datagram& datagram, const Ipv4View& fragment) {
  uint32_t start = fragment.fragment_offset();
  auto end = static_cast<uint32_t>(start + fragment.payload().size());
  auto reject = [&](DropReason reason) {
    context_.counters.drop(reason);
    return false;
  };
  if (!fragment.more_fragments()) {
    if (datagram.total != 0 && datagram.total != end) return reject(DropReason::kFragmentOverlap);
    datagram.total = end;
  }
  if (datagram.fragments.size() >= kMaxFragments) return reject(DropReason::kFragmentLimit);
  size_t position = datagram.fragments.size();
  while (position > 0 && datagram.fragments[position - 1].start > start) --position;
  if (position > 0) {
    const Fragment& before = datagram.fragments[position - 1];
    // An exact copy is the network's duplicate, not an attack [RFC 8200] 4.5 says the same for
    // IPv6.
    if (before.start == start && before.end == end) return true;
    if (before.end > start) return reject(DropReason::kFragmentOverlap);
  }
  if (position < datagram.fragments.size() && datagram.fragments[position].start < end)
    return reject(DropReason::kFragmentOverlap);
  if (datagram.total != 0 &&
      (end > datagram.total ||
       (!datagram.fragments.empty() && datagram.fragments.back().end > datagram.total)))
    return reject(DropReason::kFragmentOverlap);

  auto packet = Packet::copy_of(fragment.packet());
  if (!packet) return reject(DropReason::kNoMemory);
  size_t size = fragment.packet().size();
  Fragment added{start, end, std::move(*packet), static_cast<uint32_t>(fragment.header_length())};
  if (!datagram.fragments.push_back(std::move(added))) return reject(DropReason::kNoMemory);
  for (size_t i = datagram.fragments.size() - 1; i > position; --i)
    std::swap(datagram.fragments[i], datagram.fragments[i - 1]);
  datagram.received += end - start;
  datagram.bytes += size;
  bytes_ += size;
  return true;
}

PacketPtr Reassembly::assemble(Datagram& datagram) {
  Fragment& first = datagram.fragments.front();
  if (first.header_length + datagram.total > 65535) {
    context_.counters.drop(DropReason::kFragmentInvalid);
    return nullptr;
  }
  auto whole = Packet::allocate(first.header_length + datagram.total);
  if (!whole) {
    context_.counters.add(Counter::kIpReasmFails);
    context_.counters.drop(DropReason::kNoMemory);
    return nullptr;
  }
  std::byte* out = (*whole)->bytes().data();
  std::memcpy(out, first.packet->bytes().data(), first.header_length);
  for (size_t i = 0; i < datagram.fragments.size(); ++i) {
    const Fragment& fragment = datagram.fragments[i];
    std::memcpy(out + first.header_length + fragment.start,
                fragment.packet->bytes().data() + fragment.header_length,
                fragment.end - fragment.start);
  }
  context_.counters.add(Counter::kIpReasmOKs);
  return std::move(*whole);
}

void Reassembly::on_timer() {
  while (Datagram* datagram = datagrams_.front()) {
    if (datagram->expiry > context_.now) break;
    context_.counters.add(Counter::kIpReasmTimeout);
    context_.counters.add(Counter::kIpReasmFails);
    context_.counters.drop(DropReason::kFragmentTimeout);
    // [RFC 1122] 3.3.2: Time Exceeded only when fragment zero was received.
    if (!datagram->fragments.empty() && datagram->fragments.front().start == 0)
      hook_(hook_context_, datagram->fragments.front().packet->bytes());
    destroy(*datagram);
  }
  if (Datagram* next = datagrams_.front()) context_.timers.arm_by(timer_, next->expiry);
}

}  // namespace aril::net
