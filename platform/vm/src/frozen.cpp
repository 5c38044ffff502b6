#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <vector>

#include "arch/freeze.hpp"
#include "arch/upcalls.hpp"
#include "console.hpp"
#include "kernel/log/log.hpp"
#include "kernel/memory/page_allocator.hpp"
#include "kernel/random/random.hpp"
#include "kernel/sched/scheduler.hpp"
#include "kernel/sched/wait_queue.hpp"
#include "kernel/vm/user_copy.hpp"
#include "linux/entry/dispatch.hpp"
#include "linux/process/process.hpp"
#include "linux/process/task.hpp"
#include "linux/vdso/vdso.hpp"
#include "platform/common/boot_part.hpp"
#include "platform/common/boot_timing.hpp"
#include "predictable_calls.hpp"
#include "start_up.hpp"

// A frozen image (docs/frozen.md): `aril build` boots it once with the word "freeze". What any
// machine would do in the same way is done then, up to the program's first system call whose answer
// could differ; the memory as it is at that point is the image.
namespace aril::platform {
namespace {

constinit WaitQueue progress;
constinit std::atomic<bool> program_waits{false};
constinit std::atomic<bool> program_may_go_on{false};
constinit bool is_warm = false;
/// The program has been told that there is one.
constinit bool wants_one_cpu = false;

/// A value of the program's auxiliary vector [getauxval(3)], 0 when there is none.
uint64_t auxiliary_value(uint64_t type) {
  std::string_view vector = linux_abi::current_process().program->auxiliary_vector;
  uint64_t entry[2];
  for (; vector.size() >= sizeof entry; vector.remove_prefix(sizeof entry)) {
    std::memcpy(entry, vector.data(), sizeof entry);
    if (entry[0] == type) return entry[1];
  }
  return 0;
}

/// What a static program has its stack's canary from, at the latest after its first system call.
void renew_random_bytes() {
  constexpr uint64_t kAtRandom = 25;
  std::array<std::byte, 16> bytes;
  random::fill(bytes);
  static_cast<void>(copy_to_user(auxiliary_value(kAtRandom), bytes));
}

/// The machine is frozen here, on the program's own thread, and comes back thawed.
void hold_program() {
  linux_abi::set_system_call_tracer(nullptr);
  program_waits = true;
  progress.wake_all();
  static_cast<void>(progress.wait_until([] { return program_may_go_on.load(); }, Instant::never(),
                                        Interruptible::kNo));
  renew_random_bytes();
}

int64_t call_or_hold(linux_abi::SyscallFunction function, uint64_t number,
                     const linux_abi::SyscallRecord*, arch::TrapFrame& frame) {
  constexpr uint64_t kAtBase = 7;  // of the dynamic linker
  Predictable judgement = Predictable::kNo;
  if (is_warm) {
    judgement = judge_initialising(number, frame);
  } else if (auxiliary_value(kAtBase) != 0) {
    judgement = judge_linking(number, frame);
  }
  if (judgement == Predictable::kNoEntropy) return -static_cast<int64_t>(Errno::kAgain);
  if (judgement == Predictable::kOneCpu) wants_one_cpu = true;
  if (judgement == Predictable::kNo) hold_program();
  return function(frame);
}

/// One of the program's streams, whose device is found when the machine is thawed. Descriptors of
/// theirs have other numbers too (a log file that is a link to /dev/stderr): who writes is held.
class LateDevice final : public CharDevice {
 public:
  void bind(CharDevice* device) {
    device_ = device;
    if (device_ != nullptr && callback_ != nullptr)
      device_->set_receive_callback(callback_, context_);
  }
  Result<void> write(std::span<const std::byte> bytes) override {
    if (device_ == nullptr) hold_program();
    return device_->write(bytes);
  }
  size_t read_available(std::span<std::byte> bytes) override {
    return device_ != nullptr ? device_->read_available(bytes) : 0;
  }
  void set_receive_callback(void (*callback)(void*), void* context) override {
    callback_ = callback;
    context_ = context;
    if (device_ != nullptr) device_->set_receive_callback(callback, context);
  }

 private:
  CharDevice* device_ = nullptr;
  void (*callback_)(void*) = nullptr;
  void* context_ = nullptr;
};

[[clang::no_destroy]] constinit LateDevice input, output, error;

/// Of the words that decide what the program finds: those of the network, of devices and of this
/// start alone do not.
uint64_t hash_words(std::string_view command_line) {
  constexpr std::string_view kOfEachStart[] = {
      "net",         "loglevel",           "tsc_khz", "epoch_ns", "stdio", "winsize",
      "boot_timing", "virtio_mmio.device", "freeze"};
  constexpr uint64_t kFnvStart = 0xcbf2'9ce4'8422'2325, kFnvFactor = 0x100'0000'01b3;
  uint64_t hash = kFnvStart;
  for (std::string_view word = take_word(command_line); !word.empty();
       word = take_word(command_line)) {
    if (std::ranges::contains(kOfEachStart, word.substr(0, word.find('=')))) continue;
    for (char c : word) hash = (hash ^ static_cast<uint8_t>(c)) * kFnvFactor;
    hash = (hash ^ ' ') * kFnvFactor;
  }
  return hash;
}

/// What must be on the machine that is thawed as it was on the one that was frozen.
struct Fixed {
  std::vector<arch::MemoryRegion> memory;
  uint64_t words, cpu;
};

Fixed describe(const VirtualMachine& machine) {
  return {.memory = {machine.boot.memory.begin(), machine.boot.memory.end()},
          .words = hash_words(machine.boot.command_line),
          .cpu = arch::cpu_signature()};
}

/// Null, or what differs.
const char* find_difference(const Fixed& fixed, const VirtualMachine& machine) {
  auto same = [](const arch::MemoryRegion& a, const arch::MemoryRegion& b) {
    return a.start == b.start && a.end == b.end && a.kind == b.kind;
  };
  if (!std::ranges::equal(fixed.memory, machine.boot.memory, same)) return "memory";
  if (machine.boot.module_size != 0) return "boot module";
  if (hash_words(machine.boot.command_line) != fixed.words) return "command line";
  if (arch::cpu_signature() != fixed.cpu) return "CPU";
  if (wants_one_cpu && machine.firmware.interrupts.cpu_count > 1) return "number of CPUs";
  return nullptr;
}

/// The first half of the boot (kernel_main.cpp), as far as it depends on the machine.
void thaw(Boot& boot, PhysicalAddress boot_data, const Fixed& fixed, PhysicalAddress data,
          Instant stopped) {
  VirtualMachine& machine = virtual_machine();
  restart_boot_steps(stopped);
  start_console();
  arch::thaw_cpu();
  auto information = arch::read_boot_information(arch::BootProtocol::kPvh, boot_data);
  machine.firmware = {};
  if (information) read_firmware(machine.boot.rsdp, machine.firmware);
  const char* difference = information ? find_difference(fixed, machine) : "boot information";
  if (difference != nullptr) {
    write_record("cold another %s than when the image was frozen", difference);
    arch::start_cold(boot_data, data);
  }
  note_boot_step("thawed memory");
  machine.options = parse_kernel_options(machine.boot.command_line);
  boot.machine.command_line = machine.boot.command_line;
  set_console_level(machine.options.console_level);
  random::initialize();
  set_up_interrupts(machine.firmware);
  arch::initialize_clock({
      .tsc_khz = machine.options.tsc_khz,
      .epoch_ns = machine.options.epoch_ns,
      .acpi_timer_port = machine.firmware.acpi_timer_port,
      .has_cmos_clock = machine.firmware.has_cmos_clock,
      .start_ns = stopped.ns,
  });
  arch::aril_on_timer_interrupt();  // the hardware knows nothing of the timers
  note_boot_step("thawed machine");
}

void freeze_machine(Boot& boot) {
  static_cast<void>(progress.wait_until([] { return program_waits.load(); }, Instant::never(),
                                        Interruptible::kNo));
  while (Scheduler::waiting_here() != 0) Thread::yield();
  Fixed fixed = describe(virtual_machine());
  auto order = static_cast<unsigned>(std::bit_width((arch::cold_data_size() - 1) >> kPageShift));
  auto data = page_allocator::allocate_block(order, page_allocator::Fill::kZero);
  if (!data) panic("no memory to freeze: give the machine more (--memory)");
  write_record("frozen %llu %llu", static_cast<unsigned long long>(arch::thaw_entry()),
               static_cast<unsigned long long>(*data));
  arch::disable_interrupts();
  Scheduler::park_fpu_state();
  Instant stopped = now();
  PhysicalAddress boot_data = arch::freeze();
  thaw(boot, boot_data, fixed, *data, stopped);
  // show_devices finds them.
  boot.machine.input = boot.machine.output = boot.machine.error = nullptr;
  arch::enable_interrupts();
  if (linux_abi::update_vdso_clock != nullptr) linux_abi::update_vdso_clock();
}

void prepare(Boot& boot) {
  Machine& machine = boot.machine;
  if (machine.options.freeze == KernelOptions::Freeze::kNo) return;
  boot.freeze = &freeze_machine;
  is_warm = machine.options.freeze == KernelOptions::Freeze::kWarm;
  machine.input = &input;
  machine.output = &output;
  machine.error = &error;
}

void watch_program(Boot& boot) {
  if (boot.freeze != nullptr) linux_abi::set_system_call_tracer(&call_or_hold);
}

void let_program_go_on(Boot& boot) {
  if (boot.freeze == nullptr) return;
  Machine& machine = boot.machine;
  input.bind(machine.input);
  output.bind(machine.output);
  error.bind(machine.error != nullptr ? machine.error : machine.output);
  program_may_go_on = true;
  progress.wake_all();
  Thread::yield();  // what follows is not what anybody waits for
}

ARIL_BOOT_PART(050, freeze, prepare);
ARIL_BOOT_PART(600, watch, watch_program);
ARIL_MACHINE_PART(905, thaw, let_program_go_on);

}  // namespace
}  // namespace aril::platform
