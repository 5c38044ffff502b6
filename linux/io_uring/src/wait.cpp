#include "ring.hpp"

/// Requests that wait without a thread: for their file, or for a time.
namespace aril::linux_abi::io_uring {

namespace {

bool notify(WaitEntry& entry, uint32_t events) {
  Request& request = *static_cast<PollEntry&>(entry).request;
  auto told = static_cast<PollEvents>(events);
  if (!has(told, request.wanted | PollEvents::kErr | PollEvents::kHup)) return false;
  request.ring->wake_request(request);
  return false;
}

/// Puts a request on the queues that its file names.
class Registrar final : public PollRegistrar {
 public:
  explicit Registrar(Request& request) : request_(request) {}
  void watch(WaitQueue& queue) override {
    ARIL_ASSERT(request_.entry_count < Request::kMaxQueues);
    PollEntry& entry = request_.entries[request_.entry_count++];
    entry.request = &request_;
    entry.queue = &queue;
    queue.add(entry);
  }

 private:
  Request& request_;
};

}  // namespace

PollEntry::PollEntry() : WaitEntry(&notify) {}

void Request::disarm() {
  for (size_t i = 0; i < entry_count; ++i) entries[i].queue->remove(entries[i]);
  entry_count = 0;
}

void Ring::queue_for_worker_locked(Request& request) {
  request.state = Request::State::kQueued;
  work_.push_back(request);
}

void Ring::wake_request(Request& request) {
  {
    LockGuard guard(lock_);
    request.woken = true;
    if (request.state != Request::State::kWaiting) return;
    queue_for_worker_locked(request);
  }
  work_queue_.wake(1);
}

bool Ring::arm_poll(Request& request, FirstLook look) {
  request.disarm();
  {
    LockGuard guard(lock_);
    request.woken = false;
  }
  Registrar registrar(request);
  PollEvents events = request.file->poll(&registrar);
  bool ready =
      look == FirstLook::kYes && has(events, request.wanted | PollEvents::kErr | PollEvents::kHup);
  {
    LockGuard guard(lock_);
    if (!ready && !request.woken && !request.canceled && !closed_.load()) {
      request.state = Request::State::kWaiting;
      request.runner = nullptr;
      return true;
    }
  }
  request.disarm();
  return false;
}

namespace {
void time_came(void* argument) {
  auto& request = *static_cast<Request*>(argument);
  request.timed_out = true;
  request.ring->wake_request(request);
}
}  // namespace

Outcome Ring::start_timeout(Request& request) {
  if (!ensure_worker(false)) return Outcome::failed(Errno::kNoMem);
  request.timer.set_callback(&time_came, &request);
  {
    LockGuard guard(lock_);
    request.state = Request::State::kWaiting;
    if (request.entry.offset != 0) {
      request.counts_completions = true;
      ++counting_timeouts_;
      request.completions_target = cq_tail_ + static_cast<uint32_t>(request.entry.offset);
    }
  }
  request.timer.arm(request.deadline);
  return {.kind = Outcome::Kind::kPending};
}

/// Takes the timeout that follows `guarded` out of the chain and lets it run beside it.
void Ring::start_link_timeout(Request& guarded) {
  Request& timeout = *guarded.next;
  guarded.next = timeout.next;
  timeout.next = nullptr;
  // Without a worker to act at the time, there is no timeout; the request itself goes on.
  (void)ensure_worker(false);
  timeout.timer.set_callback(&time_came, &timeout);
  {
    LockGuard guard(lock_);
    guarded.link_timeout = &timeout;
    timeout.guarded = &guarded;
    timeout.state = Request::State::kWaiting;
  }
  timeout.timer.arm(timeout.deadline);
}

/// A timeout whose time has come, or whose count is full; on a worker.
Request* Ring::run_timeout(Request& request) {
  request.timer.cancel();
  if (request.opcode() == Opcode::kTimeout) {
    bool canceled;
    {
      LockGuard guard(lock_);
      canceled = request.canceled;
    }
    if (canceled) return complete(request, -static_cast<int32_t>(Errno::kCanceled));
    bool expired = request.timed_out;
    bool is_success = (request.entry.operation_flags & kTimeoutEtimeSuccess) != 0;
    if (expired && is_success && request.next != nullptr) {
      // The chain goes on although the completion shows the time-out.
      request.entry.flags |= kHardLink;
    }
    return complete(request, expired ? -static_cast<int32_t>(Errno::kTime) : 0);
  }
  CancelMatch match;
  {
    LockGuard guard(lock_);
    Request* guarded = std::exchange(request.guarded, nullptr);
    if (guarded != nullptr) {
      guarded->link_timeout = nullptr;
      match.request = guarded;
      match.user_data = guarded->entry.user_data;
    }
  }
  int32_t result = -static_cast<int32_t>(Errno::kCanceled);
  if (match.request != nullptr) {
    auto canceled = cancel(match, &request);
    result = -static_cast<int32_t>(canceled ? Errno::kTime : canceled.error());
  }
  return complete(request, result);
}

}  // namespace aril::linux_abi::io_uring
