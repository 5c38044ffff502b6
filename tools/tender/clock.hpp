#pragma once
#include "base/process_abi.hpp"

namespace aril::tender {

/// Measures the TSC's rate over its own life: made at the start, asked at the end, it seldom has to
/// wait.
class ClockMeter {
 public:
  ClockMeter();
  /// The host's clock and its vDSO.
  void describe(ProcessBoot& boot) const;

 private:
  struct Sample {
    uint64_t cycles;
    int64_t ns;
  };
  static Sample sample();

  Sample start_;
};

}  // namespace aril::tender
