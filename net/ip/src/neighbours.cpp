#include "net/ip/neighbours.hpp"

namespace aril::net {
namespace {
constexpr Duration kReachableTime = Duration::seconds(30);
constexpr Duration kProbeInterval = Duration::seconds(1);
}  // namespace

Neighbours::~Neighbours() {
  for (Entry*& head : buckets_)
    while (head != nullptr) destroy(*head);
}

Neighbours::Entry* Neighbours::find(const Interface& interface, IpAddress address) {
  for (Entry* entry = buckets_[bucket_of(address)]; entry != nullptr; entry = entry->next)
    if (entry->address == address && entry->interface == &interface) return entry;
  return nullptr;
}

Neighbours::Entry* Neighbours::create(Interface& interface, IpAddress address) {
  if (count_ >= kMaxEntries) evict_one();
  auto* entry = new (std::nothrow) Entry(*this, interface, address);
  if (entry == nullptr) return nullptr;
  entry->used = context_.now;
  Entry*& head = buckets_[bucket_of(address)];
  entry->next = head;
  head = entry;
  ++count_;
  return entry;
}

void Neighbours::destroy(Entry& entry) {
  context_.timers.cancel(entry.timer);
  Entry** link = &buckets_[bucket_of(entry.address)];
  while (*link != &entry) link = &(*link)->next;
  *link = entry.next;
  --count_;
  delete &entry;
}

void Neighbours::evict_one() {
  Entry* oldest = nullptr;
  for (Entry* head : buckets_)
    for (Entry* entry = head; entry != nullptr; entry = entry->next)
      if (oldest == nullptr || entry->used < oldest->used) oldest = entry;
  if (oldest == nullptr) return;
  owner_.changed(oldest->view(), Presence::kGone);
  destroy(*oldest);
}

const EthernetAddress* Neighbours::resolve(Interface& interface, IpAddress address) {
  Entry* entry = find(interface, address);
  if (entry == nullptr) {
    entry = create(interface, address);
    if (entry != nullptr) request(*entry);
    return nullptr;
  }
  entry->used = context_.now;
  if (entry->state == State::kIncomplete) return nullptr;
  if (entry->state == State::kReachable && context_.now - entry->confirmed > kReachableTime) {
    // Go on with the old answer while asking whether it still holds.
    entry->state = State::kProbing;
    entry->probes = 0;
    request(*entry);
  }
  return &entry->hardware;
}

void Neighbours::enqueue(Interface& interface, IpAddress address, PacketPtr packet) {
  Entry* entry = find(interface, address);
  if (entry == nullptr) return context_.counters.drop(DropReason::kNoMemory);
  if (entry->pending.size() >= kMaxPending) {
    entry->pending.pop_front();
    context_.counters.drop(DropReason::kNeighbourQueueFull);
  }
  if (!entry->pending.push_back(std::move(packet))) context_.counters.drop(DropReason::kNoMemory);
}

void Neighbours::receive(Interface& interface, const ArpPacket& packet, bool is_for_us) {
  IpAddress sender = IpAddress::v4(packet.sender_protocol);
  if (sender.is_unspecified() || sender.is_multicast() || interface.is_broadcast(sender)) return;
  // [RFC 826]: update what is known; add only a station that talks to us.
  Entry* entry = find(interface, sender);
  if (entry == nullptr && is_for_us && packet.operation == ArpPacket::kRequest)
    entry = create(interface, sender);
  if (entry != nullptr) learn(*entry, packet.sender_hardware, context_.now);
}

void Neighbours::heard_of(Interface& interface, IpAddress address,
                          const EthernetAddress& hardware) {
  Entry* entry = find(interface, address);
  if (entry == nullptr) entry = create(interface, address);
  if (entry == nullptr) return;
  if (entry->state != State::kIncomplete && entry->hardware == hardware) return;
  learn(*entry, hardware, context_.now - kReachableTime - Duration::seconds(1));
}

void Neighbours::advertised(Interface& interface, IpAddress address,
                            const EthernetAddress* hardware, bool is_solicited, bool is_override) {
  Entry* entry = find(interface, address);
  if (entry == nullptr) return;
  Instant stale = context_.now - kReachableTime - Duration::seconds(1);
  if (entry->state == State::kIncomplete) {
    if (hardware != nullptr) learn(*entry, *hardware, is_solicited ? context_.now : stale);
    return;
  }
  bool changed = hardware != nullptr && *hardware != entry->hardware;
  if (changed && !is_override) {
    // Two stations claim it: keep to the old one, and ask it soon.
    if (entry->state == State::kReachable) entry->confirmed = stale;
    return;
  }
  if (is_solicited) {
    learn(*entry, changed ? *hardware : entry->hardware, context_.now);
  } else if (changed) {
    learn(*entry, *hardware, stale);
  }
}

void Neighbours::learn(Entry& entry, const EthernetAddress& hardware, Instant confirmed) {
  bool is_news = entry.state == State::kIncomplete || entry.hardware != hardware;
  entry.hardware = hardware;
  entry.state = State::kReachable;
  entry.confirmed = confirmed;
  entry.probes = 0;
  context_.timers.cancel(entry.timer);
  if (is_news) owner_.changed(entry.view(), Presence::kThere);
  while (!entry.pending.empty()) {
    PacketPtr packet = std::move(entry.pending.front());
    entry.pending.pop_front();
    owner_.send_resolved(*entry.interface, entry.hardware, packet->bytes());
  }
}

void Neighbours::request(Entry& entry) {
  ++entry.probes;
  context_.timers.arm_by(entry.timer, context_.now + kProbeInterval);
  // [RFC 1122] 2.3.2.1 (2): an entry in doubt is asked in unicast.
  owner_.solicit(*entry.interface, entry.address,
                 entry.state == State::kProbing ? &entry.hardware : nullptr);
}

void Neighbours::Entry::run_timer(void* argument) {
  auto& entry = *static_cast<Entry*>(argument);
  entry.table->on_timer(entry);
}

void Neighbours::on_timer(Entry& entry) {
  if (entry.probes < kMaxProbes) return request(entry);
  Ring<PacketPtr, 4> pending = std::move(entry.pending);
  Interface& interface = *entry.interface;
  owner_.lost(interface, entry.address);
  entry.state = State::kIncomplete;
  owner_.changed(entry.view(), Presence::kGone);
  destroy(entry);
  for (size_t i = 0; i < pending.size(); ++i) {
    context_.counters.drop(DropReason::kNeighbourUnresolved);
    owner_.unresolved(interface, pending[i]->bytes());
  }
}

}  // namespace aril::net
