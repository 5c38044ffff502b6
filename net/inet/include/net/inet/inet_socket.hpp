#pragma once
#include "net/runtime/runtime.hpp"
#include "net/socket/socket.hpp"

namespace aril::net {

/// socket(AF_INET or AF_INET6, ...): a TCP, UDP, raw or ping socket over the runtime's stack; who
/// may have which is the caller's to know. kProtoNoSupport, kSockTNoSupport, kNoMem.
Result<RefPtr<Socket>> create_inet_socket(Runtime& runtime, Family family, SocketType type,
                                          int protocol, OpenFlags flags);
/// Without this, once at boot, there are no raw and ping sockets: kProtoNoSupport.
void serve_raw_sockets();

/// socket(AF_PACKET, ...). `protocol`: an EtherType in host order. kSockTNoSupport, kNoMem.
Result<RefPtr<Socket>> create_packet_socket(Runtime& runtime, SocketType type, uint16_t protocol,
                                            OpenFlags flags);

/// struct sockaddr_in or sockaddr_in6 <-> Endpoint, as `family`'s sockets have them: IPv4 addresses
/// are mapped ones on IPv6 sockets. kInval when too short, kAfNoSupport for another family.
Result<Endpoint> endpoint_of(const SocketAddress& address, Family family);
SocketAddress address_of(const Endpoint& endpoint, Family family);

/// The SIOCGIF* requests that every socket answers. kNoTty for others.
Result<int64_t> interface_ioctl(Runtime& runtime, uint32_t request, uint64_t argument);

/// struct tcp_info of Linux 6.1, for TCP_INFO and sock_diag(7).
using LinuxTcpInfoBytes = std::array<std::byte, 232>;
LinuxTcpInfoBytes linux_tcp_info(const TcpInfo& info);

}  // namespace aril::net
