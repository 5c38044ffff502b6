#include <algorithm>
#include <string>

#include "family_table.hpp"
#include "fs/procfs/procfs.hpp"
#include "linux/proc/proc_files.hpp"

/// /proc/net/{tcp,tcp6,udp,udp6,if_inet6} [proc(5)]. A connection is listed under the family of its
/// addresses; what belongs to no socket has inode 0.
namespace aril::linux_abi {

namespace {

using net::Endpoint;
using synthetic::append_format;

/// Words in the machine's order of bytes in the network's, as Linux prints them.
void append_endpoint(std::string& out, const Endpoint& endpoint) {
  if (endpoint.address.is_v4())
    return append_format(out, " %08X:%04X", std::byteswap(endpoint.address.v4_value()),
                         unsigned{endpoint.port});
  out += ' ';
  for (uint64_t half : {endpoint.address.high(), endpoint.address.low()})
    append_format(out, "%08X%08X", std::byteswap(static_cast<uint32_t>(half >> 32)),
                  std::byteswap(static_cast<uint32_t>(half)));
  append_format(out, ":%04X", unsigned{endpoint.port});
}

void append_socket(std::string& out, unsigned number, const Endpoint& local, const Endpoint& remote,
                   unsigned state, size_t transmit, size_t receive, net::SocketIdentity owner) {
  append_format(out, "%4u:", number);
  append_endpoint(out, local);
  append_endpoint(out, remote);
  append_format(out, " %02X %08X:%08X 00:00000000 00000000 %5u        0 %lu\n", state,
                static_cast<unsigned>(transmit), static_cast<unsigned>(receive), owner.user,
                owner.inode);
}

constexpr std::string_view kHeader =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
    "inode\n";

struct Listing {
  std::string& out;
  bool v4;
  unsigned count = 0;

  void add(const Endpoint& local, Endpoint remote, unsigned state, size_t transmit, size_t receive,
           net::SocketIdentity owner) {
    if (local.address.is_v4() != v4) return;
    if (remote.address.is_unspecified()) remote.address = net::unspecified_of(local.address);
    append_socket(out, count++, local, remote, state, transmit, receive, owner);
  }
};

Result<void> list_tcp(std::string& out, bool v4) {
  if (inet_runtime() == nullptr) return {};
  out += kHeader;
  Listing listing{out, v4};
  net::Runtime::Guard guard(*inet_runtime());
  guard->tcp().for_each(
      [](void* context, const net::TcpView& view) {
        static_cast<Listing*>(context)->add(view.local, view.remote, std::to_underlying(view.state),
                                            view.transmit_queue, view.receive_queue, view.owner);
      },
      &listing);
  return {};
}

Result<void> list_udp(std::string& out, bool v4) {
  constexpr unsigned kConnected = 1, kClosed = 7;
  if (inet_runtime() == nullptr) return {};
  out += kHeader;
  Listing listing{out, v4};
  net::Runtime::Guard guard(*inet_runtime());
  guard->udp().for_each_socket([&](net::UdpSocket& socket) {
    auto remote = socket.remote();
    listing.add(socket.local(), remote.value_or(Endpoint{}), remote ? kConnected : kClosed, 0,
                socket.next_datagram_size(), socket.identity());
  });
  return {};
}

Result<void> list_ipv6_addresses(std::string& out) {
  constexpr unsigned kScopeGlobal = 0, kScopeHost = 0x10, kScopeLink = 0x20;
  constexpr unsigned kPermanent = 0x80, kOptimistic = 4;
  if (inet_runtime() == nullptr) return {};
  net::Runtime::Guard guard(*inet_runtime());
  net::IpLayer& ip = guard->ip();
  for (uint32_t i = 1; i <= ip.interface_count(); ++i) {
    const net::Interface& interface = *ip.interface(i);
    for (const net::Ipv6InterfaceAddress& own : interface.ipv6_addresses()) {
      unsigned scope = interface.is_loopback()       ? kScopeHost
                       : own.address.is_link_local() ? kScopeLink
                                                     : kScopeGlobal;
      unsigned flags = own.valid_until == Instant::never() ? kPermanent : 0;
      if (own.is_optimistic) flags |= kOptimistic;
      append_format(out, "%016lx%016lx %02x %02x %02x %02x ", own.address.high(), own.address.low(),
                    interface.index(), unsigned{own.prefix_length}, scope, flags);
      std::string_view name = interface.name();
      out.append(8 - std::min<size_t>(name.size(), 8), ' ');
      out.append(name);
      out += '\n';
    }
  }
  return {};
}

void add_files(procfs::Procfs& procfs) {
  procfs.add_file("net/tcp", [](std::string& out) { return list_tcp(out, true); });
  procfs.add_file("net/tcp6", [](std::string& out) { return list_tcp(out, false); });
  procfs.add_file("net/udp", [](std::string& out) { return list_udp(out, true); });
  procfs.add_file("net/udp6", [](std::string& out) { return list_udp(out, false); });
  procfs.add_file("net/if_inet6", list_ipv6_addresses);
}
ARIL_PROC_FILES(add_files);

}  // namespace
}  // namespace aril::linux_abi
