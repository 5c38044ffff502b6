#include "clock_sources.hpp"

#include <atomic>

#include "arch/port_io.hpp"
#include "machine.hpp"

namespace aril::arch {
namespace {

constexpr uint64_t kAcpiTimerHertz = 3'579'545;  // [ACPI 6.5] 4.8.2.1
constexpr uint64_t kPitHertz = 1'193'182;

// The 8254 [Intel 82C54] and the port that gates its channel 2.
constexpr uint16_t kPitChannel2 = 0x42, kPitCommand = 0x43, kSystemControlB = 0x61;
constexpr uint8_t kPitLatch2 = 0x80;
constexpr uint8_t kPitChannel2Mode0 = 0xb0;  // low byte then high byte, one count-down that wraps
constexpr uint8_t kGateOn = 1, kSpeakerOn = 2;

void start_pit() {
  out8(kSystemControlB, static_cast<uint8_t>((in8(kSystemControlB) & ~kSpeakerOn) | kGateOn));
  out8(kPitCommand, kPitChannel2Mode0);
  out8(kPitChannel2, 0xff);
  out8(kPitChannel2, 0xff);
}

uint32_t read_counter(const ReferenceCounter& counter) {
  if (counter.kind == ReferenceCounter::Kind::kAcpiTimer) return in32(counter.port) & counter.mask;
  out8(kPitCommand, kPitLatch2);
  uint32_t low = in8(kPitChannel2);
  uint32_t count = low | uint32_t{in8(kPitChannel2)} << 8;
  return ~count & counter.mask;  // it counts down
}

bool is_counting(const ReferenceCounter& counter) {
  uint32_t first = read_counter(counter);
  for (int i = 0; i < 100; ++i) {
    if (read_counter(counter) != first) return true;
  }
  return false;
}

uint8_t read_cmos(uint8_t index) {
  out8(0x70, index);
  return in8(0x71);
}

}  // namespace

ReferenceCounter find_reference_counter(uint16_t acpi_timer_port) {
  if (acpi_timer_port != 0) {
    ReferenceCounter timer{ReferenceCounter::Kind::kAcpiTimer, kAcpiTimerHertz, 0xff'ffff,
                           acpi_timer_port};
    if (is_counting(timer)) return timer;
  }
  ReferenceCounter pit{ReferenceCounter::Kind::kPit, kPitHertz, 0xffff, 0};
  start_pit();
  if (is_counting(pit)) return pit;
  return {};
}

ReferenceSample sample(const ReferenceCounter& counter) {
  // The read that took least time is the one that the hypervisor disturbed least.
  ReferenceSample best{};
  uint64_t best_latency = ~uint64_t{0};
  for (int i = 0; i < 4; ++i) {
    uint64_t before = cycles();
    uint32_t count = read_counter(counter);
    uint64_t after = cycles();
    if (after - before >= best_latency) continue;
    best_latency = after - before;
    best = {count, before + (after - before) / 2};
  }
  return best;
}

uint64_t tsc_hertz_from_cpuid() {
  if (features.hypervisor && cpuid(0x4000'0000).eax >= 0x4000'0010) {
    // The timing leaf that VMware defined and KVM's users (QEMU, Firecracker) offer: kHz.
    if (uint32_t khz = cpuid(0x4000'0010).eax; khz != 0) return uint64_t{khz} * 1000;
  }
  // Leaf 15H: TSC = crystal * EBX / EAX.
  CpuidResult leaf = cpuid_or_zero(0x15);
  if (leaf.eax != 0 && leaf.ebx != 0 && leaf.ecx != 0)
    return uint64_t{leaf.ecx} * leaf.ebx / leaf.eax;
  return 0;
}

std::optional<int64_t> read_cmos_clock() {
  struct Reading {
    uint8_t second, minute, hour, day, month, year;
    bool operator==(const Reading&) const = default;
  };
  auto read = [] {
    return Reading{read_cmos(0), read_cmos(2), read_cmos(4),
                   read_cmos(7), read_cmos(8), read_cmos(9)};
  };
  // Two equal readings: neither was torn by the clock's own update.
  Reading now = read();
  for (int i = 0; i < 5; ++i) {
    Reading again = read();
    if (again == now) break;
    now = again;
  }
  uint8_t format = read_cmos(0x0b);
  bool is_24_hour = (format & 2) != 0;
  bool is_pm = !is_24_hour && (now.hour & 0x80) != 0;
  now.hour &= 0x7f;
  if ((format & 4) == 0) {
    auto from_bcd = [](uint8_t value) {
      return static_cast<uint8_t>((value >> 4) * 10 + (value & 15));
    };
    now = {from_bcd(now.second), from_bcd(now.minute), from_bcd(now.hour),
           from_bcd(now.day),    from_bcd(now.month),  from_bcd(now.year)};
  }
  if (!is_24_hour) now.hour = static_cast<uint8_t>(now.hour % 12 + (is_pm ? 12 : 0));
  if (now.month < 1 || now.month > 12 || now.day < 1 || now.day > 31 || now.hour > 23 ||
      now.minute > 59 || now.second > 60 || now.year > 99)
    return std::nullopt;
  // Days from the civil date, with years that begin in March.
  int64_t year = 2000 + now.year - (now.month <= 2 ? 1 : 0);
  int64_t month = (now.month + 9) % 12;
  int64_t days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + now.day -
                 1 - 719'468;
  return (((days * 24 + now.hour) * 60 + now.minute) * 60 + now.second) * 1'000'000'000;
}

namespace kvm_clock {
namespace {

/// pvclock_vcpu_time_info, written by the hypervisor; odd versions are being written.
struct alignas(64) TimeInfo {
  uint32_t version, pad0;
  uint64_t tsc_timestamp, system_time;
  uint32_t multiplier;
  int8_t shift;
  uint8_t flags, pad[2];
};
struct WallClock {
  uint32_t version, seconds, nanoseconds;
};
constexpr uint8_t kTscStable = 1;
constexpr uint32_t kNewMsrs = 1u << 3, kStableBit = 1u << 24;
constinit TimeInfo infos[kMaxCpus] = {};
alignas(16) constinit WallClock wall_clock{};
constinit std::atomic<int64_t> latest{0};

uint64_t scaled(const TimeInfo& info, uint64_t delta) {
  delta = info.shift >= 0 ? delta << info.shift : delta >> -info.shift;
  return static_cast<uint64_t>((static_cast<unsigned __int128>(delta) * info.multiplier) >> 32);
}

}  // namespace

bool is_available() {
  if (!features.hypervisor) return false;
  CpuidResult leaf = cpuid(0x4000'0000);
  bool is_kvm = leaf.ebx == 0x4b4d'564b && leaf.ecx == 0x564b'4d56 && leaf.edx == 0x4d;
  return is_kvm && (cpuid(0x4000'0001).eax & kNewMsrs) != 0;
}

void enable_on_this_cpu() {
  write_msr(Msr::kKvmSystemTime, virtual_to_physical(&infos[cpu_index()]) | 1);
}

int64_t read() {
  InterruptGuard guard;  // the page belongs to this CPU
  const volatile TimeInfo& info = infos[cpu_index()];
  TimeInfo copy;
  uint64_t now;
  do {
    copy.version = info.version;
    std::atomic_thread_fence(std::memory_order_acquire);
    copy.tsc_timestamp = info.tsc_timestamp;
    copy.system_time = info.system_time;
    copy.multiplier = info.multiplier;
    copy.shift = info.shift;
    now = cycles();
    std::atomic_thread_fence(std::memory_order_acquire);
  } while ((copy.version & 1) != 0 || copy.version != info.version);
  uint64_t delta = now > copy.tsc_timestamp ? now - copy.tsc_timestamp : 0;
  auto time = static_cast<int64_t>(copy.system_time + scaled(copy, delta));
  // CPUs may disagree by a little: time never goes back.
  int64_t last = latest.load(std::memory_order_relaxed);
  while (time > last) {
    if (latest.compare_exchange_weak(last, time, std::memory_order_relaxed)) return time;
  }
  return last;
}

uint64_t stable_tsc_hertz() {
  const TimeInfo& info = infos[cpu_index()];
  if ((cpuid(0x4000'0001).eax & kStableBit) == 0 || (info.flags & kTscStable) == 0 ||
      info.multiplier == 0)
    return 0;
  // ns = (cycles << shift) * multiplier / 2^32; turned round.
  uint64_t hertz = (uint64_t{1'000'000'000} << 32) / info.multiplier;
  return info.shift >= 0 ? hertz >> info.shift : hertz << -info.shift;
}

int64_t wall_clock_base() {
  write_msr(Msr::kKvmWallClock, virtual_to_physical(&wall_clock));
  const volatile WallClock& clock = wall_clock;
  return int64_t{clock.seconds} * 1'000'000'000 + clock.nanoseconds;
}

}  // namespace kvm_clock
}  // namespace aril::arch
