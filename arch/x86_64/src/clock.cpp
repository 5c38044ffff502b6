#include <atomic>
#include <iterator>

#include "arch/timer.hpp"
#include "clock_sources.hpp"
#include "machine.hpp"

extern "C" uint64_t aril_boot_cycles;

namespace aril::arch {
namespace {

using Wide = unsigned __int128;

/// ns = base_ns + ((cycles - base_cycles) * multiplier >> shift). Changed under `writing` with an
/// odd `sequence`; readers try again when it changed under them.
struct TscClock {
  std::atomic<uint32_t> sequence{0};
  std::atomic<bool> writing{false};
  uint64_t base_cycles = 0;
  int64_t base_ns = 0;
  uint32_t multiplier = 0;
  uint32_t shift = 0;
  uint64_t hertz = 0;
  /// A measured rate is corrected at this count; ~0 when the rate is final.
  std::atomic<uint64_t> refine_at{~uint64_t{0}};
};
constinit TscClock tsc{};
constinit ReferenceCounter reference{};
constinit ReferenceSample first_sample{};
constinit unsigned refinements = 0;
constinit bool use_kvm_pages = false;
constinit bool in_applications = true;
constinit int64_t kvm_zero = 0;
constinit int64_t wall_clock_at_zero = 0;
constinit const char* source_name = "none";

/// QEMU's and KVM's local APIC timers count nanoseconds: what is left when nothing else tells time.
constexpr uint64_t kAssumedApicHertz = 1'000'000'000;
constexpr uint64_t kFirstLookMicroseconds = 300;
// Each look at the reference is good to about 2 microseconds, so the later the better; but the
// 16-bit PIT must not have wrapped more often than the rate so far can tell.
constexpr uint64_t kRefineAfterMs[] = {10, 200, 2000};

constexpr uint64_t kNsPerSecond = 1'000'000'000;

void set_rate(uint64_t hertz, uint64_t base_cycles, int64_t base_ns) {
  tsc.sequence.fetch_add(1, std::memory_order_acq_rel);
  tsc.base_cycles = base_cycles;
  tsc.base_ns = base_ns;
  // The largest shift for which the multiplier fits 32 bits at any rate above the limit.
  tsc.shift = hertz > 500'000'000 ? 31 : 24;
  tsc.multiplier = static_cast<uint32_t>((kNsPerSecond << tsc.shift) / hertz);
  tsc.hertz = hertz;
  tsc.sequence.fetch_add(1, std::memory_order_acq_rel);
}

CycleScale read_scale() {
  CycleScale scale;
  uint32_t sequence;
  do {
    sequence = tsc.sequence.load(std::memory_order_acquire);
    scale = {tsc.base_cycles, tsc.base_ns, tsc.multiplier, tsc.shift, false};
    std::atomic_thread_fence(std::memory_order_acquire);
  } while ((sequence & 1) != 0 || sequence != tsc.sequence.load(std::memory_order_relaxed));
  return scale;
}

int64_t to_ns(const CycleScale& scale, uint64_t count) {
  // Another CPU may have set a base that this one's counter has not quite reached.
  auto elapsed = static_cast<int64_t>(count - scale.base_cycles);
  if (elapsed <= 0) return scale.base_ns;
  return scale.base_ns +
         static_cast<int64_t>((static_cast<Wide>(elapsed) * scale.multiplier) >> scale.shift);
}

/// The TSC's rate from two looks at the reference, `known` being the rate so far (0: they are less
/// than one turn of the counter apart).
uint64_t rate_between(const ReferenceSample& from, const ReferenceSample& to, uint64_t known) {
  uint64_t elapsed = to.cycles - from.cycles;
  uint64_t counted = (to.count - from.count) & reference.mask;
  if (known != 0) {
    // Below a minute and 60 GHz the product fits.
    uint64_t expected = elapsed / 16 * reference.hertz / (known / 16);
    uint64_t turn = uint64_t{reference.mask} + 1;
    // The whole turns that bring the count nearest to what is expected.
    if (expected > counted) counted += (expected - counted + turn / 2) / turn * turn;
  }
  if (counted == 0) return 0;
  // elapsed * hertz fits 64 bits for the minute or so that looks are apart.
  return elapsed * reference.hertz / counted;
}

/// Corrects a measured rate; keeps the time continuous. Any context.
void refine(uint64_t now_cycles) {
  if (tsc.writing.exchange(true, std::memory_order_acquire)) return;
  InterruptGuard guard;
  ReferenceSample now = sample(reference);
  uint64_t elapsed_ms = (now_cycles - first_sample.cycles) / (tsc.hertz / 1000);
  auto refine_in = [](uint64_t ms) {
    tsc.refine_at.store(first_sample.cycles + tsc.hertz / 1000 * ms, std::memory_order_relaxed);
  };
  if (elapsed_ms >= 30 * kRefineAfterMs[refinements]) {
    // Nobody read the clock for long: how often the counter turned is not certain. Start again.
    first_sample = now;
    refinements = 0;
    refine_in(kRefineAfterMs[0]);
  } else {
    if (uint64_t hertz = rate_between(first_sample, now, tsc.hertz); hertz != 0)
      set_rate(hertz, now.cycles, to_ns(read_scale(), now.cycles));
    if (++refinements < std::size(kRefineAfterMs)) {
      refine_in(kRefineAfterMs[refinements]);
    } else {
      tsc.refine_at.store(~uint64_t{0}, std::memory_order_relaxed);
    }
  }
  tsc.writing.store(false, std::memory_order_release);
}

/// Spends kFirstLookMicroseconds, or measures against the local APIC when there is no reference.
uint64_t measure_tsc(uint16_t acpi_timer_port) {
  reference = find_reference_counter(acpi_timer_port);
  if (reference.hertz == 0) {
    source_name = "tsc (local apic)";
    local_apic::set_timer_count(~0u);
    uint32_t start = local_apic::timer_count();
    uint64_t start_cycles = cycles();
    uint32_t wanted = kAssumedApicHertz / 1'000'000 * kFirstLookMicroseconds;
    uint32_t count;
    do {
      count = start - local_apic::timer_count();
    } while (count < wanted);
    return (cycles() - start_cycles) * kAssumedApicHertz / count;
  }
  source_name =
      reference.kind == ReferenceCounter::Kind::kAcpiTimer ? "tsc (acpi timer)" : "tsc (pit)";
  first_sample = sample(reference);
  uint32_t wanted = static_cast<uint32_t>(reference.hertz * kFirstLookMicroseconds / 1'000'000);
  ReferenceSample last;
  do {
    last = sample(reference);
  } while (((last.count - first_sample.count) & reference.mask) < wanted);
  uint64_t hertz = rate_between(first_sample, last, 0);
  tsc.refine_at = first_sample.cycles + hertz / 1000 * kRefineAfterMs[0];
  return hertz;
}

uint64_t choose_tsc_rate(const ClockConfig& config) {
  if (config.tsc_khz != 0) {
    source_name = "tsc (command line)";
    return config.tsc_khz * 1000;
  }
  if (uint64_t hertz = tsc_hertz_from_cpuid(); hertz != 0) {
    source_name = "tsc (cpuid)";
    return hertz;
  }
  return measure_tsc(config.acpi_timer_port);
}

}  // namespace

void initialize_clock(const ClockConfig& config) {
  uint64_t hertz = 0;
  in_applications = config.in_applications;
  use_kvm_pages = false;
  tsc.refine_at = ~uint64_t{0};
  refinements = 0;
  bool has_kvm = kvm_clock::is_available();
  if (has_kvm) {
    kvm_clock::enable_on_this_cpu();
    hertz = kvm_clock::stable_tsc_hertz();
    if (hertz != 0) {
      source_name = "tsc (kvm-clock)";
    } else {
      use_kvm_pages = true;
      source_name = "kvm-clock";
    }
  }
  if (hertz == 0) hertz = choose_tsc_rate(config);
  set_rate(hertz, aril_boot_cycles, config.start_ns);
  if (use_kvm_pages) {
    source_name = "kvm-clock";
    int64_t since_boot = to_ns(read_scale(), cycles());
    kvm_zero = kvm_clock::read() - since_boot;
  }

  int64_t now = monotonic_now().ns;
  if (config.epoch_ns != 0) {
    wall_clock_at_zero = config.epoch_ns - now;
  } else if (has_kvm) {
    wall_clock_at_zero = kvm_clock::wall_clock_base() + kvm_clock::read() - now;
  } else if (config.has_cmos_clock) {
    if (auto cmos = read_cmos_clock()) wall_clock_at_zero = *cmos - now;
  }
  initialize_timer_on_this_cpu();
}

void initialize_clock_on_this_cpu() {
  if (kvm_clock::is_available()) kvm_clock::enable_on_this_cpu();
}

std::string_view clock_source_name() { return source_name; }

Instant monotonic_now() {
  if (use_kvm_pages) return {kvm_clock::read() - kvm_zero};
  uint64_t count = cycles();
  if (count >= tsc.refine_at.load(std::memory_order_relaxed)) [[unlikely]]
    refine(count);
  return {to_ns(read_scale(), count)};
}

int64_t boot_wall_clock_ns() { return wall_clock_at_zero; }

CycleScale cycle_scale() {
  CycleScale scale = read_scale();
  // While the rate may still be corrected, only the kernel's reading is right.
  scale.usable = in_applications && !use_kvm_pages &&
                 tsc.refine_at.load(std::memory_order_relaxed) == ~uint64_t{0};
  return scale;
}

// One aligned word: it needs no sequence.
uint64_t cycles_per_second() { return __atomic_load_n(&tsc.hertz, __ATOMIC_RELAXED); }

uint64_t cycles_at(Instant time) {
  CycleScale scale = read_scale();
  int64_t ahead = time.ns - scale.base_ns;
  if (ahead <= 0) return scale.base_cycles;
  // Whole seconds and the rest apart: a 128-bit division would need a library.
  uint64_t seconds = static_cast<uint64_t>(ahead) / kNsPerSecond;
  uint64_t rest = static_cast<uint64_t>(ahead) % kNsPerSecond;
  return scale.base_cycles + seconds * tsc.hertz + rest * (tsc.hertz / 1000) / 1'000'000;
}

}  // namespace aril::arch
