#pragma once
#include <array>
#include <cstdint>

#include "base/result.hpp"

namespace aril::linux_abi {

/// RLIMIT_* [asm-generic/resource.h].
enum class Resource : uint32_t {
  kCpu = 0,
  kFileSize,
  kData,
  kStack,
  kCore,
  kResidentSet,
  kProcesses,
  kOpenFiles,
  kLockedMemory,
  kAddressSpace,
  kFileLocks,
  kPendingSignals,
  kMessageQueue,
  kNice,
  kRealTimePriority,
  kRealTimeTime,
  kCount,
};
inline constexpr uint64_t kUnlimited = ~uint64_t{0};

/// struct rlimit64.
struct ResourceLimit {
  uint64_t current = kUnlimited;
  uint64_t maximum = kUnlimited;
};

struct ResourceLimits {
  std::array<ResourceLimit, static_cast<size_t>(Resource::kCount)> limits = defaults();

  ResourceLimit& operator[](Resource resource) { return limits[static_cast<size_t>(resource)]; }
  const ResourceLimit& operator[](Resource resource) const {
    return limits[static_cast<size_t>(resource)];
  }

 private:
  static constexpr std::array<ResourceLimit, static_cast<size_t>(Resource::kCount)> defaults() {
    std::array<ResourceLimit, static_cast<size_t>(Resource::kCount)> result{};
    auto set = [&](Resource resource, uint64_t current, uint64_t maximum) {
      result[static_cast<size_t>(resource)] = {current, maximum};
    };
    set(Resource::kStack, 8u << 20, kUnlimited);
    set(Resource::kCore, 0, kUnlimited);
    set(Resource::kOpenFiles, 1024, 1 << 20);
    set(Resource::kLockedMemory, 8u << 20, 8u << 20);
    set(Resource::kMessageQueue, 819200, 819200);
    set(Resource::kNice, 0, 0);
    set(Resource::kRealTimePriority, 0, 0);
    set(Resource::kPendingSignals, 4096, 4096);
    return result;
  }
};

class Process;
/// Makes RLIMIT_CPU hold from now on. Null in an image without linux/time.
[[gnu::weak]] Result<void> enforce_cpu_limit(Process& process, const ResourceLimit& limit);

}  // namespace aril::linux_abi
