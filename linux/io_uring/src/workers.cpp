#include <string>

#include "linux/signal/signal.hpp"
#include "ring.hpp"

/// The tasks that finish what cannot be done at once. Named as Linux names its io workers.
namespace aril::linux_abi::io_uring {

namespace {
// A worker that sleeps over a file keeps others from their work; more than this do not help.
constexpr unsigned kMaxWorkers = 8;
}  // namespace

Result<void> Ring::start_task(Task::Preparation entry, std::string_view kind) {
  Task& creator = current_task();
  std::string name = std::string(kind) + std::to_string(creator.process().pid());
  arch::TrapFrame frame{};
  RefPtr<Task> task =
      ARIL_TRY(Task::create(RefPtr<Process>(&creator.process()), 0, name, frame, 0));
  task->is_worker = true;
  task->blocked = SignalSet::all();
  task->credentials = creator.credentials;
  add_ref();  // the task's; dropped by leave_worker
  task->set_preparation(entry, this);
  task->start();
  return {};
}

/// There is a worker, or with `another` a free one, when it succeeds.
Result<void> Ring::ensure_worker(bool another) {
  {
    LockGuard guard(lock_);
    if (another ? idle_workers_ != 0 || workers_ >= kMaxWorkers : workers_ != 0) return {};
    ++workers_;
  }
  auto started = start_task(&Ring::worker_main, "iou-wrk-");
  if (started) return {};
  LockGuard guard(lock_);
  --workers_;
  return started;
}

void Ring::leave_worker() {
  {
    LockGuard guard(lock_);
    --workers_;
  }
  // Task::exit does not come back, so no destructor would run.
  if (drop_ref()) delete this;
  Task::exit(0);
}

/// After a sleep that was interrupted: false when the task must go.
bool Ring::rest(Task& task, arch::TrapFrame& frame) {
  if (task_must_exit(task)) return false;
  // All signals are blocked: this only waits while the process is stopped.
  (void)deliver_signals(frame, SystemCallReturn::kNo);
  return true;
}

void Ring::worker_main(arch::TrapFrame& frame, void* argument) {
  auto& ring = *static_cast<Ring*>(argument);
  Task& task = current_task();
  for (;;) {
    if (ring.run_one()) continue;
    {
      LockGuard guard(ring.lock_);
      ++ring.idle_workers_;
    }
    auto woken = ring.work_queue_.wait_until([&] {
      LockGuard guard(ring.lock_);
      return !ring.work_.empty() || (ring.closed_.load() && ring.requests_.empty());
    });
    bool over;
    {
      LockGuard guard(ring.lock_);
      --ring.idle_workers_;
      over = ring.closed_.load() && ring.requests_.empty();
    }
    if (over || (!woken && !ring.rest(task, frame))) ring.leave_worker();
  }
}

bool Ring::run_one() {
  Request* request;
  bool more;
  {
    LockGuard guard(lock_);
    request = work_.pop_front();
    if (request == nullptr) return false;
    request->state = Request::State::kRunning;
    request->runner = &current_task();
    more = !work_.empty();
  }
  if (request->blocks || more) (void)ensure_worker(true);
  advance(run(*request));
  Task& task = current_task();
  LockGuard guard(task.process().signal_lock());
  task.update_interruption_locked();
  return true;
}

Request* Ring::run(Request& request) {
  switch (request.opcode()) {
    case Opcode::kTimeout:
    case Opcode::kLinkTimeout:
      return run_timeout(request);
    default:
      break;
  }
  if (request.blocks) {
    Outcome outcome = execute(request);
    if (outcome.kind == Outcome::Kind::kDone) return settle(request, outcome);
    // Its sleep was interrupted: canceled, or the process is ending.
    return complete(request, -static_cast<int32_t>(Errno::kCanceled));
  }
  request.disarm();
  NoWaitScope no_wait;
  return settle(request, execute(request));
}

Result<void> Ring::start_submission_thread() {
  {
    LockGuard guard(lock_);
    ++workers_;
    has_submission_thread_ = true;
  }
  auto started = start_task(&Ring::submission_main, "iou-sqp-");
  if (started) return {};
  LockGuard guard(lock_);
  --workers_;
  return started;
}

/// SQPOLL: takes entries as they appear; looks less often while there are none, and after the idle
/// time waits to be woken.
void Ring::submission_main(arch::TrapFrame& frame, void* argument) {
  constexpr Duration kLookEvery = Duration::microseconds(50);
  auto& ring = *static_cast<Ring*>(argument);
  Task& task = current_task();
  std::atomic<uint32_t>& flags = ring.memory_->header().sq_flags;
  Instant busy_until = now() + ring.submission_idle_;
  auto has_work = [&] { return !ring.is_disabled() && ring.pending_submissions() != 0; };
  for (;;) {
    if (ring.closed_.load()) break;
    if (has_work()) {
      ring.gate_.lock();
      (void)ring.submit(ring.sq_entries_);
      ring.gate_.unlock();
      busy_until = now() + ring.submission_idle_;
    } else if (ring.run_one()) {
      continue;
    } else if (now() < busy_until) {
      if (Thread::sleep_until(now() + kLookEvery, Interruptible::kYes)) continue;
      if (!ring.rest(task, frame)) break;
    } else {
      // Sequentially consistent, as the application's test of the flag after its store to the
      // tail must be: one of both sees the other.
      flags.fetch_or(kNeedWakeup);
      auto woken =
          ring.submission_queue_.wait_until([&] { return ring.closed_.load() || has_work(); });
      flags.fetch_and(~kNeedWakeup);
      busy_until = now() + ring.submission_idle_;
      if (!woken && !ring.rest(task, frame)) break;
    }
  }
  ring.leave_worker();
}

Result<void> Ring::wait_for_submission_room() {
  return submission_queue_.wait_until(
      [&] { return closed_.load() || pending_submissions() < sq_entries_; });
}

}  // namespace aril::linux_abi::io_uring
