#include "ring.hpp"

/// Ending requests early, and changing those that wait.
namespace aril::linux_abi::io_uring {

bool Ring::CancelMatch::matches(const Request& candidate) const {
  if (request != nullptr && &candidate != request) return false;
  bool is_poll = candidate.opcode() == Opcode::kPollAdd;
  bool is_timeout = candidate.opcode() == Opcode::kTimeout;
  if (candidate.opcode() == Opcode::kLinkTimeout && !only_timeouts) return false;
  if (only_polls && !is_poll) return false;
  if (only_timeouts && !is_timeout) return false;
  if ((flags & kCancelAny) != 0) return true;
  if ((flags & kCancelFd) != 0) return candidate.file.get() == file;
  return candidate.entry.user_data == user_data;
}

Result<int32_t> Ring::cancel(const CancelMatch& match, const Request* except) {
  bool all = (match.flags & (kCancelAll | kCancelAny)) != 0;
  int32_t count = 0;
  bool running = false;
  for (;;) {
    Request* found = nullptr;
    {
      LockGuard guard(lock_);
      for (Request& request : requests_) {
        if (&request == except || !match.matches(request)) continue;
        if (request.state == Request::State::kRunning && !request.canceled) {
          request.canceled = true;
          running = true;
          if (request.runner != nullptr) request.runner->interrupt();
          if (!all) break;
          continue;
        }
        if (request.state == Request::State::kQueued) request.queue_node.unlink();
        if (request.state != Request::State::kWaiting && request.state != Request::State::kQueued)
          continue;
        request.state = Request::State::kIssuing;
        found = &request;
        break;
      }
    }
    if (found == nullptr) break;
    ++count;
    advance(complete(*found, -static_cast<int32_t>(Errno::kCanceled)));
    if (!all) break;
  }
  if (closed_.load(std::memory_order_acquire)) {
    for (;;) {
      Request* held;
      {
        LockGuard guard(lock_);
        held = deferred_.pop_front();
      }
      if (held == nullptr) break;
      cancel_chain(held);
    }
  }
  if (count == 0 && running) return fail(Errno::kAlready);
  if (count == 0 && !all) return fail(Errno::kNoEnt);
  return all ? count : 0;
}

Result<void> Ring::update_timeout(uint64_t user_data, Instant deadline) {
  LockGuard guard(lock_);
  for (Request& request : requests_) {
    bool is_timeout =
        request.opcode() == Opcode::kTimeout || request.opcode() == Opcode::kLinkTimeout;
    if (!is_timeout || request.entry.user_data != user_data) continue;
    if (request.state != Request::State::kWaiting) return fail(Errno::kAlready);
    request.deadline = deadline;
    request.timer.arm(deadline);
    return {};
  }
  return fail(Errno::kNoEnt);
}

Result<void> Ring::update_poll(uint64_t user_data, const Submission& entry) {
  Request* found = nullptr;
  {
    LockGuard guard(lock_);
    for (Request& request : requests_) {
      if (request.opcode() != Opcode::kPollAdd || request.entry.user_data != user_data) continue;
      if (request.state != Request::State::kWaiting) return fail(Errno::kAlready);
      request.state = Request::State::kIssuing;
      found = &request;
      break;
    }
  }
  if (found == nullptr) return fail(Errno::kNoEnt);
  if ((entry.length & kPollUpdateEvents) != 0) {
    found->entry.operation_flags = entry.operation_flags;
    found->entry.length = (found->entry.length & ~kPollMulti) | (entry.length & kPollMulti);
  }
  if ((entry.length & kPollUpdateData) != 0) found->entry.user_data = entry.offset;
  NoWaitScope no_wait;
  advance(settle(*found, execute(*found)));
  return {};
}

}  // namespace aril::linux_abi::io_uring
