#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace aril::tool {

/// An account of this host, however the host knows it (nsswitch.conf(5)).
struct Account {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> groups;  ///< all that it belongs to beside `gid`, ascending
};

/// Nothing when there is none of that name. `aril` is linked statically, where the C library's own
/// functions do not work: asks id(1).
std::optional<Account> find_account(const std::string& name);
/// Likewise getent(1).
std::optional<uint32_t> find_group(const std::string& name);

}  // namespace aril::tool
