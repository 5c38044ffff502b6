#include "linux/process/credentials.hpp"

#include <algorithm>

namespace aril::linux_abi {

bool Credentials::is_member(uint32_t group) const {
  if (group == fsgid || group == egid) return true;
  return groups && std::ranges::find(groups->ids, group) != groups->ids.end();
}

void Credentials::change_user_ids(uint32_t real, uint32_t effective_id, uint32_t saved) {
  bool had_root = uid == 0 || euid == 0 || suid == 0;
  bool had_effective_root = euid == 0;
  uid = real;
  euid = effective_id;
  suid = saved;
  fsuid = effective_id;
  // [capabilities(7)] "Effect of user ID changes on capabilities".
  bool has_root = uid == 0 || euid == 0 || suid == 0;
  if (had_root && !has_root) {
    ambient = 0;
    if (!keep_capabilities) permitted = effective = 0;
  }
  if (had_effective_root && euid != 0) effective = 0;
  if (!had_effective_root && euid == 0) effective = permitted;
}

void Credentials::change_group_ids(uint32_t real, uint32_t effective_id, uint32_t saved) {
  gid = real;
  egid = effective_id;
  sgid = saved;
  fsgid = effective_id;
}

void Credentials::recompute_at_exec() {
  keep_capabilities = false;
  suid = fsuid = euid;
  sgid = fsgid = egid;
  if (uid == 0 || euid == 0) {
    permitted = bounding | inheritable;
    effective = euid == 0 ? permitted : ambient;
  } else {
    permitted = effective = ambient;
  }
}

}  // namespace aril::linux_abi
