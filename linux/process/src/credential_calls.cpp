#include <algorithm>
#include <array>
#include <new>
#include <optional>

#include "linux/abi/syscall.hpp"
#include "linux/process/process.hpp"

/// User and group ids [credentials(7)] and capabilities [capabilities(7)].
namespace aril::linux_abi {
namespace {

constexpr uint32_t kUnchanged = ~0u;
constexpr size_t kGroupLimit = 65536;  // NGROUPS_MAX

Credentials& own() { return current_task().credentials; }

Result<int64_t> sys_getuid() { return own().uid; }
ARIL_SYSCALL(102, getuid, sys_getuid, "");
Result<int64_t> sys_getgid() { return own().gid; }
ARIL_SYSCALL(104, getgid, sys_getgid, "");
Result<int64_t> sys_geteuid() { return own().euid; }
ARIL_SYSCALL(107, geteuid, sys_geteuid, "");
Result<int64_t> sys_getegid() { return own().egid; }
ARIL_SYSCALL(108, getegid, sys_getegid, "");

struct Ids {
  uint32_t real, effective, saved;
  [[nodiscard]] bool has(uint32_t id) const {
    return id == kUnchanged || id == real || id == effective || id == saved;
  }
};
Ids user_ids() { return {own().uid, own().euid, own().suid}; }
Ids group_ids() { return {own().gid, own().egid, own().sgid}; }

void change_user_ids(uint32_t real, uint32_t effective, uint32_t saved) {
  own().change_user_ids(real, effective, saved);
  current_process().note_user_ids(own());
}

uint32_t or_kept(uint32_t wanted, uint32_t kept) { return wanted == kUnchanged ? kept : wanted; }

Result<void> sys_setuid(uint32_t uid) {
  if (uid == kUnchanged) return fail(Errno::kInval);
  Ids ids = user_ids();
  if (own().can(Capability::kSetUid)) {
    change_user_ids(uid, uid, uid);
  } else if (uid == ids.real || uid == ids.saved) {
    change_user_ids(ids.real, uid, ids.saved);
  } else {
    return fail(Errno::kPerm);
  }
  return {};
}
ARIL_SYSCALL(105, setuid, sys_setuid, "uint");

Result<void> sys_setgid(uint32_t gid) {
  if (gid == kUnchanged) return fail(Errno::kInval);
  Ids ids = group_ids();
  if (own().can(Capability::kSetGid)) {
    own().change_group_ids(gid, gid, gid);
  } else if (gid == ids.real || gid == ids.saved) {
    own().change_group_ids(ids.real, gid, ids.saved);
  } else {
    return fail(Errno::kPerm);
  }
  return {};
}
ARIL_SYSCALL(106, setgid, sys_setgid, "uint");

// setreuid's rule for the saved id: it follows the effective one when the real id was set, or the
// effective one became something else than the old real one.
uint32_t saved_after(const Ids& old, uint32_t real, uint32_t effective, uint32_t new_effective) {
  bool follows = real != kUnchanged || (effective != kUnchanged && effective != old.real);
  return follows ? new_effective : old.saved;
}

Result<void> sys_setreuid(uint32_t real, uint32_t effective) {
  Ids ids = user_ids();
  if (!own().can(Capability::kSetUid)) {
    bool real_allowed = real == kUnchanged || real == ids.real || real == ids.effective;
    if (!real_allowed || !ids.has(effective)) return fail(Errno::kPerm);
  }
  uint32_t new_effective = or_kept(effective, ids.effective);
  change_user_ids(or_kept(real, ids.real), new_effective,
                  saved_after(ids, real, effective, new_effective));
  return {};
}
ARIL_SYSCALL(113, setreuid, sys_setreuid, "int int");

Result<void> sys_setregid(uint32_t real, uint32_t effective) {
  Ids ids = group_ids();
  if (!own().can(Capability::kSetGid)) {
    bool real_allowed = real == kUnchanged || real == ids.real || real == ids.effective;
    if (!real_allowed || !ids.has(effective)) return fail(Errno::kPerm);
  }
  uint32_t new_effective = or_kept(effective, ids.effective);
  own().change_group_ids(or_kept(real, ids.real), new_effective,
                         saved_after(ids, real, effective, new_effective));
  return {};
}
ARIL_SYSCALL(114, setregid, sys_setregid, "int int");

Result<void> sys_setresuid(uint32_t real, uint32_t effective, uint32_t saved) {
  Ids ids = user_ids();
  if (!own().can(Capability::kSetUid) && !(ids.has(real) && ids.has(effective) && ids.has(saved)))
    return fail(Errno::kPerm);
  change_user_ids(or_kept(real, ids.real), or_kept(effective, ids.effective),
                  or_kept(saved, ids.saved));
  return {};
}
ARIL_SYSCALL(117, setresuid, sys_setresuid, "int int int");

Result<void> sys_setresgid(uint32_t real, uint32_t effective, uint32_t saved) {
  Ids ids = group_ids();
  if (!own().can(Capability::kSetGid) && !(ids.has(real) && ids.has(effective) && ids.has(saved)))
    return fail(Errno::kPerm);
  own().change_group_ids(or_kept(real, ids.real), or_kept(effective, ids.effective),
                         or_kept(saved, ids.saved));
  return {};
}
ARIL_SYSCALL(119, setresgid, sys_setresgid, "int int int");

Result<void> write_ids(const Ids& ids, UserPtr<uint32_t> real, UserPtr<uint32_t> effective,
                       UserPtr<uint32_t> saved) {
  ARIL_TRY(real.write(ids.real));
  ARIL_TRY(effective.write(ids.effective));
  return saved.write(ids.saved);
}
Result<void> sys_getresuid(UserPtr<uint32_t> real, UserPtr<uint32_t> effective,
                           UserPtr<uint32_t> saved) {
  return write_ids(user_ids(), real, effective, saved);
}
ARIL_SYSCALL(118, getresuid, sys_getresuid, ">ptr >ptr >ptr");
Result<void> sys_getresgid(UserPtr<uint32_t> real, UserPtr<uint32_t> effective,
                           UserPtr<uint32_t> saved) {
  return write_ids(group_ids(), real, effective, saved);
}
ARIL_SYSCALL(120, getresgid, sys_getresgid, ">ptr >ptr >ptr");

// These two never fail: they return the old id [setfsuid(2)].
Result<int64_t> sys_setfsuid(uint32_t uid) {
  uint32_t old = own().fsuid;
  Ids ids = user_ids();
  bool allowed = own().can(Capability::kSetUid) || uid == old || ids.has(uid);
  if (allowed && uid != kUnchanged) own().fsuid = uid;
  return old;
}
ARIL_SYSCALL(122, setfsuid, sys_setfsuid, "int");
Result<int64_t> sys_setfsgid(uint32_t gid) {
  uint32_t old = own().fsgid;
  Ids ids = group_ids();
  bool allowed = own().can(Capability::kSetGid) || gid == old || ids.has(gid);
  if (allowed && gid != kUnchanged) own().fsgid = gid;
  return old;
}
ARIL_SYSCALL(123, setfsgid, sys_setfsgid, "int");

Result<int64_t> sys_getgroups(int size, UserPtr<uint32_t> out) {
  const RefPtr<GroupList>& groups = own().groups;
  size_t count = groups ? groups->ids.size() : 0;
  if (size < 0) return fail(Errno::kInval);
  if (size == 0) return static_cast<int64_t>(count);
  if (static_cast<size_t>(size) < count) return fail(Errno::kInval);
  if (count != 0) ARIL_TRY(out.write_array(std::span<const uint32_t>(groups->ids)));
  return static_cast<int64_t>(count);
}
ARIL_SYSCALL(115, getgroups, sys_getgroups, "int >ptr");

Result<void> sys_setgroups(uint64_t size, UserPtr<uint32_t> ids) {
  if (!own().can(Capability::kSetGid)) return fail(Errno::kPerm);
  if (size > kGroupLimit) return fail(Errno::kInval);
  RefPtr<GroupList> groups = ARIL_TRY(try_make_ref<GroupList>());
  groups->ids.resize(size);
  if (size != 0) ARIL_TRY(ids.read_array(groups->ids));
  std::ranges::sort(groups->ids, [](uint32_t a, uint32_t b) { return a < b; });
  own().groups = std::move(groups);
  return {};
}
ARIL_SYSCALL(116, setgroups, sys_setgroups, "size ptr");

struct CapabilityHeader {
  uint32_t version;
  int32_t pid;
};
struct CapabilityData {
  uint32_t effective, permitted, inheritable;
};
constexpr uint32_t kCapabilityVersion1 = 0x19980330, kCapabilityVersion3 = 0x20080522,
                   kCapabilityVersion2 = 0x20071026;

// Version 1 has one 32-bit word of each set, the others two.
Result<size_t> capability_words(UserPtr<CapabilityHeader> pointer, const CapabilityHeader& header) {
  if (header.version == kCapabilityVersion1) return 1;
  if (header.version == kCapabilityVersion2 || header.version == kCapabilityVersion3) return 2;
  ARIL_TRY(pointer.write({kCapabilityVersion3, header.pid}));
  return fail(Errno::kInval);
}

Result<void> sys_capget(UserPtr<CapabilityHeader> header_pointer, UserPtr<CapabilityData> data) {
  CapabilityHeader header = ARIL_TRY(header_pointer.read());
  Result<size_t> words = capability_words(header_pointer, header);
  // With no data, an unknown version is a way to ask for ours.
  if (!words) return data ? Result<void>(fail(words.error())) : Result<void>{};
  if (!data) return {};
  RefPtr<Task> task =
      header.pid == 0 ? RefPtr<Task>(&current_task()) : process_table::find_task(header.pid);
  if (!task) return fail(Errno::kSrch);
  const Credentials& credentials = task->credentials;
  std::array<CapabilityData, 2> sets;
  for (size_t word = 0; word < 2; ++word)
    sets[word] = {.effective = static_cast<uint32_t>(credentials.effective >> (32 * word)),
                  .permitted = static_cast<uint32_t>(credentials.permitted >> (32 * word)),
                  .inheritable = static_cast<uint32_t>(credentials.inheritable >> (32 * word))};
  return data.write_array(std::span<const CapabilityData>(sets).first(*words));
}
ARIL_SYSCALL(125, capget, sys_capget, "ptr >ptr");

Result<void> sys_capset(UserPtr<CapabilityHeader> header_pointer, UserPtr<CapabilityData> data) {
  CapabilityHeader header = ARIL_TRY(header_pointer.read());
  size_t words = ARIL_TRY(capability_words(header_pointer, header));
  if (header.pid != 0 && header.pid != current_task().tid()) return fail(Errno::kPerm);
  std::array<CapabilityData, 2> sets{};
  ARIL_TRY(data.read_array(std::span(sets).first(words)));
  auto join = [&](uint32_t CapabilityData::* set) {
    return (sets[0].*set | uint64_t{sets[1].*set} << 32) & kAllCapabilities;
  };
  uint64_t effective = join(&CapabilityData::effective);
  uint64_t permitted = join(&CapabilityData::permitted);
  uint64_t inheritable = join(&CapabilityData::inheritable);
  Credentials& credentials = own();
  if ((permitted & ~credentials.permitted) != 0 || (effective & ~permitted) != 0)
    return fail(Errno::kPerm);
  credentials.effective = effective;
  credentials.permitted = permitted;
  credentials.inheritable = inheritable;
  credentials.ambient &= permitted & inheritable;
  return {};
}
ARIL_SYSCALL(126, capset, sys_capset, "ptr ptr");

}  // namespace
}  // namespace aril::linux_abi
