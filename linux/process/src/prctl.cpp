#include <array>

#include "kernel/vm/user_copy.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/process/process.hpp"

namespace aril::linux_abi {
namespace {

// [linux/prctl.h]
enum PrctlOption : int {
  kSetParentDeathSignal = 1,
  kGetParentDeathSignal = 2,
  kGetDumpable = 3,
  kSetDumpable = 4,
  kGetKeepCapabilities = 7,
  kSetKeepCapabilities = 8,
  kSetName = 15,
  kGetName = 16,
  kGetTiming = 13,
  kSetTiming = 14,
  kGetSeccomp = 21,
  kSetSeccomp = 22,
  kGetTsc = 25,
  kSetTsc = 26,
  kSetSecureBits = 28,
  kGetTidAddress = 40,
  kGetIoFlusher = 58,
  kCapabilityBoundingRead = 23,
  kCapabilityBoundingDrop = 24,
  kGetSecureBits = 27,
  kSetTimerSlack = 29,
  kGetTimerSlack = 30,
  kSetChildSubreaper = 36,
  kGetChildSubreaper = 37,
  kSetNoNewPrivileges = 38,
  kGetNoNewPrivileges = 39,
  kGetThpDisable = 42,
  kSetThpDisable = 41,
  kCapabilityAmbient = 47,
  kSetVma = 0x53564d41,
  kSetPtracer = 0x59616d61,
};

constexpr uint64_t kCapabilityCount = 41;

Result<int64_t> set_name(Task& task, uint64_t address) {
  // TASK_COMM_LEN; a longer name is cut.
  std::array<char, 16> name{};
  Result<size_t> length = copy_string_from_user(name, address);
  if (!length && length.error() != Errno::kNameTooLong) return fail(length.error());
  task.thread().set_name(std::string_view(name.data(), length ? *length : name.size() - 1));
  return 0;
}

Result<int64_t> get_name(Task& task, uint64_t address) {
  std::array<char, 16> name{};
  task.thread().name().copy(name.data(), name.size() - 1);
  ARIL_TRY(copy_to_user(address, std::as_bytes(std::span(name))));
  return 0;
}

Result<int64_t> sys_prctl(int option, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
  Task& task = current_task();
  Process& process = task.process();
  Credentials& credentials = task.credentials;
  switch (option) {
    case kSetName:
      return set_name(task, a);
    case kGetName:
      return get_name(task, a);
    case kSetParentDeathSignal:
      if (a > uint64_t{kSignalCount}) return fail(Errno::kInval);
      process.parent_death_signal = static_cast<int>(a);
      return 0;
    case kGetParentDeathSignal:
      ARIL_TRY(UserPtr<int32_t>(a).write(process.parent_death_signal));
      return 0;
    case kGetDumpable:
      return process.dumpable ? 1 : 0;
    case kSetDumpable:
      if (a > 1) return fail(Errno::kInval);
      process.dumpable = a == 1;
      return 0;
    case kGetKeepCapabilities:
      return credentials.keep_capabilities ? 1 : 0;
    case kSetKeepCapabilities:
      if (a > 1) return fail(Errno::kInval);
      credentials.keep_capabilities = a == 1;
      return 0;
    case kCapabilityBoundingRead:
      if (a >= kCapabilityCount) return fail(Errno::kInval);
      return static_cast<int64_t>(credentials.bounding >> a & 1);
    case kCapabilityBoundingDrop:
      if (a >= kCapabilityCount) return fail(Errno::kInval);
      if (!credentials.can(Capability::kSetPcap)) return fail(Errno::kPerm);
      credentials.bounding &= ~(uint64_t{1} << a);
      return 0;
    case kCapabilityAmbient: {
      constexpr uint64_t kIsSet = 1, kRaise = 2, kLower = 3, kClearAll = 4;
      if (a == kClearAll) {
        credentials.ambient = 0;
        return 0;
      }
      if (b >= kCapabilityCount) return fail(Errno::kInval);
      uint64_t bit = uint64_t{1} << b;
      if (a == kIsSet) return (credentials.ambient & bit) != 0 ? 1 : 0;
      if (a == kLower) {
        credentials.ambient &= ~bit;
        return 0;
      }
      if (a != kRaise) return fail(Errno::kInval);
      if ((credentials.permitted & credentials.inheritable & bit) == 0) return fail(Errno::kPerm);
      credentials.ambient |= bit;
      return 0;
    }
    case kSetTimerSlack:
      task.timer_slack_ns = a == 0 ? 50'000 : a;
      return 0;
    case kGetTimerSlack:
      return static_cast<int64_t>(task.timer_slack_ns);
    case kSetNoNewPrivileges:
      if (a != 1 || b != 0 || c != 0 || d != 0) return fail(Errno::kInval);
      credentials.no_new_privileges = true;
      return 0;
    case kGetNoNewPrivileges:
      return credentials.no_new_privileges ? 1 : 0;
    // Accepted without effect: names of anonymous memory, who may trace, huge pages.
    case kSetVma:
    case kSetPtracer:
    case kSetThpDisable:
      return 0;
    case kGetSeccomp:
      return task.filter ? static_cast<int64_t>(task.filter->mode()) : 0;
    case kSetSeccomp:
      // An image without filters answers as a Linux that was built without them.
      if (set_seccomp_mode == nullptr) return fail(Errno::kInval);
      ARIL_TRY(set_seccomp_mode(a, b));
      return 0;
    case kSetSecureBits:
      if (!credentials.can(Capability::kSetPcap)) return fail(Errno::kPerm);
      return a == 0 ? Result<int64_t>(0) : Result<int64_t>(fail(Errno::kInval));
    case kGetTsc:
      ARIL_TRY(UserPtr<int32_t>(a).write(1));  // PR_TSC_ENABLE
      return 0;
    case kSetTsc:
      return a == 1 ? Result<int64_t>(0) : Result<int64_t>(fail(Errno::kInval));
    case kGetTiming:
      return 0;  // PR_TIMING_STATISTICAL
    case kSetTiming:
      return a == 0 ? Result<int64_t>(0) : Result<int64_t>(fail(Errno::kInval));
    case kGetTidAddress:
      ARIL_TRY(UserPtr<uint64_t>(a).write(task.clear_child_tid));
      return 0;
    case kGetIoFlusher:
    case kGetSecureBits:
    case kGetThpDisable:
      return 0;
    case kSetChildSubreaper:
      process.is_subreaper = a != 0;
      return 0;
    case kGetChildSubreaper:
      ARIL_TRY(UserPtr<int32_t>(a).write(process.is_subreaper ? 1 : 0));
      return 0;
    default:
      return fail(Errno::kInval);
  }
}
ARIL_SYSCALL(157, prctl, sys_prctl, "op hex hex hex hex");

}  // namespace
}  // namespace aril::linux_abi
