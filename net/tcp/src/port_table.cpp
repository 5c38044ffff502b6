#include "net/tcp/port_table.hpp"

#include <new>

#include "listener.hpp"
#include "net/ip/binding.hpp"

namespace aril::net {

PortTable::~PortTable() {
  for (TcpPort*& head : buckets_) {
    while (head != nullptr) {
      TcpPort* next = head->next_;
      delete head;
      head = next;
    }
  }
}

TcpPort* PortTable::find(uint16_t number) {
  TcpPort* port = buckets_[number % kBuckets];
  while (port != nullptr && port->number_ != number) port = port->next_;
  return port;
}

Result<TcpPort*> PortTable::find_or_create(uint16_t number) {
  if (TcpPort* port = find(number)) return port;
  auto* port = new (std::nothrow) TcpPort(number);
  if (port == nullptr) return fail(Errno::kNoMem);
  TcpPort*& head = buckets_[number % kBuckets];
  port->next_ = head;
  head = port;
  return port;
}

void PortTable::release_if_unused(TcpPort& port) {
  if (!port.bound_.empty() || port.listeners_ != nullptr || port.flows_ != 0) return;
  TcpPort** link = &buckets_[port.number_ % kBuckets];
  while (*link != &port) link = &(*link)->next_;
  *link = port.next_;
  delete &port;
}

bool PortTable::conflicts(const TcpSocket& socket, const Endpoint& local, TcpPort& port) {
  const TcpOptions& options = socket.options();
  for (TcpSocket& other : port.bound_) {
    Endpoint theirs = other.local();
    Binding wanted{local.address, options.v6_only};
    bool overlap = wanted.overlaps({theirs.address, other.options().v6_only});
    bool same_link = options.interface == 0 || other.options().interface == 0 ||
                     options.interface == other.options().interface;
    bool shared =
        (options.reuse_address && other.options().reuse_address && !other.is_listening()) ||
        (options.reuse_port && other.options().reuse_port);
    if (overlap && same_link && !shared) return true;
  }
  return port.exclusive_flows_ != 0 || (port.flows_ != 0 && !options.reuse_address);
}

Result<TcpPort*> PortTable::bind(TcpSocket& socket, const Endpoint& local) {
  if (local.port != 0) {
    if (TcpPort* existing = find(local.port); existing && conflicts(socket, local, *existing))
      return fail(Errno::kAddrInUse);
    TcpPort* port = ARIL_TRY(find_or_create(local.port));
    port->bound_.push_back(socket);
    return port;
  }
  // [RFC 6056] 3.3.1: from a random start, so that an outsider cannot guess it.
  auto start = static_cast<uint32_t>(context_.random() % kEphemeralCount);
  for (uint32_t i = 0; i < kEphemeralCount; ++i) {
    auto number = static_cast<uint16_t>(kFirstEphemeral + (start + i) % kEphemeralCount);
    if (find(number) != nullptr) continue;
    TcpPort* port = ARIL_TRY(find_or_create(number));
    port->bound_.push_back(socket);
    return port;
  }
  return fail(Errno::kAddrInUse);
}

void PortTable::unbind(TcpSocket& socket, TcpPort& port) {
  port.bound_.remove(socket);
  release_if_unused(port);
}

bool PortTable::can_listen(const TcpSocket& socket, const TcpPort& port) const {
  for (const TcpListener* other = port.listeners_; other != nullptr; other = other->next_on_port) {
    Binding wanted{socket.local().address, socket.options().v6_only};
    bool overlap = wanted.overlaps({other->local.address, other->options.v6_only});
    bool shared = socket.options().reuse_port && other->options.reuse_port;
    bool same_link = socket.options().interface == 0 || other->options.interface == 0 ||
                     socket.options().interface == other->options.interface;
    if (overlap && same_link && !shared) return false;
  }
  return true;
}

Result<TcpPort*> PortTable::add_flow(uint16_t number, Sharing sharing) {
  TcpPort* port = ARIL_TRY(find_or_create(number));
  ++port->flows_;
  if (sharing == Sharing::kExclusive) ++port->exclusive_flows_;
  return port;
}

void PortTable::remove_flow(TcpPort& port, Sharing sharing) {
  --port.flows_;
  if (sharing == Sharing::kExclusive) --port.exclusive_flows_;
  release_if_unused(port);
}

bool PortTable::is_free_for_connect(uint16_t number) {
  TcpPort* port = find(number);
  return port == nullptr || (port->bound_.empty() && port->listeners_ == nullptr);
}

}  // namespace aril::net
