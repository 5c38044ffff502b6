#pragma once
#include <cstdint>

#include "kernel/io/file.hpp"
#include "kernel/sched/timer.hpp"

namespace aril::linux_abi {

/// What a timerfd counts, without clock or lock: time is an argument.
class TimerState {
 public:
  /// `interval` zero: once. `next` never(): disarmed.
  void set(Instant next, Duration interval);
  /// Expirations up to `now` that were not taken yet, taken; a periodic timer moves on past `now`.
  uint64_t take(Instant now);
  [[nodiscard]] bool has_expired(Instant now) const { return now >= next_; }
  [[nodiscard]] Instant next() const { return next_; }
  [[nodiscard]] Duration interval() const { return interval_; }
  /// Until the next expiration after `now`; zero when disarmed.
  [[nodiscard]] Duration remaining(Instant now) const;

 private:
  Instant next_ = Instant::never();
  Duration interval_;
};

/// A timer that is read [timerfd_create(2)]. Deadlines on the realtime clock are converted with its
/// offset when they are set, and again when the clock is set (clock_was_set).
class TimerFd : public File {
 public:
  enum class Clock : uint8_t { kMonotonic, kRealtime };
  TimerFd(OpenFlags flags, Clock clock);
  ~TimerFd() override;

  struct Setting {
    Duration value;  ///< relative, or on the clock when `absolute`; zero disarms
    Duration interval;
    bool absolute = false;
    bool cancel_on_set = false;  ///< read fails with kCanceled once the clock was set
  };
  /// Returns the setting before, `value` relative.
  Setting set(const Setting& setting);
  [[nodiscard]] Setting get();
  /// For all of them: the realtime clock jumped. Thread context.
  static void clock_was_set();

  Result<size_t> read(IoBuffer& buffer) override;
  PollEvents poll(PollRegistrar* registrar) override;
  [[nodiscard]] bool is_pollable() const override { return true; }
  Result<FileStatus> status() override {
    return FileStatus{.device = 14, .inode = 1, .mode = 0600};
  }
  [[nodiscard]] std::string description() const override { return "anon_inode:[timerfd]"; }

 private:
  static void expired(void* self);
  void arm_locked();
  void clock_set();
  Setting get_locked(Instant now);

  const Clock clock_;
  SpinLock lock_{LockRank::kTimerQueue};
  TimerState state_;
  Duration realtime_deadline_;  // absolute on the realtime clock
  bool follows_realtime_ = false;
  bool cancel_on_set_ = false;
  bool canceled_ = false;
  Timer timer_;
  WaitQueue queue_;
  ListNode node_;
  friend struct TimerFdList;
};

}  // namespace aril::linux_abi
