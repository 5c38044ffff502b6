#pragma once
#include "net/unix/unix_socket.hpp"

/// Abstract names [unix(7)]: bytes in a table of their own, gone with their socket. Thread-safe.
namespace aril::net::abstract_names {

/// kAddrInUse, kNoMem.
Result<void> add(std::string_view name, RefPtr<UnixName> owner);
void remove(const UnixName& owner);
/// kConnRefused.
Result<RefPtr<UnixName>> find(std::string_view name);

}  // namespace aril::net::abstract_names

namespace aril::net {
const UnixPathNames& unix_path_names();
}
