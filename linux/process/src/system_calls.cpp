#include <algorithm>
#include <array>
#include <cstring>

#include "kernel/memory/page_allocator.hpp"
#include "kernel/random/random.hpp"
#include "kernel/vm/user_copy.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/process/process.hpp"
#include "linux/process/system_identity.hpp"

/// Calls about the machine as a whole.
namespace aril::linux_abi {
namespace {

constexpr size_t kNameLimit = 65;

struct HostName {
  SpinLock lock{LockRank::kSpinLeaf};
  char name[kNameLimit] = "aril";
  char domain[kNameLimit] = "(none)";
};
constinit HostName host;

/// struct new_utsname.
struct SystemNames {
  char system[kNameLimit] = "Linux";
  char node[kNameLimit] = {};
  // What programs compare with: the version whose behaviour this kernel follows.
  char release[kNameLimit] = "6.1.0-aril";
  char version[kNameLimit] = "#1 SMP Aril";
  char machine[kNameLimit] = "x86_64";
  char domain[kNameLimit] = {};
};

Result<void> sys_uname(UserPtr<SystemNames> out) {
  SystemNames names;
  {
    LockGuard guard(host.lock);
    std::memcpy(names.node, host.name, kNameLimit);
    std::memcpy(names.domain, host.domain, kNameLimit);
  }
  return out.write(names);
}
ARIL_SYSCALL(63, uname, sys_uname, ">ptr");

Result<void> set_name(char (&target)[kNameLimit], uint64_t address, uint64_t length) {
  if (!current_task().credentials.can(Capability::kSysAdmin)) return fail(Errno::kPerm);
  if (length >= kNameLimit) return fail(Errno::kInval);
  char name[kNameLimit] = {};
  ARIL_TRY(copy_from_user(std::as_writable_bytes(std::span(name).first(length)), address));
  LockGuard guard(host.lock);
  std::memcpy(target, name, kNameLimit);
  return {};
}
Result<void> sys_sethostname(uint64_t address, uint64_t length) {
  return set_name(host.name, address, length);
}
ARIL_SYSCALL(170, sethostname, sys_sethostname, "ptr size");
Result<void> sys_setdomainname(uint64_t address, uint64_t length) {
  return set_name(host.domain, address, length);
}
ARIL_SYSCALL(171, setdomainname, sys_setdomainname, "ptr size");

/// struct sysinfo.
struct SystemInformation {
  int64_t uptime = 0;
  uint64_t loads[3] = {};
  uint64_t total_memory = 0, free_memory = 0, shared_memory = 0, buffers = 0, total_swap = 0,
           free_swap = 0;
  uint16_t processes = 0, padding = 0;
  uint64_t total_high = 0, free_high = 0;
  uint32_t unit = 1;
  uint32_t tail = 0;
};
static_assert(sizeof(SystemInformation) == 112);

Result<void> sys_sysinfo(UserPtr<SystemInformation> out) {
  SystemInformation information;
  page_allocator::Statistics memory = page_allocator::statistics();
  information.uptime = now().ns / 1'000'000'000;
  information.total_memory = memory.total_pages * kPageSize;
  information.free_memory = memory.free_pages * kPageSize;
  information.processes = static_cast<uint16_t>(current_process().task_count());
  return out.write(information);
}
ARIL_SYSCALL(99, sysinfo, sys_sysinfo, ">ptr");

Result<int64_t> sys_getrandom(uint64_t address, uint64_t length, uint32_t flags) {
  constexpr uint32_t kKnownFlags = 7;
  if ((flags & ~kKnownFlags) != 0) return fail(Errno::kInval);
  length = std::min<uint64_t>(length, INT32_MAX);
  std::array<std::byte, 256> block;
  uint64_t done = 0;
  while (done < length) {
    auto part = std::span(block).first(std::min<uint64_t>(length - done, block.size()));
    random::fill(part);
    ARIL_TRY(copy_to_user(address + done, part));
    done += part.size();
  }
  return static_cast<int64_t>(done);
}
ARIL_SYSCALL(318, getrandom, sys_getrandom, "ptr size hex");

Result<int64_t> sys_personality(uint64_t value) {
  Process& process = current_process();
  LockGuard guard(process.mutex());
  uint64_t old = process.personality;
  if (value != 0xffffffff) process.personality = value;
  return static_cast<int64_t>(old);
}
ARIL_SYSCALL(135, personality, sys_personality, "hex");

Result<int64_t> sys_syslog(int type, uint64_t, int) {
  constexpr int kSizeBuffer = 10;
  // The kernel's log is on the console and in /dev/kmsg; this old way shows an empty one.
  if (type < 0 || type > kSizeBuffer) return fail(Errno::kInval);
  return 0;
}
ARIL_SYSCALL(103, syslog, sys_syslog, "int ptr int");

Result<int64_t> sys_reboot(uint32_t, uint32_t, uint32_t) { return fail(Errno::kPerm); }
ARIL_SYSCALL(169, reboot, sys_reboot, "hex hex hex");

}  // namespace

void set_host_name(std::string_view name) {
  LockGuard guard(host.lock);
  std::memset(host.name, 0, kNameLimit);
  name.copy(host.name, kNameLimit - 1);
}

std::string host_name() {
  std::string name(kNameLimit, '\0');
  {
    LockGuard guard(host.lock);
    std::memcpy(name.data(), host.name, kNameLimit);
  }
  name.resize(std::strlen(name.c_str()));
  return name;
}

}  // namespace aril::linux_abi
