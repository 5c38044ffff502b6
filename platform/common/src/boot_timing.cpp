#include "platform/common/boot_timing.hpp"

#include <array>
#include <atomic>

#include "arch/cpu.hpp"
#include "arch/timer.hpp"
#include "kernel/log/log.hpp"
#include "kernel/sched/thread.hpp"
#include "platform/common/boot_part.hpp"

namespace aril::platform {
namespace {

/// In cycles, as the first steps come before the clock.
struct Step {
  const char* name;
  uint64_t cycles;
};
constinit std::array<Step, 48> steps{};
constinit size_t step_count = 0;
constinit Instant clock_start{};
constinit std::atomic<bool> is_shown{false};

/// Since the machine's first instruction in the kernel, where the clock began. The scale may
/// have been corrected since: steps lie on both sides of its base.
uint64_t microseconds(uint64_t cycles, const arch::CycleScale& scale) {
  constexpr int64_t kPerMicrosecond = 1000;
  auto elapsed = static_cast<int64_t>(cycles - scale.base_cycles);
  auto scaled =
      static_cast<int64_t>(static_cast<__int128>(elapsed) * scale.multiplier >> scale.shift);
  return static_cast<uint64_t>((scaled + scale.base_ns - clock_start.ns) / kPerMicrosecond);
}

void show() {
  if (is_shown.exchange(true)) return;
  arch::CycleScale scale = arch::cycle_scale();
  for (const Step& step : std::span(steps).first(step_count))
    write_record("boot %llu %s", static_cast<unsigned long long>(microseconds(step.cycles, scale)),
                 step.name);
}

/// The program's output, which notes the first write. As long as the machine.
class ObservedOutput final : public CharDevice {
 public:
  explicit ObservedOutput(CharDevice& device) : device_(device) {}

  Result<void> write(std::span<const std::byte> bytes) override {
    Result<void> result = device_.write(bytes);
    if (!seen_.exchange(true)) {
      note_boot_step("first output");
      show();
    }
    return result;
  }
  size_t read_available(std::span<std::byte> bytes) override {
    return device_.read_available(bytes);
  }
  void set_receive_callback(void (*callback)(void*), void* context) override {
    device_.set_receive_callback(callback, context);
  }

 private:
  CharDevice& device_;
  std::atomic<bool> seen_{false};
};

void observe_output(Boot& boot) {
  Machine& machine = boot.machine;
  if (!machine.options.boot_timing || machine.output == nullptr) return;
  CharDevice* plain = machine.output;
  machine.output = new ObservedOutput(*plain);
  if (machine.input == plain) machine.input = machine.output;
}
ARIL_MACHINE_PART(295, observe, observe_output);

/// Of a program that writes nothing the steps are shown all the same, once it has had its time.
void show_later(Boot& boot) {
  if (!boot.machine.options.boot_timing) return;
  constexpr Duration kPatience = Duration::milliseconds(1000);
  static_cast<void>(Thread::sleep_until(now() + kPatience, Interruptible::kNo));
  show();
}
ARIL_MACHINE_PART(990, timing, show_later);

}  // namespace

void note_boot_step(const char* name) {
  if (step_count < steps.size()) steps[step_count++] = {name, arch::cycles()};
}

void restart_boot_steps(Instant start) {
  step_count = 0;
  clock_start = start;
}

}  // namespace aril::platform
