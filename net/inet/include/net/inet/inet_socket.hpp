#pragma once
#include "net/runtime/runtime.hpp"
#include "net/socket/socket.hpp"

namespace aril::net {

/// socket(AF_INET or AF_INET6, ...): a TCP or UDP socket over the runtime's stack.
/// `type_and_protocol` as in socket(2). kProtoNoSupport, kSockTNoSupport (also for raw sockets:
/// kProtoNoSupport), kNoMem.
Result<RefPtr<Socket>> create_inet_socket(Runtime& runtime, Family family, SocketType type,
                                          int protocol, OpenFlags flags);

/// struct sockaddr_in or sockaddr_in6 <-> Endpoint, as `family`'s sockets have them: IPv4 addresses
/// are mapped ones on IPv6 sockets. kInval when too short, kAfNoSupport for another family.
Result<Endpoint> endpoint_of(const SocketAddress& address, Family family);
SocketAddress address_of(const Endpoint& endpoint, Family family);

/// The SIOCGIF* requests that every socket answers. kNoTty for others.
Result<int64_t> interface_ioctl(Runtime& runtime, uint32_t request, uint64_t argument);

}  // namespace aril::net
