#pragma once
#include <cstdint>

#include "base/result.hpp"
#include "base/time.hpp"
#include "kernel/vm/user_copy.hpp"

/// Linux's time structures [linux/time_types.h] and clocks.
namespace aril::linux_abi {

struct Timespec {
  int64_t seconds = 0;
  int64_t nanoseconds = 0;

  static constexpr Timespec from_ns(int64_t ns) {
    int64_t seconds = ns / kSecond, rest = ns % kSecond;
    return rest < 0 ? Timespec{seconds - 1, rest + kSecond} : Timespec{seconds, rest};
  }
  static constexpr Timespec from(Duration duration) { return from_ns(duration.ns); }
  [[nodiscard]] constexpr bool is_valid() const {
    return seconds >= 0 && nanoseconds >= 0 && nanoseconds < kSecond;
  }
  /// Saturates.
  [[nodiscard]] constexpr Duration duration() const {
    return Duration::seconds(seconds) + Duration::nanoseconds(nanoseconds);
  }

 private:
  static constexpr int64_t kSecond = 1'000'000'000;
};

struct Timeval {
  int64_t seconds = 0;
  int64_t microseconds = 0;

  static constexpr Timeval from(Duration duration) {
    Timespec time = Timespec::from(duration);
    return {time.seconds, time.nanoseconds / 1000};
  }
  [[nodiscard]] constexpr bool is_valid() const {
    return seconds >= 0 && microseconds >= 0 && microseconds < 1'000'000;
  }
  [[nodiscard]] constexpr Duration duration() const {
    return Duration::seconds(seconds) + Duration::microseconds(microseconds);
  }
};

/// clockid_t.
enum class ClockId : int32_t {
  kRealtime = 0,
  kMonotonic = 1,
  kProcessCpu = 2,
  kThreadCpu = 3,
  kMonotonicRaw = 4,
  kRealtimeCoarse = 5,
  kMonotonicCoarse = 6,
  kBoottime = 7,
  kRealtimeAlarm = 8,
  kBoottimeAlarm = 9,
  kTai = 11,
};

/// Nanoseconds since 1970 at monotonic zero: realtime = monotonic + this. Any context.
int64_t realtime_offset_ns();
/// settimeofday, clock_settime.
void set_realtime_offset_ns(int64_t offset);
inline int64_t realtime_ns(Instant now) {
  return (Duration{now.ns} + Duration{realtime_offset_ns()}).ns;
}
/// The monotonic instant of a point on the realtime clock as it is set now.
inline Instant instant_of_realtime(Duration since_epoch) {
  return Instant{(since_epoch - Duration{realtime_offset_ns()}).ns};
}

/// Reads an application's timespec for a time-out: kInval when it is not normalised.
Result<Duration> read_timeout(UserPtr<Timespec> pointer);

}  // namespace aril::linux_abi
