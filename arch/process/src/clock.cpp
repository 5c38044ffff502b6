#include <atomic>

#include "arch/startup.hpp"
#include "arch/timer.hpp"
#include "process.hpp"

namespace aril::arch {
namespace {

using Wide = unsigned __int128;
constexpr uint64_t kNsPerSecond = 1'000'000'000;
// The host's clock is good to some 50 ns: the last correction is to one part in a million. Until
// then the vDSO asks the kernel each time, by a `syscall` instruction that cannot be rewritten.
constexpr int64_t kRefineAfterNs[] = {5'000'000, 50'000'000};

/// As Linux's timespec.
struct HostTime {
  int64_t seconds, nanoseconds;
};
using ClockGettime = int (*)(int clock, HostTime* time);

/// ns = base_ns + ((cycles - base_cycles) * multiplier >> shift), guarded by `sequence`.
constinit CycleScale scale{};
constinit std::atomic<uint32_t> sequence{0};
constinit std::atomic<bool> refining{false};
constinit std::atomic<uint64_t> refine_at{~uint64_t{0}};
constinit unsigned refinements = 0;
constinit uint64_t hertz = 0;

void set_scale(uint64_t rate, uint64_t base_cycles, int64_t base_ns, bool is_final) {
  hertz = rate;
  sequence.fetch_add(1, std::memory_order_acq_rel);
  // The largest shift for which the multiplier fits 32 bits at any rate above the limit.
  uint32_t shift = rate > 500'000'000 ? 31 : 24;
  scale = {base_cycles, base_ns, static_cast<uint32_t>((kNsPerSecond << shift) / rate), shift,
           is_final};
  sequence.fetch_add(1, std::memory_order_acq_rel);
}

CycleScale read_scale() {
  CycleScale copy;
  uint32_t before;
  do {
    before = sequence.load(std::memory_order_acquire);
    copy = scale;
    std::atomic_thread_fence(std::memory_order_acquire);
  } while ((before & 1) != 0 || before != sequence.load(std::memory_order_relaxed));
  return copy;
}

int64_t to_ns(const CycleScale& by, uint64_t count) {
  // Another CPU may have set a base that this one's counter has not quite reached.
  auto elapsed = static_cast<int64_t>(count - by.base_cycles);
  if (elapsed <= 0) return by.base_ns;
  return by.base_ns +
         static_cast<int64_t>((static_cast<Wide>(elapsed) * by.multiplier) >> by.shift);
}

/// Corrects the rate by the host's clock; keeps the time continuous. Any context.
void refine() {
  if (refining.exchange(true, std::memory_order_acquire)) return;
  // The vDSO's code has a red zone, which a handler on this stack would overwrite.
  InterruptGuard guard;
  const ProcessBoot& boot = boot_information();
  auto clock_gettime = reinterpret_cast<ClockGettime>(boot.clock_gettime);
  constexpr int kMonotonic = 1;
  HostTime time{};
  uint64_t before = cycles();
  int error = clock_gettime(kMonotonic, &time);
  uint64_t count = before + (cycles() - before) / 2;
  int64_t elapsed_ns =
      time.seconds * static_cast<int64_t>(kNsPerSecond) + time.nanoseconds - boot.clock_ns;
  bool is_final = ++refinements == std::size(kRefineAfterNs);
  // Below ten minutes and 60 GHz the product fits 128 bits by far, and the quotient 64.
  if (error == 0 && elapsed_ns > 0) {
    uint64_t elapsed = count - boot.clock_cycles;
    uint64_t milliseconds = static_cast<uint64_t>(elapsed_ns) / 1'000;
    uint64_t rate =
        elapsed / milliseconds * 1'000'000 + elapsed % milliseconds * 1'000'000 / milliseconds;
    set_scale(rate, count, to_ns(read_scale(), count), is_final);
  }
  refine_at.store(
      is_final ? ~uint64_t{0}
               : boot.clock_cycles +
                     hertz / 1000 * static_cast<uint64_t>(kRefineAfterNs[refinements] / 1'000'000),
      std::memory_order_relaxed);
  refining.store(false, std::memory_order_release);
}

}  // namespace

void initialize_clock() {
  const ProcessBoot& boot = boot_information();
  set_scale(boot.tsc_hertz, boot.clock_cycles, 0, boot.clock_gettime == 0);
  if (boot.clock_gettime != 0)
    refine_at =
        boot.clock_cycles + hertz / 1000 * static_cast<uint64_t>(kRefineAfterNs[0] / 1'000'000);
}

Instant monotonic_now() {
  uint64_t count = cycles();
  if (count >= refine_at.load(std::memory_order_relaxed)) [[unlikely]]
    refine();
  return {to_ns(read_scale(), count)};
}

int64_t boot_wall_clock_ns() { return boot_information().epoch_ns; }

CycleScale cycle_scale() { return read_scale(); }

}  // namespace aril::arch
