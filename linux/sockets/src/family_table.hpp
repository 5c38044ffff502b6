#pragma once
#include "net/runtime/runtime.hpp"
#include "net/socket/socket.hpp"

namespace aril::linux_abi {

struct FamilyOperations {
  Result<RefPtr<net::Socket>> (*create)(net::SocketType type, int protocol,
                                        OpenFlags flags) = nullptr;
  Result<std::pair<RefPtr<net::Socket>, RefPtr<net::Socket>>> (*create_pair)(
      net::SocketType type, int protocol, OpenFlags flags,
      const net::PeerCredentials& owner) = nullptr;
};

void register_family(net::Family family, const FamilyOperations& operations);
/// kAfNoSupport.
Result<FamilyOperations> family_operations(int family);

/// What register_inet_family() was given; null before.
net::Runtime* inet_runtime();

/// AF_NETLINK, NETLINK_ROUTE: see netlink_socket.cpp.
Result<RefPtr<net::Socket>> create_netlink_socket(net::Runtime& runtime, net::SocketType type,
                                                  int protocol, OpenFlags flags);
/// What set_unix_path_names needs: see unix_paths.cpp.
void serve_unix_path_names();

}  // namespace aril::linux_abi
