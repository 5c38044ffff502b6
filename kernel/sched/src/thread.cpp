#include "kernel/sched/thread.hpp"

#include <algorithm>
#include <cstring>

#include "kernel/memory/heap.hpp"
#include "kernel/sched/scheduler.hpp"

namespace aril {

Thread::Thread() {
  wake_timer_.set_callback(
      [](void* argument) { static_cast<Thread*>(argument)->wake(WakeReason::kTimedOut); }, this);
}

Result<RefPtr<Thread>> Thread::create(std::string_view name, Kind kind, void (*entry)(void*),
                                      void* argument) {
  Scheduler::free_dead_threads();
  auto thread = adopt_ref(new (std::nothrow) Thread);
  if (!thread) return fail(Errno::kNoMem);
  thread->stack_ = heap::allocate_guarded_stack(kStackSize);
  if (thread->stack_ == nullptr) return fail(Errno::kNoMem);
  if (kind == Kind::kApplication) {
    thread->fpu_area_ =
        static_cast<std::byte*>(heap::allocate(arch::fpu_state_size(), arch::kFpuStateAlignment));
    if (thread->fpu_area_ == nullptr) return fail(Errno::kNoMem);
    arch::fpu_initialize(thread->fpu_area_);
  }
  thread->stack_bottom_ = reinterpret_cast<uint64_t>(thread->stack_);
  thread->stack_top_ = thread->stack_bottom_ + kStackSize;
  thread->kind_ = kind;
  thread->entry_ = entry;
  thread->argument_ = argument;
  thread->set_name(name);
  // The top of the stack is where entry from the application builds its frame.
  std::span stack(thread->stack_, kStackSize - sizeof(arch::TrapFrame) - 8);
  arch::initialize_context(thread->context_, stack, &Scheduler::thread_start, thread.get());
  return thread;
}

Thread::~Thread() {
  ARIL_ASSERT(state_ == State::kNew || state_ == State::kDead);
  if (stack_ != nullptr) heap::free_guarded_stack(stack_, kStackSize);
  if (fpu_area_ != nullptr) heap::free(fpu_area_);
}

void Thread::set_name(std::string_view name) {
  size_t length = std::min(name.size(), sizeof(name_) - 1);
  std::memcpy(name_, name.data(), length);
  std::memset(name_ + length, 0, sizeof(name_) - length);
}

void Thread::start() {
  add_ref();  // the scheduler's, until the thread is dead and switched away from
  {
    LockGuard guard(lock_);
    ARIL_ASSERT(state_ == State::kNew);
    state_ = State::kRunnable;
    cpu_.store(arch::cpu_index(), std::memory_order_relaxed);
  }
  Scheduler::make_runnable(*this, Scheduler::Arrival::kNew);
}

void Thread::exit() {
  Thread& self = current();
  arch::disable_interrupts();
  {
    LockGuard guard(self.lock_);
    self.state_ = State::kDead;
  }
  Scheduler::switch_away(self);
  __builtin_unreachable();
}

void Thread::yield() { Scheduler::yield(); }

Result<void> Thread::sleep_until(Instant deadline, Interruptible interruptible) {
  for (;;) {
    if (now() >= deadline) return {};
    ThreadWaiter::prepare();
    WakeReason reason = ThreadWaiter::block(deadline, interruptible);
    if (reason == WakeReason::kInterrupted) return fail(Errno::kRestart);
  }
}

bool Thread::wake(WakeReason reason) {
  {
    LockGuard guard(lock_);
    if (state_ != State::kBlocked) {
      if (!preparing_ || reason == WakeReason::kInterrupted) return false;
      // A timeout must not hide a real wake-up that came first.
      if (!wake_pending_) wake_reason_ = reason;
      bool first = !wake_pending_;
      wake_pending_ = true;
      return first;
    }
    if (reason == WakeReason::kInterrupted && !interruptible_) return false;
    state_ = State::kRunnable;
    wake_reason_ = reason;
  }
  Scheduler::make_runnable(*this);
  return true;
}

void Thread::interrupt() {
  if (wake(WakeReason::kInterrupted)) return;
  // Running or about to run: it must look at its owner before it returns to the application.
  if (on_cpu_.load(std::memory_order_acquire)) {
    unsigned cpu = last_cpu();
    __atomic_store_n(&arch::cpu_block(cpu).reschedule_needed, 1, __ATOMIC_RELEASE);
    if (cpu != arch::cpu_index()) arch::send_reschedule(cpu);
  }
}

Result<void> Thread::set_affinity(CpuMask mask) {
  CpuMask present = arch::cpu_count() >= 64 ? ~CpuMask{0} : (CpuMask{1} << arch::cpu_count()) - 1;
  if ((mask & present) == 0) return fail(Errno::kInval);
  affinity_ = mask;
  if (this == &current() && (mask & (CpuMask{1} << arch::cpu_index())) == 0) yield();
  return {};
}

void Thread::set_nice(int nice) { nice_ = std::clamp(nice, -20, 19); }

Duration Thread::cpu_time() const {
  Duration used = cpu_time_;
  if (on_cpu_.load(std::memory_order_relaxed)) used = used + (now() - run_since_);
  return used;
}

void Thread::save_fpu() {
  arch::InterruptGuard guard;
  arch::fpu_save(fpu_area_);
}

void Thread::reload_fpu() {
  arch::InterruptGuard guard;
  arch::fpu_restore(fpu_area_);
}

}  // namespace aril
