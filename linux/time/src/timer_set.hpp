#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernel/sched/mutex.hpp"
#include "kernel/sched/timer.hpp"
#include "linux/abi/time.hpp"
#include "linux/process/process.hpp"
#include "linux/signal/signal.hpp"

namespace aril::linux_abi {

/// A timer that sends a signal when a clock of its process reaches a value, once or at intervals.
/// CPU-time clocks are watched by arming for the earliest moment at which they can get there.
/// set() and the destructor are serialised by the owner; expiry runs in interrupt context.
class SignalTimer {
 public:
  enum class Clock : uint8_t { kMonotonic, kRealtime, kProcessCpu, kProcessUser, kThreadCpu };
  struct Setting {
    Duration remaining;  ///< 0: disarmed
    Duration interval;
  };

  /// `target` null: the process gets the signal. `notifies` false: it only expires (SIGEV_NONE).
  SignalTimer(Process& process, RefPtr<Task> target, Clock clock, const SignalInfo& info,
              bool notifies);
  ~SignalTimer();
  SignalTimer(const SignalTimer&) = delete;
  SignalTimer& operator=(const SignalTimer&) = delete;

  /// Replaces the setting; `absolute` is a value of the clock. The old one.
  enum class Start : uint8_t { kRelative, kAbsolute };
  Setting set(Duration value, Duration interval, Start start);
  [[nodiscard]] Setting get() const;
  /// From now on it does not expire before `first` has, and then `grace` of the clock later: when
  /// the host holds the machine up, both are due at once. Null: by itself. `first` is to live as
  /// long.
  void follow(const SignalTimer* first, Duration grace);
  /// Expiries that were folded into the last signal.
  [[nodiscard]] int overrun() const;

 private:
  static constexpr int64_t kNotYet = -1;
  static void on_timer(void* argument);
  void expire();
  [[nodiscard]] Duration clock_value() const;
  [[nodiscard]] Setting get_locked() const;
  [[nodiscard]] bool is_still_pending();
  Duration pause_locked(bool pending);

  Process& process_;
  RefPtr<Task> target_;
  const Clock clock_;
  const bool notifies_;
  QueuedSignal signal_;
  mutable SpinLock lock_{LockRank::kTimerSetting};
  bool armed_ = false;
  Duration expiry_;  // a value of the clock
  Duration interval_;
  const SignalTimer* first_ = nullptr;
  Duration grace_;
  std::atomic<int64_t> expired_at_{kNotYet};  // for the first time: a value of the clock
  Duration pause_;                            // see pause_locked
  Timer timer_;
};

/// The interval timers and POSIX timers of one process.
class TimerSet final : public ProcessTimers {
 public:
  /// Makes it at first use. kNoMem.
  static Result<TimerSet*> of(Process& process);

  Mutex& mutex() { return mutex_; }
  void forget_posix_timers() override {
    LockGuard guard(mutex_);
    timers_.clear();
  }
  /// ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF; made at first use.
  Result<SignalTimer*> interval_timer(Process& process, int which);
  /// RLIMIT_CPU: SIGXCPU at `soft` and each second from there on, SIGKILL at `hard`; infinite:
  /// none.
  Result<void> set_cpu_limit(Process& process, Duration soft, Duration hard);
  Result<int> create_locked(Process& process, RefPtr<Task> target, SignalTimer::Clock clock,
                            SignalInfo info, bool notifies, bool value_is_id);
  /// kInval when there is no such timer.
  Result<SignalTimer*> find_locked(int id);
  Result<void> remove_locked(int id);

 private:
  static constexpr size_t kTimerLimit = 4096;
  Mutex mutex_{LockRank::kMutexLeaf};
  std::array<std::unique_ptr<SignalTimer>, 3> interval_timers_;
  std::unique_ptr<SignalTimer> soft_cpu_limit_, hard_cpu_limit_;
  std::vector<std::unique_ptr<SignalTimer>> timers_;
};

}  // namespace aril::linux_abi
