#include "machine/tsc.hpp"

#include <x86intrin.h>

#include <ctime>

namespace aril::tool {

namespace {

constexpr uint64_t kMinimumSpan = 5'000'000;  // 5 ms: an error of 100 ns is then 20 ppm

uint64_t now() {
  timespec time = {};
  clock_gettime(CLOCK_MONOTONIC_RAW, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

}  // namespace

/// The tightest of a few brackets of the counter between two clock readings.
TscMeter::Sample TscMeter::sample() {
  Sample best;
  uint64_t best_span = UINT64_MAX;
  for (int i = 0; i < 8; ++i) {
    const uint64_t before = now();
    const uint64_t ticks = __rdtsc();
    const uint64_t after = now();
    if (after - before < best_span) {
      best_span = after - before;
      best = {ticks, before + (after - before) / 2};
    }
  }
  return best;
}

TscMeter::TscMeter() : start_(sample()) {}

uint64_t TscMeter::rate() const {
  const uint64_t passed = now() - start_.nanoseconds;
  if (passed < kMinimumSpan) {
    const timespec rest = {0, static_cast<long>(kMinimumSpan - passed)};
    nanosleep(&rest, nullptr);
  }
  const Sample end = sample();
  return static_cast<uint64_t>(static_cast<double>(end.ticks - start_.ticks) * 1e6 /
                               static_cast<double>(end.nanoseconds - start_.nanoseconds));
}

}  // namespace aril::tool
