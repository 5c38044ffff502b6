#include "system_files.hpp"

#include <algorithm>

#include "arch/cpu.hpp"
#include "arch/cpu_info.hpp"
#include "arch/timer.hpp"
#include "base/units.hpp"
#include "kernel/memory/heap.hpp"
#include "kernel/memory/page_allocator.hpp"
#include "kernel/sched/scheduler.hpp"

namespace aril::procfs {
namespace {

using synthetic::append_format;

constexpr int64_t kNanosecondsPerTick = 10'000'000;  // USER_HZ is 100

unsigned long long kilobytes(uint64_t pages) { return pages * (kPageSize / kKiB); }

Result<void> make_meminfo(std::string& out) {
  page_allocator::Statistics memory = page_allocator::statistics();
  size_t heap = heap::bytes_in_use() / kPageSize;
  auto line = [&](const char* name, uint64_t pages) {
    append_format(out, "%s:%*llu kB\n", name, static_cast<int>(23 - std::strlen(name)),
                  kilobytes(pages));
  };
  line("MemTotal", memory.total_pages);
  line("MemFree", memory.free_pages);
  line("MemAvailable", memory.free_pages);
  for (const char* name : {"Buffers", "Cached", "SwapCached", "Active", "Inactive", "Unevictable",
                           "Mlocked", "SwapTotal", "SwapFree", "Dirty", "Writeback"})
    line(name, 0);
  line("AnonPages", memory.total_pages - memory.free_pages -
                        std::min(heap, memory.total_pages - memory.free_pages));
  line("Mapped", 0);
  line("Shmem", 0);
  line("KReclaimable", 0);
  line("Slab", heap);
  line("SReclaimable", 0);
  line("SUnreclaim", heap);
  line("CommitLimit", memory.total_pages);
  line("Committed_AS", memory.total_pages - memory.free_pages);
  out +=
      "VmallocTotal:   34359738367 kB\nVmallocUsed:           0 kB\nHugePages_Total:       0\n"
      "HugePages_Free:        0\nHugepagesize:       2048 kB\n";
  return {};
}

Result<void> make_cpuinfo(std::string& out) {
  arch::CpuInfo info = arch::cpu_info();
  unsigned count = arch::cpu_count();
  arch::CycleScale scale = arch::cycle_scale();
  // ns = (cycles * multiplier) >> shift, so kHz = 10^6 * 2^shift / multiplier.
  uint64_t khz =
      scale.multiplier == 0 ? 0 : (uint64_t{1'000'000} << scale.shift) / scale.multiplier;
  for (unsigned cpu = 0; cpu < count; ++cpu) {
    append_format(out, "processor\t: %u\nvendor_id\t: %s\ncpu family\t: %u\nmodel\t\t: %u\n", cpu,
                  info.vendor.c_str(), info.family, info.model);
    append_format(out, "model name\t: %s\nstepping\t: %u\nmicrocode\t: 0x1\n",
                  info.model_name.c_str(), info.stepping);
    append_format(out, "cpu MHz\t\t: %llu.%03llu\ncache size\t: 512 KB\n",
                  static_cast<unsigned long long>(khz / 1000),
                  static_cast<unsigned long long>(khz % 1000));
    append_format(out,
                  "physical id\t: 0\nsiblings\t: %u\ncore id\t\t: %u\ncpu cores\t: %u\n"
                  "apicid\t\t: %u\ninitial apicid\t: %u\nfpu\t\t: yes\nfpu_exception\t: yes\n"
                  "cpuid level\t: %u\nwp\t\t: yes\n",
                  count, cpu, count, cpu, cpu, info.highest_leaf);
    out += "flags\t\t: " + info.flags + "\nbugs\t\t:\n";
    append_format(out,
                  "bogomips\t: %llu.%02llu\nclflush size\t: %u\ncache_alignment\t: %u\n"
                  "address sizes\t: %u bits physical, %u bits virtual\npower management:\n\n",
                  static_cast<unsigned long long>(khz * 2 / 1000),
                  static_cast<unsigned long long>(khz * 2 / 10 % 100), info.cache_line_size,
                  info.cache_line_size, info.physical_address_bits, info.virtual_address_bits);
  }
  return {};
}

/// "user nice system idle" and the rest, in ticks. System time is an estimate (linux/entry).
void append_cpu_times(std::string& out, int64_t total, int64_t system, int64_t idle) {
  int64_t busy = std::max<int64_t>(total - idle, 0);
  system = std::min(system, busy);
  append_format(out, " %lld 0 %lld %lld 0 0 0 0 0 0\n",
                static_cast<long long>((busy - system) / kNanosecondsPerTick),
                static_cast<long long>(system / kNanosecondsPerTick),
                static_cast<long long>(idle / kNanosecondsPerTick));
}

Result<void> make_stat(std::string& out, ProcessSource& processes) {
  unsigned count = arch::cpu_count();
  int64_t up = now().ns;
  int64_t idle_sum = 0, system_sum = 0;
  std::string lines;
  for (unsigned cpu = 0; cpu < count; ++cpu) {
    int64_t idle = Scheduler::idle_time(cpu).ns, system = Scheduler::system_time(cpu).ns;
    idle_sum += idle;
    system_sum += system;
    append_format(lines, "cpu%u", cpu);
    append_cpu_times(lines, up, system, idle);
  }
  out += "cpu ";
  append_cpu_times(out, up * count, system_sum, idle_sum);
  out += lines;
  append_format(out, "intr 0\nctxt %llu\nbtime %lld\nprocesses %zu\nprocs_running %u\n",
                static_cast<unsigned long long>(Scheduler::context_switches()),
                static_cast<long long>(arch::boot_wall_clock_ns() / 1'000'000'000),
                processes.pids().size(), Scheduler::runnable_count());
  out += "procs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n";
  return {};
}

Result<void> make_uptime(std::string& out) {
  int64_t idle = 0;
  for (unsigned cpu = 0; cpu < arch::cpu_count(); ++cpu) idle += Scheduler::idle_time(cpu).ns;
  auto print = [&](int64_t ns, char end) {
    append_format(out, "%lld.%02lld%c", static_cast<long long>(ns / 1'000'000'000),
                  static_cast<long long>(ns / kNanosecondsPerTick % 100), end);
  };
  print(now().ns, ' ');
  print(idle, '\n');
  return {};
}

Result<void> make_loadavg(std::string& out, ProcessSource& processes) {
  std::vector<int> pids = processes.pids();
  unsigned running = Scheduler::runnable_count();
  // No averages are kept; the load of this moment stands for all three.
  append_format(out, "%u.00 %u.00 %u.00 %u/%zu %d\n", running, running, running, running,
                pids.size(), pids.empty() ? 0 : pids.back());
  return {};
}

}  // namespace

void add_system_files(synthetic::Directory& root, const RefPtr<SharedSystemSource>& system,
                      ProcessSource& processes) {
  const SystemSource& source = system->source;
  root.add_file("meminfo", make_meminfo);
  root.add_file("cpuinfo", make_cpuinfo);
  root.add_file("stat", [&processes](std::string& out) { return make_stat(out, processes); });
  root.add_file("uptime", make_uptime);
  root.add_file("loadavg", [&processes](std::string& out) { return make_loadavg(out, processes); });
  root.add_text("version",
                "Linux version " + source.release + " (aril) (clang 19) " + source.version + "\n");
  root.add_text("cmdline", source.command_line + "\n");
  root.add_text("filesystems",
                "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\nnodev\tdevpts\n"
                "nodev\toverlay\n\terofs\n");
  root.add_text("devices",
                "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n"
                "136 pts\n\nBlock devices:\n254 virtblk\n");
  root.add_text("modules", "");
  root.add_text("swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
  root.add_text("interrupts", "");
  root.add_text("vmstat", "");
  root.add_text("diskstats", "");
  root.add_file("partitions", [system](std::string& out) -> Result<void> {
    out += "major minor  #blocks  name\n\n";
    if (system->source.partitions) out += system->source.partitions();
    return {};
  });
}

}  // namespace aril::procfs
