#include "policy.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>

namespace aril::tender {
namespace {

constexpr uint64_t kApplicationSize = kProcessApplicationEnd - kProcessApplicationStart;
constexpr uint64_t kAnyProtection = PROT_READ | PROT_WRITE | PROT_EXEC;
constexpr uint64_t kMostPolled = 16;
constexpr uint64_t kCollapse = 25;  // MADV_COLLAPSE, Linux 6.1: older libraries do not name it

Condition is_in_application(unsigned argument) {
  return is_within(argument, kProcessApplicationStart, kProcessApplicationEnd - 1);
}
Condition is_in_kernel_map(unsigned argument) {
  return is_within(argument, kProcessKernelMapStart, kProcessKernelMapEnd - 1);
}
/// Pages' contents may be fetched at once or later.
Condition shows_shared(unsigned argument) {
  constexpr uint64_t kFlags = MAP_SHARED | MAP_FIXED;
  return {argument, kFlags, kFlags, ~uint64_t{MAP_POPULATE}};
}
Condition is_length(unsigned argument) { return is_within(argument, 1, kProcessLongestMapping); }

constexpr Condition has_no_flags() { return {5, 0, 0}; }

Rule file_call(const char* call, unsigned number, int descriptor, const char* reason) {
  return {call, number, {is(0, static_cast<uint64_t>(descriptor)), has_no_flags()}, reason};
}
/// At no offset: the file's own place, as read and writev have it.
Rule stream_call(const char* call, unsigned number, int descriptor, const char* reason) {
  Rule rule = file_call(call, number, descriptor, reason);
  rule.conditions.push_back(is(3, ~uint64_t{0}));
  return rule;
}
Rule stream_read(int descriptor, const char* reason) {
  return stream_call("preadv2", SYS_preadv2, descriptor, reason);
}
Rule stream_write(int descriptor, const char* reason) {
  return stream_call("pwritev2", SYS_pwritev2, descriptor, reason);
}

void add_memory(std::vector<Rule>& rules, const ProcessBoot& boot) {
  const auto memory = static_cast<uint64_t>(boot.memory_descriptor);
  const auto root = static_cast<uint64_t>(boot.root_descriptor);
  rules.push_back({"mmap",
                   SYS_mmap,
                   {is_in_application(0), is_length(1), lacks(2, ~kAnyProtection), shows_shared(3),
                    is(4, memory)},
                   "show the application a page of the instance's memory"});
  rules.push_back({"mmap",
                   SYS_mmap,
                   {is_in_application(0), is_length(1), lacks(2, ~uint64_t{PROT_READ | PROT_EXEC}),
                    shows_shared(3), is(4, root)},
                   "show the application a page of its root file system, read-only"});
  rules.push_back({"mmap",
                   SYS_mmap,
                   {is_in_kernel_map(0), is_length(1), is(2, PROT_READ | PROT_WRITE),
                    shows_shared(3), is(4, memory)},
                   "give a kernel thread its stack"});
  rules.push_back({"munmap",
                   SYS_munmap,
                   {is_in_application(0), is_length(1)},
                   "take a page away from the application"});
  rules.push_back({"munmap",
                   SYS_munmap,
                   {is(0, kProcessApplicationStart), is(1, kApplicationSize)},
                   "change to another program"});
  rules.push_back(
      {"munmap", SYS_munmap, {is_in_kernel_map(0), is_length(1)}, "free a kernel thread's stack"});
  if (boot.memory_size >= kProcessHugePage) {
    rules.push_back({"madvise",
                     SYS_madvise,
                     {is_within(0, kMemoryBase, kMemoryBase + boot.memory_size - kProcessHugePage),
                      is(1, kProcessHugePage), is(2, kCollapse)},
                     "have memory that comes into use from the host in pieces of 2 MiB"});
  }
  const uint64_t first_end = boot.vdso_end != 0 ? boot.vdso_start : kProcessHostEnd;
  rules.push_back({"munmap",
                   SYS_munmap,
                   {is(0, kProcessKernelEnd), is(1, first_end - kProcessKernelEnd)},
                   "forget the tender"});
  if (boot.vdso_end != 0) {
    rules.push_back({"munmap",
                     SYS_munmap,
                     {is(0, boot.vdso_end), is(1, kProcessHostEnd - boot.vdso_end)},
                     "forget the tender's stack"});
  }
}

void add_stream(std::vector<Rule>& rules, const ProcessBoot& boot) {
  if (boot.network_descriptor >= 0) {
    rules.push_back(stream_read(boot.network_descriptor, "receive a frame"));
    rules.push_back(stream_write(boot.network_descriptor, "send a frame"));
  }
  rules.push_back(stream_read(boot.console_descriptors[0], "the program's standard input"));
  rules.push_back(stream_write(boot.console_descriptors[1], "the program's standard output"));
  rules.push_back(stream_write(boot.console_descriptors[2],
                               "the program's standard error, and the kernel's log"));
}

void add_disks(std::vector<Rule>& rules, const ProcessBoot& boot) {
  for (uint32_t i = 0; i < boot.disk_count; ++i) {
    const int disk = boot.disks[i].descriptor;
    rules.push_back(file_call("preadv2", SYS_preadv2, disk, "read from a disk"));
    if (boot.disks[i].read_only != 0) continue;
    rules.push_back(file_call("pwritev2", SYS_pwritev2, disk, "write to a disk"));
    rules.push_back({"fdatasync",
                     SYS_fdatasync,
                     {is(0, static_cast<uint64_t>(disk))},
                     "make a disk's data last"});
  }
}

void add_volumes(std::vector<Rule>& rules, const ProcessBoot& boot) {
  for (uint32_t i = 0; i < boot.volume_count; ++i) {
    const int volume = boot.volume_descriptors[i];
    rules.push_back(stream_read(volume, "a volume's server's answer"));
    rules.push_back(stream_write(volume, "ask a volume's server"));
  }
}

void add_control(std::vector<Rule>& rules, const ProcessBoot& boot) {
  if (boot.control_descriptor < 0) return;
  rules.push_back(stream_read(boot.control_descriptor, "be told by aril"));
  rules.push_back(stream_write(boot.control_descriptor, "tell aril of reports, and the log"));
}

void add_cpus(std::vector<Rule>& rules, const ProcessBoot& boot) {
  rules.push_back({"ppoll",
                   SYS_ppoll,
                   {is_within(1, 0, kMostPolled), is(3, 0)},
                   "sleep until a descriptor is ready, or time has passed"});
  rules.push_back({"rt_sigreturn", SYS_rt_sigreturn, {}, "end the handling of a signal"});
  for (uint32_t cpu = 0; cpu < boot.cpu_count; ++cpu) {
    rules.push_back({"timer_settime",
                     SYS_timer_settime,
                     {is(0, static_cast<uint64_t>(boot.timer_ids[cpu])), is(1, 0), is(3, 0)},
                     "set a CPU's timer"});
    if (boot.cpu_count == 1) continue;
    rules.push_back({"tgkill",
                     SYS_tgkill,
                     {is(0, static_cast<uint64_t>(boot.process_id)),
                      is(1, static_cast<uint64_t>(boot.thread_ids[cpu])), is(2, kKickSignal)},
                     "interrupt another CPU"});
  }
  rules.push_back({"exit_group", SYS_exit_group, {}, "end"});
}

}  // namespace

std::vector<Rule> policy(const ProcessBoot& boot) {
  std::vector<Rule> rules;
  // In the order of how often they are asked about: the filter is read from the top.
  add_stream(rules, boot);
  add_cpus(rules, boot);
  add_memory(rules, boot);
  add_disks(rules, boot);
  add_volumes(rules, boot);
  add_control(rules, boot);
  return rules;
}

}  // namespace aril::tender
