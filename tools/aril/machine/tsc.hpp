#pragma once
#include <cstdint>

namespace aril::tool {

/// Measures the rate of this CPU's time stamp counter against CLOCK_MONOTONIC_RAW, over the time
/// that passes anyway between its construction and the question. Emulated machines count at the
/// same rate, and telling the guest saves it from calibrating.
class TscMeter {
 public:
  TscMeter();
  /// In kHz; waits until at least 5 ms have passed since construction.
  uint64_t rate() const;

 private:
  struct Sample {
    uint64_t ticks = 0;
    uint64_t nanoseconds = 0;
  };
  static Sample sample();

  Sample start_;
};

}  // namespace aril::tool
