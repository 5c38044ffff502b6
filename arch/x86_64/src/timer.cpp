#include "arch/timer.hpp"

#include <algorithm>
#include <atomic>

#include "machine.hpp"

namespace aril::arch {
namespace {

// The APIC timer counts at a rate of its own, in ticks per nanosecond with 24 fraction bits. It is
// found from how far the boot CPU's timer counted between start-up and its first use.
constexpr unsigned kRateShift = 24;
constexpr Duration kShortestMeasurement = Duration::microseconds(200);
constinit std::atomic<uint64_t> ticks_per_ns{0};
constinit Instant measured_since{};
constinit bool ready = false;
/// A measured rate is a little wrong: long waits are armed this part (1/128) short, and the timer
/// queue, finding nothing due, arms the rest.
constexpr int64_t kLongWaitNs = 2'000'000;
constexpr int kShortenShift = 7;

/// On the boot CPU, once.
void measure_rate() {
  Duration elapsed;
  do {
    elapsed = monotonic_now() - measured_since;
  } while (elapsed < kShortestMeasurement);
  uint64_t counted = ~0u - local_apic::timer_count();
  // A count that ran out (nobody armed a timer for seconds) measures nothing.
  uint64_t rate = counted == ~0u ? uint64_t{1} << kRateShift
                                 : (counted << kRateShift) / static_cast<uint64_t>(elapsed.ns);
  ticks_per_ns.store(std::max<uint64_t>(rate, 1), std::memory_order_relaxed);
}

}  // namespace

void initialize_timer_on_this_cpu() {
  if (features.tsc_deadline) {
    local_apic::set_timer_deadline_mode();
  } else if (cpu_index() == 0) {
    // Starts masked (local_apic::enable_this_cpu), so that running out does not interrupt.
    measured_since = monotonic_now();
    ticks_per_ns.store(0, std::memory_order_relaxed);
    local_apic::set_timer_count(~0u);
  } else {
    local_apic::set_timer_one_shot_mode();
  }
  ready = true;
}

void finish_timer_measurement() {
  if (features.tsc_deadline || ticks_per_ns.load(std::memory_order_relaxed) != 0) return;
  measure_rate();
  local_apic::set_timer_one_shot_mode();
}

void set_timer(Instant deadline) {
  if (!ready) return;
  if (features.tsc_deadline) {
    // 0 disarms; a value in the past fires at once [SDM 3A 11.5.4.1].
    write_msr(Msr::kTscDeadline,
              deadline == Instant::never() ? 0 : std::max<uint64_t>(cycles_at(deadline), 1));
    return;
  }
  if (deadline == Instant::never()) {
    // Before the first use there is nothing to disarm, and the count is still being measured.
    if (ticks_per_ns.load(std::memory_order_relaxed) != 0) local_apic::set_timer_count(0);
    return;
  }
  // Other CPUs run only after the boot CPU finished the measurement.
  finish_timer_measurement();
  uint64_t rate = ticks_per_ns.load(std::memory_order_relaxed);
  constexpr int64_t kLongest = 1'000'000'000;
  int64_t wait = std::clamp<int64_t>((deadline - monotonic_now()).ns, 0, kLongest);
  if (wait > kLongWaitNs) wait -= wait >> kShortenShift;
  uint64_t ticks = (static_cast<uint64_t>(wait) * rate) >> kRateShift;
  local_apic::set_timer_count(static_cast<uint32_t>(std::clamp<uint64_t>(ticks, 1, ~0u)));
}

}  // namespace aril::arch
