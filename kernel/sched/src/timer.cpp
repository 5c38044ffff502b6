#include "kernel/sched/timer.hpp"

#include "arch/cpu.hpp"
#include "arch/upcalls.hpp"
#include "kernel/sync/spin_lock.hpp"

namespace aril {

/// One CPU's armed timers. Each timer fires on the CPU that armed it.
class TimerQueue {
 public:
  void arm(Timer& timer, Instant deadline, uint32_t cpu) {
    LockGuard guard(lock_);
    timer.cpu_.store(cpu, std::memory_order_relaxed);
    timer.deadline_ = deadline;
    heap_.insert(timer);
    // Inside fire() the hardware is set once, at its end.
    if (heap_.top() == &timer && running_ == nullptr) arch::set_timer(deadline);
  }

  /// False when the timer has moved to another queue meanwhile.
  bool remove(Timer& timer, uint32_t cpu, bool wait_for_callback) {
    for (;;) {
      {
        LockGuard guard(lock_);
        if (timer.cpu_.load(std::memory_order_relaxed) != cpu) return false;
        if (timer.node_.linked) heap_.remove(timer);
        timer.deadline_ = Instant::never();
        if (running_ != &timer || !wait_for_callback) return true;
      }
      arch::relax();
    }
  }

  void fire() {
    lock_.lock();
    for (Timer* timer = heap_.top(); timer != nullptr && timer->deadline_ <= now();
         timer = heap_.top()) {
      heap_.pop();
      running_ = timer;
      lock_.unlock();
      timer->callback_(timer->argument_);
      lock_.lock();
      running_ = nullptr;
    }
    arch::set_timer(heap_.empty() ? Instant::never() : heap_.top()->deadline_);
    lock_.unlock();
  }

 private:
  struct Earlier {
    bool operator()(const Timer& a, const Timer& b) const { return a.deadline_ < b.deadline_; }
  };
  SpinLock lock_{LockRank::kTimerQueue};
  PairingHeap<Timer, &Timer::node_, Earlier> heap_;
  Timer* running_ = nullptr;
};

namespace {
constinit TimerQueue queues[arch::kMaxCpus];
}

void Timer::arm(Instant deadline) {
  arch::InterruptGuard guard;
  uint32_t here = arch::cpu_index();
  uint32_t cpu = cpu_.load(std::memory_order_relaxed);
  // A timer may re-arm itself from its callback, so this must not wait for the callback.
  if (cpu != kNoCpu) queues[cpu].remove(*this, cpu, false);
  if (deadline == Instant::never()) return;
  queues[here].arm(*this, deadline, here);
}

void Timer::cancel() {
  for (;;) {
    uint32_t cpu = cpu_.load(std::memory_order_relaxed);
    if (cpu == kNoCpu) return;
    // On the CPU that runs the callback, the caller is that callback (it runs with interrupts off).
    bool elsewhere = cpu != arch::cpu_index();
    if (queues[cpu].remove(*this, cpu, elsewhere)) return;
  }
}

void arch::aril_on_timer_interrupt() { queues[arch::cpu_index()].fire(); }

}  // namespace aril
