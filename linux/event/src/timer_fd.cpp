#include "linux/event/timer_fd.hpp"

#include "kernel/sched/mutex.hpp"
#include "linux/abi/time.hpp"

namespace aril::linux_abi {

/// All timerfds of the realtime clock, which jumps.
struct TimerFdList {
  Mutex mutex{LockRank::kMutexLeaf};
  IntrusiveList<TimerFd, &TimerFd::node_> list;
};
namespace {
[[clang::no_destroy]] constinit TimerFdList g_realtime_timers;
}  // namespace

void TimerState::set(Instant next, Duration interval) {
  next_ = next;
  interval_ = interval;
}

uint64_t TimerState::take(Instant now) {
  if (now < next_) return 0;
  if (interval_.ns <= 0) {
    next_ = Instant::never();
    return 1;
  }
  int64_t periods = (now - next_).ns / interval_.ns + 1;
  next_ = next_ + interval_ * periods;
  return static_cast<uint64_t>(periods);
}

Duration TimerState::remaining(Instant now) const {
  if (next_ == Instant::never()) return {};
  if (now < next_) return next_ - now;
  if (interval_.ns <= 0) return {};
  return interval_ - Duration{(now - next_).ns % interval_.ns};
}

TimerFd::TimerFd(OpenFlags flags, Clock clock)
    : File(flags | OpenFlags::kReadWrite), clock_(clock), timer_(&expired, this) {
  if (clock_ != Clock::kRealtime) return;
  LockGuard guard(g_realtime_timers.mutex);
  g_realtime_timers.list.push_back(*this);
}

TimerFd::~TimerFd() {
  if (clock_ == Clock::kRealtime) {
    LockGuard guard(g_realtime_timers.mutex);
    node_.unlink();
  }
  timer_.cancel();
}

void TimerFd::expired(void* self) {
  static_cast<TimerFd*>(self)->queue_.wake_all(std::to_underlying(kReadable));
}

void TimerFd::arm_locked() { timer_.arm(state_.next()); }

TimerFd::Setting TimerFd::get_locked(Instant now) {
  return {.value = state_.remaining(now), .interval = state_.interval()};
}

TimerFd::Setting TimerFd::get() {
  LockGuard guard(lock_);
  return get_locked(now());
}

TimerFd::Setting TimerFd::set(const Setting& setting) {
  Setting before;
  {
    LockGuard guard(lock_);
    Instant time = now();
    before = get_locked(time);
    follows_realtime_ = setting.absolute && clock_ == Clock::kRealtime && setting.value.ns != 0;
    cancel_on_set_ = setting.cancel_on_set && follows_realtime_;
    canceled_ = false;
    realtime_deadline_ = setting.value;
    Instant next = Instant::never();
    if (follows_realtime_) {
      next = instant_of_realtime(setting.value);
    } else if (setting.value.ns != 0) {
      next = setting.absolute ? Instant{setting.value.ns} : time + setting.value;
    }
    state_.set(next, setting.interval);
    arm_locked();
  }
  return before;
}

void TimerFd::clock_was_set() {
  LockGuard guard(g_realtime_timers.mutex);
  for (TimerFd& timer : g_realtime_timers.list) timer.clock_set();
}

void TimerFd::clock_set() {
  {
    LockGuard guard(lock_);
    if (!follows_realtime_ || state_.next() == Instant::never()) return;
    canceled_ = cancel_on_set_;
    state_.set(instant_of_realtime(realtime_deadline_), state_.interval());
    arm_locked();
  }
  queue_.wake_all(std::to_underlying(kReadable));
}

Result<size_t> TimerFd::read(IoBuffer& buffer) {
  uint64_t ticks = 0;
  if (buffer.remaining() < sizeof(ticks)) return fail(Errno::kInval);
  bool canceled = false;
  auto take = [&] {
    LockGuard guard(lock_);
    canceled = std::exchange(canceled_, false);
    if (canceled) return true;
    ticks = state_.take(now());
    if (ticks == 0) return false;
    // The next deadline is on the clock as it is now; a jump from here on starts from it.
    if (follows_realtime_)
      realtime_deadline_ = Duration{state_.next().ns} + Duration{realtime_offset_ns()};
    arm_locked();
    return true;
  };
  if (!take()) {
    if (is_nonblocking()) return fail(Errno::kAgain);
    ARIL_TRY(queue_.wait_until(take));
  }
  if (canceled) return fail(Errno::kCanceled);
  return buffer.copy_out(std::as_bytes(std::span(&ticks, 1)));
}

PollEvents TimerFd::poll(PollRegistrar* registrar) {
  if (registrar != nullptr) registrar->watch(queue_);
  LockGuard guard(lock_);
  return canceled_ || state_.has_expired(now()) ? kReadable : PollEvents::kNone;
}

/// For linux/time, which does not depend on this component.
void realtime_clock_was_set();
void realtime_clock_was_set() { TimerFd::clock_was_set(); }

}  // namespace aril::linux_abi
