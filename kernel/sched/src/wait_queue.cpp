#include "kernel/sched/wait_queue.hpp"

#include "kernel/sched/scheduler.hpp"
#include "kernel/sched/thread.hpp"

namespace aril {

WaitQueue::~WaitQueue() { ARIL_ASSERT(entries_.empty()); }

void WaitQueue::wake_all(uint32_t events) { wake(~0u, events); }

void WaitQueue::wake(unsigned count, uint32_t events) {
  if (empty()) return;
  LockGuard guard(lock_);
  for (auto it = entries_.begin(); it != entries_.end() && count > 0;) {
    WaitEntry& entry = *it;
    ++it;
    if (entry.notify_(entry, events)) --count;
  }
}

void WaitQueue::add(WaitEntry& entry) {
  LockGuard guard(lock_);
  ARIL_ASSERT(entry.queue_ == nullptr);
  entry.queue_ = this;
  entries_.push_back(entry);
  waiting_.fetch_add(1, std::memory_order_seq_cst);
}

void WaitQueue::remove(WaitEntry& entry) {
  LockGuard guard(lock_);
  if (entry.queue_ != this) return;
  entry.queue_ = nullptr;
  entry.node_.unlink();
  waiting_.fetch_sub(1, std::memory_order_relaxed);
}

namespace {
bool wake_thread(WaitEntry& entry, uint32_t) { return static_cast<ThreadWaiter&>(entry).wake(); }
}  // namespace

ThreadWaiter::ThreadWaiter() : WaitEntry(&wake_thread), thread_(&Thread::current()) {}

bool ThreadWaiter::wake() { return thread_->wake(WakeReason::kWoken); }

void ThreadWaiter::prepare() {
  Thread& thread = Thread::current();
  LockGuard guard(thread.lock_);
  thread.preparing_ = true;
  thread.wake_pending_ = false;
}

void ThreadWaiter::cancel() {
  Thread& thread = Thread::current();
  LockGuard guard(thread.lock_);
  thread.preparing_ = false;
  thread.wake_pending_ = false;
}

bool ThreadWaiter::is_preparing() { return Thread::current().preparing_; }

void ThreadWaiter::prepare_woken() {
  Thread& thread = Thread::current();
  LockGuard guard(thread.lock_);
  thread.preparing_ = true;
  thread.wake_pending_ = true;
  thread.wake_reason_ = WakeReason::kWoken;
}

WakeReason ThreadWaiter::block(Instant deadline, Interruptible interruptible) {
  Thread& thread = Thread::current();
  // Armed first: if it fires before the thread sleeps, that counts as a pending wake-up.
  if (deadline != Instant::never()) thread.wake_timer_.arm(deadline);
  WakeReason reason;
  {
    arch::InterruptGuard interrupts;
    thread.lock_.lock();
    thread.preparing_ = false;
    bool interrupted = interruptible == Interruptible::kYes && thread.owner_ != nullptr &&
                       thread.owner_->has_interruption();
    if (thread.wake_pending_) {
      thread.wake_pending_ = false;
      reason = thread.wake_reason_;
      thread.lock_.unlock();
    } else if (interrupted) {
      reason = WakeReason::kInterrupted;
      thread.lock_.unlock();
    } else {
      thread.state_ = Thread::State::kBlocked;
      thread.interruptible_ = interruptible == Interruptible::kYes;
      ++thread.voluntary_switches_;
      thread.lock_.unlock();
      Scheduler::switch_away(thread);
      reason = thread.wake_reason_;
    }
  }
  if (deadline != Instant::never()) thread.wake_timer_.cancel();
  return reason;
}

}  // namespace aril
