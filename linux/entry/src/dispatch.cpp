#include "linux/entry/dispatch.hpp"

#include <algorithm>
#include <array>
#include <bitset>
#include <cstring>

#include "arch/syscall_entry.hpp"
#include "arch/upcalls.hpp"
#include "kernel/log/log.hpp"
#include "kernel/sched/scheduler.hpp"
#include "linux/abi/names.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/patch/patcher.hpp"
#include "linux/signal/signal.hpp"

namespace aril::linux_abi {
namespace {

// The bounds that the linker gives to the section that ARIL_SYSCALL fills.
extern "C" const SyscallRecord __start_aril_syscalls[], __stop_aril_syscalls[];

constexpr int64_t kNoSystemCall = -static_cast<int64_t>(Errno::kNoSys);
constexpr int64_t kRestartResult = -static_cast<int64_t>(Errno::kRestart);
constexpr uint64_t kRtSigreturn = 15;

/// Where the gate's calls go. A handler that takes the registers is behind
/// arch::aril_call_with_registers, and found by its record.
constinit std::array<SyscallFunction, kSystemCallLimit> functions{};
constinit std::array<const SyscallRecord*, kSystemCallLimit> records{};
constinit std::array<std::atomic<bool>, kSystemCallLimit> reported{};

// What `aril build` left out: the image's linker script writes these tables (docs/images.md).
struct LeftOutCall {
  uint16_t number;
  uint16_t component;  ///< which of the names
};
extern "C" const LeftOutCall aril_left_out_calls[], aril_left_out_calls_end[];
extern "C" const char aril_left_out_names[];

/// The component that serves the call and is not in this image, or null.
const char* left_out_component(uint64_t number) {
  for (const LeftOutCall* call = aril_left_out_calls; call != aril_left_out_calls_end; ++call) {
    if (call->number != number) continue;
    const char* name = aril_left_out_names;
    for (uint16_t i = 0; i < call->component; ++i) name += std::strlen(name) + 1;
    return name;
  }
  return nullptr;
}

int64_t missing_call(arch::TrapFrame& frame);

void fill_functions() {
  functions.fill(missing_call);
  for (const SyscallRecord* record = __start_aril_syscalls; record != __stop_aril_syscalls;
       ++record) {
    functions[record->number] =
        record->takes_registers ? arch::aril_call_with_registers : record->function;
  }
}

int64_t missing_call(arch::TrapFrame& frame) {
  uint64_t number = frame.system_call_number();
  if (number < kSystemCallLimit && !reported[number].exchange(true)) {
    // The table of names is not in small images.
    const char* name = system_call_name != nullptr ? system_call_name(number) : nullptr;
    if (name == nullptr) name = "?";
    if (const char* component = left_out_component(number)) {
      // Whoever runs the image must see it, not just who reads the kernel's log.
      write_record("report system call %s (%lu) is not in this image: build it with --component %s",
                   name, static_cast<unsigned long>(number), component);
    } else {
      ARIL_LOG_WARNING("linux", "system call %s (%lu) is not implemented", name,
                       static_cast<unsigned long>(number));
    }
  }
  return kNoSystemCall;
}

constinit SystemCallTracer tracer = nullptr;

int64_t call_untimed(Task& task, arch::TrapFrame& frame) {
  int64_t result = 0;
  if (task.filter && !task.filter->judge(frame, result)) return result;
  uint64_t number = frame.system_call_number();
  const SyscallRecord* record = number < kSystemCallLimit ? records[number] : nullptr;
  SyscallFunction function = record != nullptr ? record->function : missing_call;
  return tracer != nullptr ? tracer(function, number, record, frame) : function(frame);
}

// Tells time in the kernel from time in the application at little cost: calls that take long are
// all measured, of the others a sample, which stands for them. Its distance varies, so that it does
// not fall on the same call of a loop each time.
int64_t call_measured(Task& task, arch::TrapFrame& frame) {
  constexpr int64_t kLong = 50'000;
  constexpr uint32_t kMaxPeriod = 64, kVariation = 16;
  Task::SystemTime& time = task.system_time;
  Duration before = task.thread().cpu_time();
  int64_t result = call_untimed(task, frame);
  int64_t spent = (task.thread().cpu_time() - before).ns;
  time.ns.fetch_add(spent * time.period, std::memory_order_relaxed);
  Scheduler::note_system_time({spent * time.period});
  auto variation = static_cast<uint32_t>(before.ns) % kVariation;
  time.period = spent > kLong ? 1 : std::min(time.period * 2, kMaxPeriod - variation);
  time.countdown = time.period;
  return result;
}

/// With a whole frame.
int64_t call(Task& task, arch::TrapFrame& frame) {
  return task.system_time.countdown == 0 ? call_measured(task, frame) : call_untimed(task, frame);
}

/// Signals, restarts and restartable sequences: whatever is to be done between the call's end and
/// the application.
void do_return_work(Task& task, arch::TrapFrame& frame) {
  for (;;) {
    auto result = static_cast<int64_t>(frame.rax);
    if (!task.has_interruption() && result != kRestartResult && !task.saved_blocked) break;
    // sigreturn's result is the interrupted code's own RAX.
    bool may_restart = frame.system_call_number() != kRtSigreturn;
    AfterSignals after =
        deliver_signals(frame, may_restart ? SystemCallReturn::kYes : SystemCallReturn::kNo);
    if (after == AfterSignals::kContinue) break;
    frame.rax = frame.system_call_number();
    frame.set_return_value(call(task, frame));
  }
  if (!task.is_sequence_stale()) return;
  settle_restartable_sequence(task, frame);
  if (task.has_interruption()) deliver_signals(frame, SystemCallReturn::kNo);
}

}  // namespace

void set_system_call_tracer(SystemCallTracer function) {
  tracer = function;
  if (tracer != nullptr) {
    functions.fill(arch::aril_call_with_registers);
  } else {
    fill_functions();
  }
}

void initialize_system_calls() {
  for (const SyscallRecord* record = __start_aril_syscalls; record != __stop_aril_syscalls;
       ++record) {
    ARIL_ASSERT(record->number < kSystemCallLimit && records[record->number] == nullptr);
    records[record->number] = record;
  }
  fill_functions();
}

int64_t call_system_call(uint32_t number, std::span<const uint64_t> arguments) {
  ARIL_ASSERT(number < kSystemCallLimit && arguments.size() <= 6);
  arch::TrapFrame frame{};
  uint64_t* const registers[] = {&frame.rdi, &frame.rsi, &frame.rdx,
                                 &frame.r10, &frame.r8,  &frame.r9};
  for (size_t i = 0; i < arguments.size(); ++i) *registers[i] = arguments[i];
  frame.rax = frame.error_code = number;
  return records[number] != nullptr ? records[number]->function(frame) : missing_call(frame);
}

}  // namespace aril::linux_abi

namespace aril::arch {

using namespace linux_abi;

// The path of every system call: beside its gate, with nothing to come back to.
extern "C" [[gnu::section(".text.system_call")]] int64_t aril_on_system_call(TrapFrame& frame) {
  Task& task = *current_task_or_null();
  task.never_restart = false;
  task.restart_deadline.reset();
  uint64_t number = frame.system_call_number();
  bool is_measured = --task.system_time.countdown == 0;
  if (is_measured || task.filter || number >= kSystemCallLimit) [[unlikely]]
    [[clang::musttail]] return aril_call_with_registers(frame);
  [[clang::musttail]] return functions[number](frame);
}

extern "C" int64_t aril_on_trapped_system_call(TrapFrame& frame) {
  if (consider_call_site != nullptr) consider_call_site(frame);
  [[clang::musttail]] return aril_on_system_call(frame);
}

extern "C" void aril_on_system_call_with_registers(TrapFrame& frame) {
  Task& task = current_task();
  frame.set_return_value(call(task, frame));
  do_return_work(task, frame);
}

extern "C" void aril_on_system_call_return(TrapFrame& frame) {
  Scheduler::reschedule_if_needed();
  do_return_work(current_task(), frame);
}

extern "C" void aril_before_return_to_application(TrapFrame& frame) {
  Scheduler::reschedule_if_needed();
  Task& task = current_task();
  if (task.is_sequence_stale()) settle_restartable_sequence(task, frame);
  if (!task.has_interruption()) return;
  // A handler, and the frame that it is shown, know nothing of stubs.
  if (unpatched_address != nullptr) frame.rip = unpatched_address(frame.rip);
  deliver_signals(frame, SystemCallReturn::kNo);
}

}  // namespace aril::arch
