#include "net/ip/reassembly.hpp"

#include <cstring>

namespace aril::net {
namespace {
// [RFC 1122] 3.3.2 recommends 60 to 120 s; Linux waits 30.
constexpr Duration kTimeout = Duration::seconds(30);
constexpr uint32_t kMaxPayload = 65535;  // what a length field can say

Counter of_family(IpAddress address, Counter v4, Counter v6) { return address.is_v4() ? v4 : v6; }
}  // namespace

FragmentView::FragmentView(const Ipv4View& view)
    : source(view.source()),
      destination(view.destination()),
      identification(view.identification()),
      protocol(view.protocol()),
      offset(view.fragment_offset()),
      more(view.more_fragments()),
      packet(view.packet()),
      payload(view.payload()),
      header_length(static_cast<uint32_t>(view.header_length())) {}

FragmentView::FragmentView(const Ipv6View& view)
    : source(view.source()),
      destination(view.destination()),
      identification(view.identification()),
      next_header(view.protocol()),
      offset(view.fragment_offset()),
      more(view.more_fragments()),
      packet(view.packet()),
      payload(view.payload()),
      header_length(view.header_length()),
      next_header_offset(view.next_header_offset()) {}

Reassembly::Reassembly(StackContext& context, TimeoutHook hook, void* hook_context)
    : context_(context),
      hook_(hook),
      hook_context_(hook_context),
      timer_([](void* self) { static_cast<Reassembly*>(self)->on_timer(); }, this) {}

Reassembly::~Reassembly() {
  context_.timers.cancel(timer_);
  while (Datagram* datagram = datagrams_.front()) destroy(*datagram);
}

PacketPtr Reassembly::add(const FragmentView& fragment) {
  context_.counters.add(
      of_family(fragment.source, Counter::kIpReasmReqds, Counter::kIp6ReasmReqds));
  size_t length = fragment.payload.size();
  bool valid =
      length != 0 && fragment.offset + length <= kMaxPayload && (!fragment.more || length % 8 == 0);
  if (!valid) {
    context_.counters.drop(DropReason::kFragmentInvalid);
    return nullptr;
  }
  Datagram* datagram = find(fragment);
  if (datagram == nullptr) datagram = create(fragment);
  if (datagram == nullptr) return nullptr;
  if (!insert(*datagram, fragment)) {
    context_.counters.add(
        of_family(fragment.source, Counter::kIpReasmFails, Counter::kIp6ReasmFails));
    destroy(*datagram);
    return nullptr;
  }
  if (datagram->total == 0 || datagram->received != datagram->total) return nullptr;
  PacketPtr packet = assemble(*datagram);
  destroy(*datagram);
  return packet;
}

Reassembly::Datagram* Reassembly::find(const FragmentView& fragment) {
  for (Datagram& datagram : datagrams_)
    if (datagram.identification == fragment.identification && datagram.source == fragment.source &&
        datagram.destination == fragment.destination && datagram.protocol == fragment.protocol)
      return &datagram;
  return nullptr;
}

Reassembly::Datagram* Reassembly::create(const FragmentView& fragment) {
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
  datagram->source = fragment.source;
  datagram->destination = fragment.destination;
  datagram->identification = fragment.identification;
  datagram->protocol = fragment.protocol;
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

bool Reassembly::insert(Datagram& datagram, const FragmentView& fragment) {
  uint32_t start = fragment.offset;
  auto end = static_cast<uint32_t>(start + fragment.payload.size());
  auto reject = [&](DropReason reason) {
    context_.counters.drop(reason);
    return false;
  };
  if (!fragment.more) {
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

  auto packet = Packet::copy_of(fragment.packet);
  if (!packet) return reject(DropReason::kNoMemory);
  size_t size = fragment.packet.size();
  Fragment added{start, end, std::move(*packet), fragment.header_length,
                 static_cast<uint32_t>(fragment.packet.size() - fragment.payload.size())};
  if (!datagram.fragments.push_back(std::move(added))) return reject(DropReason::kNoMemory);
  for (size_t i = datagram.fragments.size() - 1; i > position; --i)
    std::swap(datagram.fragments[i], datagram.fragments[i - 1]);
  if (start == 0) {
    datagram.next_header = fragment.next_header;
    datagram.next_header_offset = fragment.next_header_offset;
  }
  datagram.received += end - start;
  datagram.bytes += size;
  bytes_ += size;
  return true;
}

PacketPtr Reassembly::assemble(Datagram& datagram) {
  Fragment& first = datagram.fragments.front();
  // IPv6's length field does not count the fixed header.
  uint32_t limit = datagram.source.is_v4() ? 65535 : 65535 + uint32_t{sizeof(Ipv6Header)};
  if (first.header_length + datagram.total > limit) {
    context_.counters.drop(DropReason::kFragmentInvalid);
    return nullptr;
  }
  auto whole = Packet::allocate(first.header_length + datagram.total);
  if (!whole) {
    context_.counters.add(
        of_family(datagram.source, Counter::kIpReasmFails, Counter::kIp6ReasmFails));
    context_.counters.drop(DropReason::kNoMemory);
    return nullptr;
  }
  std::byte* out = (*whole)->bytes().data();
  std::memcpy(out, first.packet->bytes().data(), first.header_length);
  for (size_t i = 0; i < datagram.fragments.size(); ++i) {
    const Fragment& fragment = datagram.fragments[i];
    std::memcpy(out + first.header_length + fragment.start,
                fragment.packet->bytes().data() + fragment.payload_offset,
                fragment.end - fragment.start);
  }
  if (!datagram.source.is_v4()) {
    // [RFC 8200] 4.5: the header before the fragment header now announces what followed that.
    Be<uint16_t> length = static_cast<uint16_t>((*whole)->size() - sizeof(Ipv6Header));
    std::memcpy(out + offsetof(Ipv6Header, payload_length), &length, sizeof length);
    out[datagram.next_header_offset] = std::byte{datagram.next_header};
  }
  context_.counters.add(of_family(datagram.source, Counter::kIpReasmOKs, Counter::kIp6ReasmOKs));
  return std::move(*whole);
}

void Reassembly::on_timer() {
  while (Datagram* datagram = datagrams_.front()) {
    if (datagram->expiry > context_.now) break;
    context_.counters.add(
        of_family(datagram->source, Counter::kIpReasmTimeout, Counter::kIp6ReasmTimeout));
    context_.counters.add(
        of_family(datagram->source, Counter::kIpReasmFails, Counter::kIp6ReasmFails));
    context_.counters.drop(DropReason::kFragmentTimeout);
    // [RFC 1122] 3.3.2: Time Exceeded only when fragment zero was received.
    if (!datagram->fragments.empty() && datagram->fragments.front().start == 0)
      hook_(hook_context_, datagram->fragments.front().packet->bytes());
    destroy(*datagram);
  }
  if (Datagram* next = datagrams_.front()) context_.timers.arm_by(timer_, next->expiry);
}

}  // namespace aril::net
