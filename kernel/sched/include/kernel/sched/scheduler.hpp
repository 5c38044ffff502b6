#pragma once
#include "kernel/sched/thread.hpp"

namespace aril {

/// Per-CPU run queues, fair by weighted virtual run time; an idle CPU steals from the others.
/// Tickless: a CPU's timer runs for time slices only while more than one thread wants the CPU.
class Scheduler {
 public:
  /// Boot CPU, once, when the heap works and CpuBlock names the boot stack: makes the running boot
  /// code a kernel thread named "boot". From here Thread::current(), mutexes and wait queues work.
  static void start_boot_cpu();
  /// A further CPU, on its boot stack, interrupts disabled: becomes that CPU's idle thread. All
  /// CPUs are started before the first application thread.
  [[noreturn]] static void run_secondary_cpu();
  /// Ends the boot thread.
  [[noreturn]] static void finish_boot();

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
  /// Threads that wait for the calling CPU, as far as it knows. Any thread.
  static unsigned waiting_here();
  static Duration idle_time(unsigned cpu);
  /// Time that the CPU has spent in the kernel: its kernel threads', but for idling, and what
  /// note_system_time() was told.
  static Duration system_time(unsigned cpu);
  /// Saves what an application thread left in the FPU's registers. Boot thread, one CPU, interrupts
  /// disabled.
  static void park_fpu_state();
  /// The running application thread has been in the kernel for so long. Any context.
  static void note_system_time(Duration time);

 private:
  friend class Thread;
  friend class ThreadWaiter;
  struct RunQueue;

  static RunQueue& queue_of(unsigned cpu);
  static RunQueue& queue_here();
  /// A thread that slept goes before those that ran meanwhile; a new one does not, or a program
  /// that makes threads without end would be the only one to run.
  enum class Arrival : uint8_t { kWoken, kNew };
  static void make_runnable(Thread& thread, Arrival arrival = Arrival::kWoken);
  static unsigned choose_cpu(const Thread& thread);
  static Thread* steal(RunQueue& thief);
  static Thread& pick_next(RunQueue& queue);
  static void account(Thread& thread, Instant now);
  static void start_slice(RunQueue& queue, Instant now);
  /// Runs another thread; returns when `from` runs again. Interrupts disabled. A thread that is to
  /// run again has been made runnable before.
  static void switch_away(Thread& from);
  static void set_running(Thread& thread);
  static void yield();
  static void finish_switch();
  static void adopt_running_flow(Thread& thread);
  static void free_dead_threads();
  [[noreturn]] static void idle_loop();
  static void thread_start(void* thread);
};

}  // namespace aril
