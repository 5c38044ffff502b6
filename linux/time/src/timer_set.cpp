#include "timer_set.hpp"

#include <algorithm>

#include "base/unique.hpp"

namespace aril::linux_abi {

SignalTimer::SignalTimer(Process& process, RefPtr<Task> target, Clock clock, const SignalInfo& info,
                         bool notifies)
    : process_(process),
      target_(std::move(target)),
      clock_(clock),
      notifies_(notifies),
      timer_(&SignalTimer::on_timer, this) {
  signal_.info = info;
  signal_.owned_by_queue = false;
}

SignalTimer::~SignalTimer() {
  timer_.cancel();
  withdraw_queued_signal(process_, target_.get(), signal_);
}

Duration SignalTimer::clock_value() const {
  switch (clock_) {
    case Clock::kRealtime:
      return Duration{realtime_ns(now())};
    case Clock::kProcessCpu:
      return process_.cpu_time();
    case Clock::kProcessUser:
      return process_.cpu_times().user;
    case Clock::kThreadCpu:
      return target_ ? target_->thread().cpu_time() : process_.cpu_time();
    case Clock::kMonotonic:
      break;
  }
  return Duration{now().ns};
}

SignalTimer::Setting SignalTimer::get_locked() const {
  Setting setting{.remaining = {}, .interval = interval_};
  if (!armed_) return setting;
  Duration left = expiry_ - clock_value();
  // It is looked at later than its interval says.
  if (left.ns < 0 && interval_.ns > 0) left = Duration{left.ns % interval_.ns} + interval_;
  // An armed timer never shows 0, which would mean disarmed [timer_settime(2)].
  setting.remaining = std::max(left, Duration{1});
  return setting;
}

SignalTimer::Setting SignalTimer::get() const {
  LockGuard guard(lock_);
  return get_locked();
}

int SignalTimer::overrun() const {
  LockGuard guard(process_.signal_lock());
  return signal_.info.timer.overrun;
}

SignalTimer::Setting SignalTimer::set(Duration value, Duration interval, Start start) {
  timer_.cancel();
  Setting old;
  Duration delay;
  {
    LockGuard guard(lock_);
    old = get_locked();
    Duration current = clock_value();
    armed_ = value.ns > 0;
    expired_at_.store(kNotYet, std::memory_order_relaxed);
    interval_ = interval;
    expiry_ = start == Start::kAbsolute ? value : current + value;
    delay = std::max(expiry_ - current, Duration{0});
  }
  if (value.ns > 0) timer_.arm(now() + delay);
  return old;
}

void SignalTimer::follow(const SignalTimer* first, Duration grace) {
  LockGuard guard(lock_);
  first_ = first;
  grace_ = grace;
}

void SignalTimer::on_timer(void* argument) { static_cast<SignalTimer*>(argument)->expire(); }

/// The signal of an earlier expiry has not been taken.
bool SignalTimer::is_still_pending() {
  LockGuard guard(process_.signal_lock());
  int number = signal_.info.signal;
  const PendingSignals& pending = target_ ? target_->pending : process_.pending_locked();
  return signal_.node.is_linked() ||
         (number < kSignalRealTimeMin && pending.set().contains(number));
}

/// How long the timer may be silent at least. While its signal waits, expiries are only counted,
/// and the time tells their number: interrupts at the timer's own rate would leave nothing of the
/// CPU to the process that is to take the signal. [timer_getoverrun(2)]
Duration SignalTimer::pause_locked(bool pending) {
  constexpr Duration kFirst = Duration::microseconds(50), kLongest = Duration::milliseconds(10);
  pause_ = pending ? std::clamp(pause_ * 2, kFirst, kLongest) : Duration{};
  return notifies_ ? pause_ : kLongest;
}

void SignalTimer::expire() {
  Duration next = Duration::infinite();
  int64_t expiries = 0;
  bool pending = is_still_pending();
  {
    LockGuard guard(lock_);
    Duration current = clock_value();
    if (first_ != nullptr) {
      int64_t before = first_->expired_at_.load(std::memory_order_relaxed);
      expiry_ = std::max(expiry_, (before == kNotYet ? current : Duration{before}) + grace_);
    }
    if (current < expiry_) {
      next = expiry_ - current;  // a CPU-time clock, or a realtime clock that was set back
    } else {
      expiries = 1;
      int64_t first = kNotYet;
      expired_at_.compare_exchange_strong(first, current.ns, std::memory_order_relaxed);
      if (interval_.ns > 0) {
        int64_t missed = (current - expiry_).ns / interval_.ns;
        expiries += missed;
        expiry_ = expiry_ + interval_ * (missed + 1);
        next = std::max(expiry_ - current, pause_locked(pending));
      } else {
        armed_ = false;
      }
    }
  }
  if (next < Duration::infinite()) timer_.arm(now() + next);
  if (expiries == 0 || !notifies_) return;
  send_timer_signal(process_, target_.get(), signal_, expiries);
}

Result<TimerSet*> TimerSet::of(Process& process) {
  LockGuard guard(process.mutex());
  if (process.timers == nullptr) process.timers = ARIL_TRY(try_make_unique<TimerSet>());
  return static_cast<TimerSet*>(process.timers.get());
}

Result<SignalTimer*> TimerSet::interval_timer(Process& process, int which) {
  struct Kind {
    int signal;
    SignalTimer::Clock clock;
  };
  constexpr Kind kKinds[] = {{kSigAlrm, SignalTimer::Clock::kMonotonic},
                             {kSigVtalrm, SignalTimer::Clock::kProcessUser},
                             {kSigProf, SignalTimer::Clock::kProcessCpu}};
  if (which < 0 || which > 2) return fail(Errno::kInval);
  auto& timer = interval_timers_[size_t(which)];
  if (timer == nullptr) {
    const Kind& kind = kKinds[which];
    SignalInfo info{.signal = kind.signal, .code = kSiKernel};
    timer = ARIL_TRY(try_make_unique<SignalTimer>(process, RefPtr<Task>(), kind.clock, info, true));
  }
  return timer.get();
}

Result<void> TimerSet::set_cpu_limit(Process& process, Duration soft, Duration hard) {
  auto arm = [&](std::unique_ptr<SignalTimer>& timer, int signal, Duration limit,
                 Duration interval) -> Result<void> {
    if (limit == Duration::infinite()) {
      timer.reset();
      return {};
    }
    if (timer == nullptr) {
      SignalInfo info{.signal = signal, .code = kSiKernel};
      timer = ARIL_TRY(try_make_unique<SignalTimer>(process, RefPtr<Task>(),
                                                    SignalTimer::Clock::kProcessCpu, info, true));
    }
    // A limit of 0 is one that has been reached [setrlimit(2)].
    timer->set(std::max(limit, Duration{1}), interval, SignalTimer::Start::kAbsolute);
    return {};
  };
  constexpr Duration kSecond = Duration::seconds(1);
  LockGuard guard(mutex_);
  if (hard_cpu_limit_ != nullptr) hard_cpu_limit_->follow(nullptr, {});
  ARIL_TRY(arm(soft_cpu_limit_, kSigXcpu, soft, kSecond));
  ARIL_TRY(arm(hard_cpu_limit_, kSigKill, hard, Duration{}));
  // A program that was told at the soft limit has the time in between to end by itself.
  if (hard_cpu_limit_ != nullptr && soft < hard)
    hard_cpu_limit_->follow(soft_cpu_limit_.get(), kSecond / 2);
  return {};
}

Result<void> enforce_cpu_limit(Process& process, const ResourceLimit& limit) {
  auto duration = [](uint64_t seconds) {
    constexpr uint64_t kMost = INT64_MAX / 1'000'000'000;
    return seconds > kMost ? Duration::infinite()
                           : Duration::seconds(static_cast<int64_t>(seconds));
  };
  TimerSet* set = ARIL_TRY(TimerSet::of(process));
  return set->set_cpu_limit(process, duration(limit.current), duration(limit.maximum));
}

Result<int> TimerSet::create_locked(Process& process, RefPtr<Task> target, SignalTimer::Clock clock,
                                    SignalInfo info, bool notifies, bool value_is_id) {
  auto free = std::ranges::find_if(timers_, [](const auto& timer) { return timer == nullptr; });
  auto id = static_cast<int>(free - timers_.begin());
  if (size_t(id) >= kTimerLimit) return fail(Errno::kAgain);
  info.timer.timer_id = id;
  if (value_is_id) info.timer.value = uint64_t(id);
  auto timer =
      ARIL_TRY(try_make_unique<SignalTimer>(process, std::move(target), clock, info, notifies));
  if (free == timers_.end()) {
    timers_.push_back(std::move(timer));
  } else {
    *free = std::move(timer);
  }
  return id;
}

Result<SignalTimer*> TimerSet::find_locked(int id) {
  if (id < 0 || size_t(id) >= timers_.size() || timers_[size_t(id)] == nullptr)
    return fail(Errno::kInval);
  return timers_[size_t(id)].get();
}

Result<void> TimerSet::remove_locked(int id) {
  ARIL_TRY(find_locked(id));
  timers_[size_t(id)].reset();
  return {};
}

}  // namespace aril::linux_abi
