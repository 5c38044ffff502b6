// The functions of the vDSO [vdso(7)]. Runs as application code: position-independent, without
// any library, on the application's stack.
#include <cstdint>

#include "linux/vdso/vdso_data.hpp"

namespace {

using aril::linux_abi::VdsoData;

struct Timespec {
  int64_t seconds, nanoseconds;
};
struct Timeval {
  int64_t seconds, microseconds;
};
struct TimeZone {
  int32_t minutes_west, dst;
};

constexpr int64_t kNsPerSecond = 1'000'000'000;
constexpr int kRealtime = 0, kMonotonic = 1, kMonotonicRaw = 4, kRealtimeCoarse = 5,
              kMonotonicCoarse = 6, kBoottime = 7, kTai = 11;
constexpr long kClockGettimeCall = 228;

long system_call(long number, long a, long b, long c) {
  long result;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c)
               : "rcx", "r11", "memory");
  return result;
}

uint64_t cycles() {
  uint32_t low, high;
  // lfence: the counter is not read before the sequence number.
  asm volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
  return (uint64_t{high} << 32) | low;
}

extern "C" __attribute__((visibility("hidden"))) const volatile VdsoData aril_vdso_data;

// Monotonic nanoseconds in `ns` and what to add for realtime; false when only the kernel can tell.
bool read_clock(int64_t& ns, int64_t& realtime_offset) {
  const volatile VdsoData& data = aril_vdso_data;
  for (;;) {
    uint32_t sequence = data.sequence;
    if ((sequence & 1) != 0) {
      asm volatile("pause");
      continue;
    }
    asm volatile("" : : : "memory");
    if (data.usable == 0) return false;
    auto elapsed = static_cast<int64_t>(cycles() - data.base_cycles);
    // This CPU's counter may not quite have reached a base that another CPU set.
    if (elapsed < 0) elapsed = 0;
    ns = data.base_ns +
         static_cast<int64_t>((static_cast<unsigned __int128>(elapsed) * data.multiplier) >>
                              data.shift);
    realtime_offset = data.realtime_offset;
    asm volatile("" : : : "memory");
    if (data.sequence == sequence) return true;
  }
}

// Without a 64-bit division call: the compiler turns a constant divisor into a multiplication.
Timespec split(int64_t ns) { return {ns / kNsPerSecond, ns % kNsPerSecond}; }

}  // namespace

extern "C" {

[[gnu::visibility("default")]] int aril_vdso_clock_gettime(int clock, Timespec* out) {
  int64_t ns, offset;
  bool is_realtime = clock == kRealtime || clock == kRealtimeCoarse || clock == kTai;
  bool is_monotonic = clock == kMonotonic || clock == kMonotonicRaw || clock == kMonotonicCoarse ||
                      clock == kBoottime;
  if ((!is_realtime && !is_monotonic) || !read_clock(ns, offset))
    return static_cast<int>(system_call(kClockGettimeCall, clock, reinterpret_cast<long>(out), 0));
  *out = split(is_realtime ? ns + offset : ns);
  return 0;
}

[[gnu::visibility("default")]] int aril_vdso_gettimeofday(Timeval* time, TimeZone* zone) {
  if (time != nullptr) {
    Timespec now;
    int result = aril_vdso_clock_gettime(kRealtime, &now);
    if (result != 0) return result;
    *time = {now.seconds, now.nanoseconds / 1000};
  }
  if (zone != nullptr) *zone = {0, 0};
  return 0;
}

[[gnu::visibility("default")]] int64_t aril_vdso_time(int64_t* out) {
  Timespec now;
  int result = aril_vdso_clock_gettime(kRealtime, &now);
  if (result != 0) return result;
  if (out != nullptr) *out = now.seconds;
  return now.seconds;
}

[[gnu::visibility("default")]] long aril_vdso_getcpu(uint32_t* cpu, uint32_t* node, void*) {
  // The CPU's block is where GS points, for applications too; its index: arch/cpu.hpp.
  uint32_t index;
  asm volatile("movl %%gs:0x20, %0" : "=r"(index));
  if (cpu != nullptr) *cpu = index;
  if (node != nullptr) *node = 0;
  return 0;
}

// The names that C libraries look for.
[[gnu::alias("aril_vdso_clock_gettime"), gnu::visibility("default")]] int __vdso_clock_gettime(
    int clock, Timespec* out);
[[gnu::alias("aril_vdso_gettimeofday"), gnu::visibility("default")]] int __vdso_gettimeofday(
    Timeval* time, TimeZone* zone);
[[gnu::alias("aril_vdso_time"), gnu::visibility("default")]] int64_t __vdso_time(int64_t* out);
[[gnu::alias("aril_vdso_getcpu"), gnu::visibility("default")]] long __vdso_getcpu(uint32_t* cpu,
                                                                                  uint32_t* node,
                                                                                  void* cache);
}
