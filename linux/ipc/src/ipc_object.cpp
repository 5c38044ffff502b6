#include "ipc_object.hpp"

#include "kernel/sched/timer.hpp"
#include "limits.hpp"
#include "linux/abi/time.hpp"
#include "linux/process/process.hpp"

namespace aril::linux_abi::ipc {
namespace {

constinit Limits g_limits;

}  // namespace

Limits& limits() { return g_limits; }

Result<void> Permissions::check(uint32_t wanted) const {
  const Credentials& caller = current_task().credentials;
  uint32_t granted = mode;
  if (is_owned_by_caller()) {
    granted >>= 6;
  } else if (caller.is_member(gid) || caller.is_member(creator_gid)) {
    granted >>= 3;
  }
  if ((wanted & ~granted & 7) != 0 && !caller.can(Capability::kIpcOwner))
    return fail(Errno::kAcces);
  return {};
}

bool Permissions::is_owned_by_caller() const {
  uint32_t caller = current_task().credentials.euid;
  return caller == uid || caller == creator_uid;
}

Result<void> Permissions::check_owner() const {
  if (is_owned_by_caller() || current_task().credentials.can(Capability::kSysAdmin)) return {};
  return fail(Errno::kPerm);
}

LinuxPermissions Permissions::to_linux(int id) const {
  constexpr int kSequenceShift = 15;
  LinuxPermissions result{};
  result.key = key;
  result.uid = uid;
  result.gid = gid;
  result.creator_uid = creator_uid;
  result.creator_gid = creator_gid;
  result.mode = mode;
  result.sequence = static_cast<uint16_t>(id >> kSequenceShift);
  return result;
}

void Permissions::change(const LinuxPermissions& to) {
  constexpr uint32_t kBits = 0777;
  uid = to.uid;
  gid = to.gid;
  mode = (mode & ~kBits) | (to.mode & kBits);
}

Permissions permissions_of_caller(int key, int flags) {
  const Credentials& caller = current_task().credentials;
  return {.key = key,
          .uid = caller.euid,
          .gid = caller.egid,
          .creator_uid = caller.euid,
          .creator_gid = caller.egid,
          .mode = static_cast<uint32_t>(flags) & 0777};
}

int64_t seconds_now() { return realtime_ns(now()) / 1'000'000'000; }

int caller_pid() {
  Task* task = current_task_or_null();
  return task != nullptr ? task->process().pid() : 0;
}

}  // namespace aril::linux_abi::ipc
