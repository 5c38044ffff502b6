#pragma once
#include <cstdint>

#include "base/units.hpp"
#include "linux/abi/time.hpp"
#include "linux/process/process.hpp"

namespace aril::linux_abi {

/// struct rusage.
struct ResourceUsage {
  Timeval user, system;
  int64_t peak_resident_kib = 0, shared_size = 0, data_size = 0, stack_size = 0;
  int64_t minor_faults = 0, major_faults = 0, swaps = 0, blocks_in = 0, blocks_out = 0;
  int64_t messages_sent = 0, messages_received = 0, signals = 0;
  int64_t voluntary_switches = 0, involuntary_switches = 0;

  static ResourceUsage from(const ResourceUse& use) {
    ResourceUsage usage;
    usage.user = Timeval::from(use.cpu_times.user);
    usage.system = Timeval::from(use.cpu_times.system);
    usage.peak_resident_kib = static_cast<int64_t>(use.peak_resident_pages * (kPageSize / kKiB));
    usage.voluntary_switches = static_cast<int64_t>(use.voluntary_switches);
    usage.involuntary_switches = static_cast<int64_t>(use.involuntary_switches);
    return usage;
  }
};
static_assert(sizeof(ResourceUsage) == 144);

}  // namespace aril::linux_abi
