#pragma once
#include "net/runtime/runtime.hpp"
#include "net/socket/socket.hpp"

namespace aril::net {

/// socket(AF_INET, ...): a TCP or UDP socket over the runtime's stack. `type_and_protocol` as in
/// socket(2). kProtoNoSupport, kSockTNoSupport (also for raw sockets: kProtoNoSupport), kNoMem.
Result<RefPtr<Socket>> create_inet_socket(Runtime& runtime, SocketType type, int protocol,
                                          OpenFlags flags);

/// struct sockaddr_in <-> Endpoint. kInval when too short, kAfNoSupport for another family.
Result<Endpoint> endpoint_of(const SocketAddress& address);
SocketAddress address_of(const Endpoint& endpoint);

/// The SIOCGIF* requests that every socket answers. kNoTty for others.
Result<int64_t> interface_ioctl(Runtime& runtime, uint32_t request, uint64_t argument);

}  // namespace aril::net
