#include "linux/abi/time.hpp"

#include <atomic>

#include "arch/timer.hpp"

namespace aril::linux_abi {
namespace {
// How far the application has moved the clock that boot found.
constinit std::atomic<int64_t> adjustment{0};
}  // namespace

int64_t realtime_offset_ns() {
  return arch::boot_wall_clock_ns() + adjustment.load(std::memory_order_relaxed);
}

void set_realtime_offset_ns(int64_t offset) {
  adjustment.store(offset - arch::boot_wall_clock_ns(), std::memory_order_relaxed);
}

Result<Duration> read_timeout(UserPtr<Timespec> pointer) {
  Timespec time = ARIL_TRY(pointer.read());
  if (!time.is_valid()) return fail(Errno::kInval);
  return time.duration();
}

}  // namespace aril::linux_abi
