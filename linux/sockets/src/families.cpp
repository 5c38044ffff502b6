#include "linux/sockets/families.hpp"

#include <bit>

#include "family_table.hpp"
#include "kernel/log/log.hpp"
#include "linux/abi/time.hpp"
#include "linux/process/process.hpp"
#include "net/inet/inet_socket.hpp"
#include "net/unix/unix_socket.hpp"

namespace aril::linux_abi {

namespace {

constinit FamilyOperations g_unix, g_inet, g_inet6, g_netlink, g_packet;
constinit net::Runtime* g_runtime = nullptr;

FamilyOperations* slot(int family) {
  switch (static_cast<net::Family>(family)) {
    case net::Family::kUnix:
      return &g_unix;
    case net::Family::kInet:
      return &g_inet;
    case net::Family::kInet6:
      return &g_inet6;
    case net::Family::kNetlink:
      return &g_netlink;
    case net::Family::kPacket:
      return &g_packet;
    default:
      return nullptr;
  }
}

/// [raw(7), packet(7)]
Result<void> may_go_below_transports() {
  if (current_task().credentials.can(Capability::kNetRaw)) return {};
  return fail(Errno::kPerm);
}

Result<RefPtr<net::Socket>> create_inet(net::Family family, net::SocketType type, int protocol,
                                        OpenFlags flags) {
  if (type == net::SocketType::kRaw) ARIL_TRY(may_go_below_transports());
  return net::create_inet_socket(*g_runtime, family, type, protocol, flags);
}

}  // namespace

void register_family(net::Family family, const FamilyOperations& operations) {
  FamilyOperations* place = slot(static_cast<int>(family));
  ARIL_ASSERT(place != nullptr);
  *place = operations;
}

Result<FamilyOperations> family_operations(int family) {
  const FamilyOperations* operations = slot(family);
  if (operations == nullptr || operations->create == nullptr) return fail(Errno::kAfNoSupport);
  return *operations;
}

net::Runtime* inet_runtime() { return g_runtime; }

void register_inet_family(net::Runtime& runtime) {
  g_runtime = &runtime;
  runtime.set_listen_hook([](uint16_t port) { write_record("listening %u", unsigned{port}); });
  net::Socket::set_wall_clock([](Instant time) { return realtime_ns(time); });
  net::Socket::set_interface_requests([](uint32_t request, uint64_t argument) {
    return net::interface_ioctl(*g_runtime, request, argument);
  });
  register_family(net::Family::kInet,
                  {.create = [](net::SocketType type, int protocol, OpenFlags flags) {
                    return create_inet(net::Family::kInet, type, protocol, flags);
                  }});
  register_family(net::Family::kInet6,
                  {.create = [](net::SocketType type, int protocol, OpenFlags flags) {
                    return create_inet(net::Family::kInet6, type, protocol, flags);
                  }});
}

void register_raw_sockets() { net::serve_raw_sockets(); }

void register_packet_family() {
  register_family(net::Family::kPacket,
                  {.create = [](net::SocketType type, int protocol,
                                OpenFlags flags) -> Result<RefPtr<net::Socket>> {
                    ARIL_TRY(may_go_below_transports());
                    // The protocol comes in the network's order.
                    auto type_code = std::byteswap(static_cast<uint16_t>(protocol));
                    return net::create_packet_socket(*g_runtime, type, type_code, flags);
                  }});
}

void register_netlink_family() {
  register_family(net::Family::kNetlink,
                  {.create = [](net::SocketType type, int protocol, OpenFlags flags) {
                    return create_netlink_socket(*g_runtime, type, protocol, flags);
                  }});
}

namespace {
// [unix(7)] With the real ids.
net::PeerCredentials sender_identity() {
  const Credentials& credentials = current_task().credentials;
  return {current_process().pid(), credentials.uid, credentials.gid};
}
}  // namespace

void register_unix_family() {
  serve_unix_path_names();
  net::UnixSocket::set_sender_identity(&sender_identity);
  register_family(net::Family::kUnix, {.create = &net::UnixSocket::create,
                                       .create_pair = &net::UnixSocket::create_pair});
}

}  // namespace aril::linux_abi
