#pragma once
#include <atomic>
#include <cstdint>
#include <string_view>

#include "arch/context.hpp"
#include "arch/cpu.hpp"
#include "base/intrusive_list.hpp"
#include "base/pairing_heap.hpp"
#include "base/ref_ptr.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "kernel/sched/timer.hpp"
#include "kernel/sched/wait_queue.hpp"

namespace aril {

class Thread;

/// What the layer above attaches to a thread (linux/: its Task). All hooks may be left alone by
/// kernel threads, which have no owner.
class ThreadOwner {
 public:
  virtual ~ThreadOwner() = default;
  /// The scheduler is about to run this thread after another owner's: activate its address space.
  /// Interrupts disabled.
  virtual void on_switch_in() = 0;
  /// A signal or other request waits that must end an interruptible sleep. Any context, lock-free.
  [[nodiscard]] virtual bool has_interruption() const = 0;
};

/// A set of CPUs by index.
using CpuMask = uint64_t;
static_assert(arch::kMaxCpus <= 64);

/// A schedulable activity with a kernel stack of its own: a kernel thread, or the kernel side of an
/// application thread.
///
/// Life cycle: create (not running) -> start -> running/runnable/blocked -> exit. The scheduler
/// holds a reference from start until after the last switch away, so that a thread may drop its
/// own last outside reference. The kernel is not preempted: a thread leaves the CPU only by
/// blocking, yield(), or on its way back to application code.
class Thread final : public RefCounted {
 public:
  static constexpr size_t kStackSize = 32 * 1024;

  enum class Kind : uint8_t {
    kKernel,       ///< never runs application code: no FPU state is kept
    kApplication,  ///< FPU state and thread pointer are switched
  };

  /// kNoMem. `name` is copied, cut to 15 characters.
  static Result<RefPtr<Thread>> create(std::string_view name, Kind kind, void (*entry)(void*),
                                       void* argument);
  ~Thread();

  /// Makes it runnable. Once.
  void start();
  /// Ends the calling thread.
  [[noreturn]] static void exit();

  static Thread& current() { return *arch::current_thread(); }

  /// Lets other runnable threads go first.
  static void yield();
  /// Blocks until `deadline`. kRestart when interrupted by a signal.
  static Result<void> sleep_until(Instant deadline, Interruptible interruptible);

  /// Ends this thread's sleep, or marks a wake-up as pending when it is about to sleep. False when
  /// it did neither. For wait queues; any context.
  bool wake(WakeReason reason);

  /// Ends this thread's interruptible sleep if it is in one (its owner's has_interruption() is
  /// true by now), and makes it pass aril_before_return_to_application soon when it runs on another
  /// CPU. Any context.
  void interrupt();

  [[nodiscard]] ThreadOwner* owner() const { return owner_; }
  /// Before start().
  void set_owner(ThreadOwner* owner) { owner_ = owner; }

  [[nodiscard]] std::string_view name() const { return name_; }
  void set_name(std::string_view name);

  /// -20 (most favoured) .. 19, Linux's nice.
  void set_nice(int nice);
  [[nodiscard]] int nice() const { return nice_; }
  /// kInval when no CPU of the machine is in it.
  Result<void> set_affinity(CpuMask mask);
  [[nodiscard]] CpuMask affinity() const { return affinity_; }

  /// CPU time used so far, as the scheduler accounts it.
  [[nodiscard]] Duration cpu_time() const;
  [[nodiscard]] uint64_t voluntary_switches() const { return voluntary_switches_; }
  [[nodiscard]] uint64_t involuntary_switches() const { return involuntary_switches_; }
  [[nodiscard]] unsigned last_cpu() const { return cpu_.load(std::memory_order_relaxed); }

  /// Where the application's SIMD state is saved while this thread does not run. For the running
  /// thread, save_fpu() first: the registers hold the live state.
  [[nodiscard]] std::byte* fpu_area() { return fpu_area_; }
  void save_fpu();
  void reload_fpu();

 private:
  friend class Scheduler;
  friend class ThreadWaiter;
  friend class Mutex;
  Thread();

  enum class State : uint8_t { kNew, kRunnable, kRunning, kBlocked, kDead };

  struct RunsBefore {
    // Signed difference: virtual run times wrap.
    bool operator()(const Thread& a, const Thread& b) const {
      return static_cast<int64_t>(a.virtual_runtime_ - b.virtual_runtime_) < 0;
    }
  };

  arch::Context context_;
  std::byte* stack_ = nullptr;  ///< owned; null for the boot stacks
  uint64_t stack_bottom_ = 0, stack_top_ = 0;
  std::byte* fpu_area_ = nullptr;
  uint64_t thread_pointer_ = 0;
  ThreadOwner* owner_ = nullptr;
  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;

  /// Guards the state below it up to the blank line.
  SpinLock lock_{LockRank::kThread};
  State state_ = State::kNew;
  bool preparing_ = false;     ///< between prepare() and block()
  bool wake_pending_ = false;  ///< a wake-up came in between
  bool interruptible_ = false;
  WakeReason wake_reason_ = WakeReason::kWoken;

  /// From the moment a CPU switches to it until that CPU has saved it again: another CPU must not
  /// run it in between.
  std::atomic<bool> on_cpu_{false};
  Kind kind_ = Kind::kKernel;
  int nice_ = 0;
  std::atomic<unsigned> cpu_{0};
  CpuMask affinity_ = ~CpuMask{0};
  /// Mutexes that it holds, by rank.
  uint64_t held_ranks_ = 0;
  Duration cpu_time_;
  Instant run_since_;
  uint64_t virtual_runtime_ = 0;
  uint64_t voluntary_switches_ = 0;
  uint64_t involuntary_switches_ = 0;
  PairingHeapNode<Thread> run_node_;
  ListNode dead_node_;
  Timer wake_timer_;
  char name_[16] = {};
};

}  // namespace aril
