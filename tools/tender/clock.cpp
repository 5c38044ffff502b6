#include "clock.hpp"

#include <elf.h>
#include <link.h>
#include <sys/auxv.h>
#include <x86intrin.h>

#include <cstdio>
#include <cstring>
#include <ctime>
#include <string>

namespace aril::tender {
namespace {

int64_t now(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

/// The tightest of a few brackets of the counter between two clock readings.
ClockMeter::Sample ClockMeter::sample() {
  Sample best{};
  int64_t best_span = INT64_MAX;
  for (int i = 0; i < 8; ++i) {
    const int64_t before = now(CLOCK_MONOTONIC);
    const uint64_t cycles = __rdtsc();
    const int64_t after = now(CLOCK_MONOTONIC);
    if (after - before < best_span) {
      best_span = after - before;
      best = {cycles, before + (after - before) / 2};
    }
  }
  return best;
}

namespace {

std::string first_line(const char* path) {
  std::string line;
  if (FILE* file = std::fopen(path, "re")) {
    char buffer[256];
    if (std::fgets(buffer, sizeof buffer, file) != nullptr) line = buffer;
    std::fclose(file);
  }
  while (!line.empty() && line.back() == '\n') line.pop_back();
  return line;
}

/// A function of the host's vDSO by its name; 0 when it has none.
uint64_t vdso_function(uint64_t base, const char* name) {
  const auto* header = reinterpret_cast<const Elf64_Ehdr*>(base);
  const auto* segments = reinterpret_cast<const Elf64_Phdr*>(base + header->e_phoff);
  const Elf64_Dyn* dynamic = nullptr;
  for (unsigned i = 0; i < header->e_phnum; ++i) {
    if (segments[i].p_type == PT_DYNAMIC)
      dynamic = reinterpret_cast<const Elf64_Dyn*>(base + segments[i].p_offset);
  }
  const Elf64_Sym* symbols = nullptr;
  const char* strings = nullptr;
  for (; dynamic != nullptr && dynamic->d_tag != DT_NULL; ++dynamic) {
    if (dynamic->d_tag == DT_SYMTAB)
      symbols = reinterpret_cast<const Elf64_Sym*>(base + dynamic->d_un.d_ptr);
    if (dynamic->d_tag == DT_STRTAB)
      strings = reinterpret_cast<const char*>(base + dynamic->d_un.d_ptr);
  }
  if (symbols == nullptr || strings == nullptr) return 0;
  // The string table follows the symbols.
  const auto* end = reinterpret_cast<const Elf64_Sym*>(strings);
  for (const Elf64_Sym* symbol = symbols; symbol < end; ++symbol) {
    if (symbol->st_shndx != SHN_UNDEF && std::strcmp(strings + symbol->st_name, name) == 0)
      return base + symbol->st_value;
  }
  return 0;
}

/// Where the vDSO and its data lie: neighbours in the list of mappings.
void find_vdso(ProcessBoot& boot) {
  FILE* maps = std::fopen("/proc/self/maps", "re");
  if (maps == nullptr) return;
  char line[512];
  while (std::fgets(line, sizeof line, maps) != nullptr) {
    if (std::strstr(line, "[vvar") == nullptr && std::strstr(line, "[vdso]") == nullptr) continue;
    unsigned long long start = 0, end = 0;
    if (std::sscanf(line, "%llx-%llx", &start, &end) != 2) continue;
    if (boot.vdso_end == 0) boot.vdso_start = start;
    boot.vdso_end = end;
  }
  std::fclose(maps);
}

}  // namespace

ClockMeter::ClockMeter() : start_(sample()) {}

void ClockMeter::describe(ProcessBoot& boot) const {
  // The rate is corrected later where the vDSO reads the TSC itself; otherwise this measurement is
  // all there is, and deserves longer.
  const std::string source =
      first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  const bool reads_tsc = source == "tsc" || source == "kvm-clock";
  const int64_t span = reads_tsc ? 100'000 : 20'000'000;
  while (now(CLOCK_MONOTONIC) - start_.ns < span) _mm_pause();
  const Sample end = sample();
  boot.tsc_hertz = static_cast<uint64_t>(static_cast<double>(end.cycles - start_.cycles) * 1e9 /
                                         static_cast<double>(end.ns - start_.ns));
  boot.clock_cycles = start_.cycles;
  boot.clock_ns = start_.ns;
  boot.epoch_ns = now(CLOCK_REALTIME) - (now(CLOCK_MONOTONIC) - start_.ns);
  const uint64_t vdso = getauxval(AT_SYSINFO_EHDR);
  if (!reads_tsc || vdso == 0) return;
  find_vdso(boot);
  if (boot.vdso_end != 0) boot.clock_gettime = vdso_function(vdso, "__vdso_clock_gettime");
}

}  // namespace aril::tender
