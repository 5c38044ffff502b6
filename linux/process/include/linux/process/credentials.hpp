#pragma once
#include <cstdint>
#include <vector>

#include "base/ref_ptr.hpp"

namespace aril::linux_abi {

/// Supplementary groups; immutable once made, so that tasks share it.
struct GroupList final : RefCounted {
  std::vector<uint32_t> ids;
};

/// All capabilities that Linux 6.1 knows: 0 .. CAP_CHECKPOINT_RESTORE (40).
inline constexpr uint64_t kAllCapabilities = (uint64_t{1} << 41) - 1;
enum class Capability : uint8_t {
  kChown = 0,
  kDacOverride = 1,
  kDacReadSearch = 2,
  kFowner = 3,
  kFsetid = 4,
  kKill = 5,
  kSetGid = 6,
  kSetUid = 7,
  kSetPcap = 8,
  kNetBindService = 10,
  kNetAdmin = 12,
  kNetRaw = 13,
  kIpcLock = 14,
  kIpcOwner = 15,
  kSysChroot = 18,
  kSysPtrace = 19,
  kSysAdmin = 21,
  kSysNice = 23,
  kSysResource = 24,
  kSysTime = 25,
};

/// Who a task acts as [credentials(7), capabilities(7)]. A value: copied at clone.
struct Credentials {
  uint32_t uid = 0, euid = 0, suid = 0, fsuid = 0;
  uint32_t gid = 0, egid = 0, sgid = 0, fsgid = 0;
  RefPtr<GroupList> groups;  ///< null: none
  uint64_t permitted = kAllCapabilities, effective = kAllCapabilities, inheritable = 0,
           bounding = kAllCapabilities, ambient = 0;
  bool keep_capabilities = false;  ///< PR_SET_KEEPCAPS
  bool no_new_privileges = false;

  [[nodiscard]] bool can(Capability capability) const {
    return (effective >> static_cast<uint8_t>(capability) & 1) != 0;
  }
  [[nodiscard]] bool is_member(uint32_t group) const;

  /// Sets the three user ids (fsuid follows euid) and adjusts the capabilities as Linux does when
  /// the last id 0 goes away or euid changes to or from 0. The caller has checked permission.
  void change_user_ids(uint32_t real, uint32_t effective_id, uint32_t saved);
  void change_group_ids(uint32_t real, uint32_t effective_id, uint32_t saved);
  /// What execve leaves: root keeps everything, others only ambient capabilities.
  void recompute_at_exec();
};

}  // namespace aril::linux_abi
