#pragma once
#include "kernel/sched/thread.hpp"

namespace aril {

/// Per-CPU run queues, fair by weighted virtual run time, with work stealing by idle CPUs.
class Scheduler {
 public:
  /// Boot CPU, once: makes the running boot code a kernel thread named "boot". From here
  /// Thread::current(), mutexes and wait queues work.
  static void start_boot_cpu();
  /// A further CPU, on its boot stack, interrupts disabled: becomes that CPU's idle thread.
  [[noreturn]] static void run_secondary_cpu();
  /// Ends the boot thread's role as start-up code: it becomes CPU 0's idle thread.
  [[noreturn]] static void become_idle();

  /// Gives the CPU to the next runnable thread if reschedule_needed is set. Called on the way back
  /// to application code, thread context.
  static void reschedule_if_needed();

  /// A hook that the idle loop calls before halting, interrupts enabled (device polling); returns
  /// true when it found work.
  using IdleHook = bool (*)();
  static void set_idle_hook(IdleHook hook);

  /// Threads runnable or running now, and the number of switches since boot (for /proc).
  static unsigned runnable_count();
  static uint64_t context_switches();
  static Duration idle_time(unsigned cpu);

 private:
  friend class Thread;
  friend class ThreadWaiter;
  struct RunQueue;
  static RunQueue& queue_of(unsigned cpu);
  static void make_runnable(Thread& thread);
  static bool wake(Thread& thread, WakeReason reason);
  static void switch_away(Thread& from);
  static void finish_switch();
};

}  // namespace aril
