#pragma once
#include <string>
#include <vector>

#include "netlink_messages.hpp"

namespace aril::linux_abi::netlink {

/// A sock_diag request about AF_UNIX: the messages of its answer, to be ended by the caller when it
/// is a dump. kInval, kNoEnt.
Result<std::vector<std::string>> list_unix_sockets(std::span<const std::byte> body,
                                                   const NetlinkHeader& header, uint32_t port);

}  // namespace aril::linux_abi::netlink
