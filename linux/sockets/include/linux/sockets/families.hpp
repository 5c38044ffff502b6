#pragma once
#include "net/runtime/runtime.hpp"

/// Which address families this machine has. Each is wired by the platform, once, before the first
/// program; a family that is not answers EAFNOSUPPORT.
namespace aril::linux_abi {

/// AF_INET and AF_INET6 over this runtime. Also makes a socket that begins to listen write the
/// record "listening PORT" [base/image_abi.hpp].
void register_inet_family(net::Runtime& runtime);
/// Raw and ping sockets of AF_INET and AF_INET6.
void register_raw_sockets();
/// AF_PACKET, and AF_NETLINK's route queries, about the same runtime: after register_inet_family.
void register_packet_family();
void register_netlink_family();
/// AF_UNIX, with names in the file system.
void register_unix_family();

}  // namespace aril::linux_abi
