#include <array>
#include <bit>

#include "arch/cpu.hpp"
#include "base/units.hpp"
#include "process_directory.hpp"

namespace aril::procfs {
namespace {

using synthetic::append_format;
using Unsigned = unsigned long long;

constexpr int64_t kNanosecondsPerTick = 10'000'000;  // USER_HZ is 100

Unsigned ticks(int64_t ns) { return static_cast<Unsigned>(ns / kNanosecondsPerTick); }
Unsigned kilobytes(uint64_t pages) { return pages * (kPageSize / kKiB); }

std::string_view state_name(char state) {
  switch (state) {
    case 'R':
      return "R (running)";
    case 'S':
      return "S (sleeping)";
    case 'D':
      return "D (disk sleep)";
    case 'T':
      return "T (stopped)";
    case 'Z':
      return "Z (zombie)";
    default:
      return "X (dead)";
  }
}

uint64_t existing_cpus() {
  unsigned count = arch::cpu_count();
  return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
}

/// "0-1,3".
std::string cpu_list(uint64_t mask) {
  std::string text;
  while (mask != 0) {
    int first = std::countr_zero(mask);
    int count = std::countr_one(mask >> first);
    if (!text.empty()) text += ',';
    append_format(text, "%d", first);
    if (count > 1) append_format(text, "-%d", first + count - 1);
    mask &= count + first >= 64 ? 0 : ~uint64_t{0} << (first + count);
  }
  return text;
}

void append_memory(std::string& out, const ProcessView& view) {
  const AddressSpace::Usage& memory = view.memory;
  auto line = [&](const char* name, uint64_t pages) {
    append_format(out, "%s:\t%8llu kB\n", name, kilobytes(pages));
  };
  uint64_t code = (view.code_end - view.code_start + kPageSize - 1) / kPageSize;
  line("VmPeak", memory.mapped_pages);
  line("VmSize", memory.mapped_pages);
  line("VmLck", 0);
  line("VmPin", 0);
  line("VmHWM", memory.peak_resident_pages);
  line("VmRSS", memory.resident_pages);
  line("RssAnon", memory.resident_pages);
  line("RssFile", 0);
  line("RssShmem", 0);
  line("VmData", memory.data_pages);
  line("VmStk", memory.stack_pages);
  line("VmExe", code);
  line("VmLib", 0);
  line("VmPTE", 0);
  line("VmSwap", 0);
  out += "HugetlbPages:\t       0 kB\nCoreDumping:\t0\nTHP_enabled:\t1\n";
}

}  // namespace

Result<void> make_stat(const ProcessContext& context, int pid, int tid, std::string& out) {
  ProcessView view = ARIL_TRY(context.processes.view(pid, tid));
  append_format(out, "%d (%s) %c %d %d %d %u -1 4194304 %llu 0 %llu 0 ", view.pid,
                view.comm.c_str(), view.state, view.parent, view.process_group, view.session,
                view.tty_device, static_cast<Unsigned>(view.minor_faults),
                static_cast<Unsigned>(view.major_faults));
  append_format(out, "%llu %llu 0 0 %d %d %u 0 %llu ", ticks(view.user_time.ns),
                ticks(view.system_time.ns), 20 + view.nice, view.nice, view.thread_count,
                ticks(view.start_time.ns));
  append_format(out, "%llu %llu 18446744073709551615 %llu %llu %llu 0 0 ",
                static_cast<Unsigned>(view.memory.mapped_pages * kPageSize),
                static_cast<Unsigned>(view.memory.resident_pages),
                static_cast<Unsigned>(view.code_start), static_cast<Unsigned>(view.code_end),
                static_cast<Unsigned>(view.stack_start));
  append_format(out, "%llu %llu %llu %llu 0 0 0 %d %u 0 0 0 0 0 ",
                static_cast<Unsigned>(view.signals_pending),
                static_cast<Unsigned>(view.signals_blocked),
                static_cast<Unsigned>(view.signals_ignored),
                static_cast<Unsigned>(view.signals_caught), view.exit_signal, view.last_cpu);
  append_format(
      out, "%llu %llu %llu %llu %llu %llu %llu 0\n", static_cast<Unsigned>(view.data_start),
      static_cast<Unsigned>(view.data_end), static_cast<Unsigned>(view.break_start),
      static_cast<Unsigned>(view.arguments_start), static_cast<Unsigned>(view.arguments_end),
      static_cast<Unsigned>(view.environment_start), static_cast<Unsigned>(view.environment_end));
  return {};
}

Result<void> make_statm(const ProcessContext& context, int pid, int tid, std::string& out) {
  ProcessView view = ARIL_TRY(context.processes.view(pid, tid));
  append_format(
      out, "%llu %llu 0 %llu 0 %llu 0\n", static_cast<Unsigned>(view.memory.mapped_pages),
      static_cast<Unsigned>(view.memory.resident_pages),
      static_cast<Unsigned>((view.code_end - view.code_start + kPageSize - 1) / kPageSize),
      static_cast<Unsigned>(view.memory.data_pages + view.memory.stack_pages));
  return {};
}

Result<void> make_status(const ProcessContext& context, int pid, int tid, std::string& out) {
  ProcessView view = ARIL_TRY(context.processes.view(pid, tid));
  append_format(out, "Name:\t%s\nUmask:\t%04o\nState:\t", view.comm.c_str(), view.umask);
  out += state_name(view.state);
  append_format(out, "\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n",
                view.thread_group, view.pid, view.parent);
  append_format(out, "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\n", view.uid, view.euid, view.suid,
                view.fsuid, view.gid, view.egid, view.sgid, view.fsgid);
  append_format(out, "FDSize:\t%u\nGroups:\t", view.descriptor_slots);
  for (uint32_t group : view.groups) append_format(out, "%u ", group);
  append_format(out, "\nNStgid:\t%d\nNSpid:\t%d\nNSpgid:\t%d\nNSsid:\t%d\n", view.thread_group,
                view.pid, view.process_group, view.session);
  append_memory(out, view);
  append_format(out, "Threads:\t%u\nSigQ:\t%u/4096\n", view.thread_count, view.signals_queued);
  auto set = [&](const char* name, uint64_t bits) {
    append_format(out, "%s:\t%016llx\n", name, static_cast<Unsigned>(bits));
  };
  set("SigPnd", view.signals_pending);
  set("ShdPnd", view.signals_pending_shared);
  set("SigBlk", view.signals_blocked);
  set("SigIgn", view.signals_ignored);
  set("SigCgt", view.signals_caught);
  set("CapInh", view.capabilities_inheritable);
  set("CapPrm", view.capabilities_permitted);
  set("CapEff", view.capabilities_effective);
  set("CapBnd", view.capabilities_bounding);
  set("CapAmb", view.capabilities_ambient);
  append_format(out, "NoNewPrivs:\t%d\nSeccomp:\t0\nSeccomp_filters:\t0\n",
                int{view.no_new_privileges});
  out += "Speculation_Store_Bypass:\tvulnerable\n";
  uint64_t cpus = view.affinity & existing_cpus();
  append_format(out, "Cpus_allowed:\t%llx\nCpus_allowed_list:\t", static_cast<Unsigned>(cpus));
  out += cpu_list(cpus);
  out += "\nMems_allowed:\t1\nMems_allowed_list:\t0\n";
  append_format(out, "voluntary_ctxt_switches:\t%llu\nnonvoluntary_ctxt_switches:\t%llu\n",
                static_cast<Unsigned>(view.voluntary_switches),
                static_cast<Unsigned>(view.involuntary_switches));
  return {};
}

Result<void> make_limits(const ProcessContext& context, int pid, int, std::string& out) {
  struct Row {
    const char *name, *unit;
  };
  static constexpr std::array<Row, 16> kRows = {{{"Max cpu time", "seconds"},
                                                 {"Max file size", "bytes"},
                                                 {"Max data size", "bytes"},
                                                 {"Max stack size", "bytes"},
                                                 {"Max core file size", "bytes"},
                                                 {"Max resident set", "bytes"},
                                                 {"Max processes", "processes"},
                                                 {"Max open files", "files"},
                                                 {"Max locked memory", "bytes"},
                                                 {"Max address space", "bytes"},
                                                 {"Max file locks", "locks"},
                                                 {"Max pending signals", "signals"},
                                                 {"Max msgqueue size", "bytes"},
                                                 {"Max nice priority", ""},
                                                 {"Max realtime priority", ""},
                                                 {"Max realtime timeout", "us"}}};
  LimitViews limits = ARIL_TRY(context.processes.limits(pid));
  out += "Limit                     Soft Limit           Hard Limit           Units     \n";
  auto value = [](uint64_t limit) {
    return limit == ~uint64_t{0} ? std::string("unlimited") : std::to_string(limit);
  };
  for (size_t i = 0; i < kRows.size(); ++i) {
    append_format(out, "%-25s %-20s %-20s %-10s\n", kRows[i].name, value(limits[i].soft).c_str(),
                  value(limits[i].hard).c_str(), kRows[i].unit);
  }
  return {};
}

}  // namespace aril::procfs
