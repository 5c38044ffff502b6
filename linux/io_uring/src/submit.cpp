#include "ring.hpp"

/// From submission entries to running operations: preparation, chains, drains, completion.
namespace aril::linux_abi::io_uring {

namespace {

constexpr uint8_t kKnownFlags =
    kFixedFile | kDrain | kLink | kHardLink | kAsync | kBufferSelect | kSkipSuccess;

bool needs_file(Opcode opcode) {
  switch (opcode) {
    case Opcode::kReadv:
    case Opcode::kWritev:
    case Opcode::kFsync:
    case Opcode::kReadFixed:
    case Opcode::kWriteFixed:
    case Opcode::kPollAdd:
    case Opcode::kSyncFileRange:
    case Opcode::kSendMsg:
    case Opcode::kRecvMsg:
    case Opcode::kAccept:
    case Opcode::kConnect:
    case Opcode::kFallocate:
    case Opcode::kRead:
    case Opcode::kWrite:
    case Opcode::kFadvise:
    case Opcode::kSend:
    case Opcode::kRecv:
    case Opcode::kShutdown:
    case Opcode::kMsgRing:
      return true;
    default:
      return false;
  }
}

/// [io_uring(7)] A transfer that moved less than it was asked to breaks its chain like an error.
bool breaks_chain(const Request& request, int32_t result) {
  if (result < 0) return true;
  switch (request.opcode()) {
    case Opcode::kRead:
    case Opcode::kWrite:
    case Opcode::kReadFixed:
    case Opcode::kWriteFixed:
      return static_cast<uint32_t>(result) != request.entry.length;
    case Opcode::kReadv:
    case Opcode::kWritev:
      return static_cast<uint64_t>(result) != request.vector.buffer().remaining();
    case Opcode::kSend:
    case Opcode::kRecv:
      return (request.entry.operation_flags & std::to_underlying(net::MessageFlags::kWaitAll)) !=
                 0 &&
             static_cast<uint32_t>(result) != request.entry.length;
    default:
      return false;
  }
}

}  // namespace

uint32_t Ring::pending_submissions() const {
  const RingHeader& header = memory_->header();
  // Acquire: the entries before the tail.
  return header.sq_tail.load(std::memory_order_acquire) -
         header.sq_head.load(std::memory_order_relaxed);
}

Result<uint32_t> Ring::submit(uint32_t count) {
  RingHeader& header = memory_->header();
  count = std::min({count, pending_submissions(), sq_entries_});
  uint32_t head = header.sq_head.load(std::memory_order_relaxed);
  Chain chain;
  uint32_t taken = 0;
  Result<void> submitted;
  while (taken < count) {
    uint32_t index =
        memory_->array()[(head + taken) & (sq_entries_ - 1)].load(std::memory_order_relaxed);
    ++taken;
    if (index >= sq_entries_) {
      header.sq_dropped.fetch_add(1, std::memory_order_relaxed);
      // Release: the slot has been read.
      header.sq_head.store(head + taken, std::memory_order_release);
      break;
    }
    // One copy: the application may change it at any time.
    Submission entry = memory_->submissions()[index];
    header.sq_head.store(head + taken, std::memory_order_release);
    submitted = submit_entry(entry, chain);
    if (!submitted && (flags_ & kSetupSubmitAll) == 0) break;
  }
  end_chain(chain);
  submission_queue_.wake_all();
  return taken;
}

// The error tells that the entry was bad; it has, or will have, its completion all the same.
Result<void> Ring::submit_entry(const Submission& entry, Chain& chain) {
  auto* request = new (std::nothrow) Request(*this);
  if (request == nullptr) {
    post(entry.user_data, -static_cast<int32_t>(Errno::kNoMem), 0);
    return fail(Errno::kNoMem);
  }
  request->entry = entry;
  {
    LockGuard guard(lock_);
    requests_.push_back(*request);
  }
  Result<void> prepared = prepare(*request, chain);
  if (!prepared) request->failure = prepared.error();
  if (chain.last != nullptr) {
    chain.last->next = request;
  } else {
    chain.first = request;
  }
  chain.last = request;
  if (!request->is_link()) end_chain(chain);
  return prepared;
}

Result<void> Ring::prepare(Request& request, const Chain& chain) {
  const Submission& entry = request.entry;
  if (entry.opcode >= std::to_underlying(Opcode::kCount)) return fail(Errno::kInval);
  if ((entry.flags & ~kKnownFlags) != 0 || entry.personality != 0) return fail(Errno::kInval);
  if ((entry.flags & kBufferSelect) != 0) return fail(Errno::kOpNotSupp);
  if (!is_supported(request.opcode())) return fail(Errno::kInval);
  if (needs_file(request.opcode())) {
    if (request.has_flag(kFixedFile)) {
      request.file = ARIL_TRY(registered_file(static_cast<uint32_t>(entry.fd)));
    } else {
      request.file = ARIL_TRY(current_process().files().get(entry.fd));
      if (has(request.file->flags(), OpenFlags::kPath)) return fail(Errno::kBadF);
    }
    // A request that keeps its own ring open would never let it close.
    RingFile* ring = as_ring_file(*request.file);
    if (ring != nullptr && &ring->ring() == this && request.opcode() != Opcode::kMsgRing)
      return fail(Errno::kBadF);
  }
  switch (request.opcode()) {
    case Opcode::kReadv:
    case Opcode::kWritev:
      request.vector = ARIL_TRY(IoVector::read(entry.address, entry.length));
      return {};
    case Opcode::kReadFixed:
    case Opcode::kWriteFixed:
      ARIL_TRY(check_buffer(entry.buffer_index, entry.address, entry.length));
      [[fallthrough]];
    case Opcode::kRead:
    case Opcode::kWrite:
      request.vector = IoVector::single(entry.address, entry.length);
      return {};
    case Opcode::kSendMsg:
    case Opcode::kRecvMsg:
      request.message = ARIL_TRY(StoredMessage::read(entry.address));
      return {};
    case Opcode::kConnect:
      if (entry.offset > net::SocketAddress::kMaxLength) return fail(Errno::kInval);
      request.address = ARIL_TRY(read_address(entry.address, static_cast<uint32_t>(entry.offset)));
      return {};
    case Opcode::kLinkTimeout:
      // It watches the entry before it.
      if (chain.last == nullptr || chain.last->opcode() == Opcode::kLinkTimeout)
        return fail(Errno::kInval);
      [[fallthrough]];
    case Opcode::kTimeout:
      if (entry.length != 1 || entry.buffer_index != 0) return fail(Errno::kInval);
      request.deadline = ARIL_TRY(read_deadline(entry.address, entry.operation_flags));
      return {};
    default:
      return {};
  }
}

/// The chain is complete: starts it, unless a drain stands before it.
void Ring::end_chain(Chain& chain) {
  Request* first = std::exchange(chain.first, nullptr);
  chain.last = nullptr;
  if (first == nullptr) return;
  bool broken = false;
  size_t length = 0;
  for (Request* request = first; request != nullptr; request = request->next) {
    broken |= request->failure != Errno{};
    ++length;
  }
  if (broken) return cancel_chain(first);
  {
    LockGuard guard(lock_);
    bool waits = draining_ || !deferred_.empty() || (first->has_flag(kDrain) && unfinished_ != 0);
    if (waits) {
      first->state = Request::State::kHeld;
      deferred_.push_back(*first);
      return;
    }
    unfinished_ += length;
    draining_ = first->has_flag(kDrain);
  }
  advance(first);
}

Request* Ring::take_deferred_locked() {
  Request* first = deferred_.front();
  if (first == nullptr || draining_ || (first->has_flag(kDrain) && unfinished_ != 0))
    return nullptr;
  deferred_.pop_front();
  first->state = Request::State::kIssuing;
  for (Request* request = first; request != nullptr; request = request->next) ++unfinished_;
  draining_ = first->has_flag(kDrain);
  return first;
}

void Ring::run_deferred() {
  for (;;) {
    Request* request;
    {
      LockGuard guard(lock_);
      request = take_deferred_locked();
    }
    if (request == nullptr) return;
    while (request != nullptr) request = issue(*request);
  }
}

void Ring::advance(Request* request) {
  while (request != nullptr) request = issue(*request);
  run_deferred();
}

/// A chain that never started.
void Ring::cancel_chain(Request* first) {
  while (first != nullptr) {
    Request* request = first;
    first = request->next;
    Errno error = request->failure != Errno{} ? request->failure : Errno::kCanceled;
    uint64_t user_data = request->entry.user_data;
    forget(*request);
    post(user_data, -static_cast<int32_t>(error), 0);
  }
}

void Ring::forget(Request& request) {
  request.timer.cancel();
  request.disarm();
  {
    LockGuard guard(lock_);
    request.all_node.unlink();
    if (request.queue_node.is_linked()) request.queue_node.unlink();
    if (request.counts_completions) --counting_timeouts_;
  }
  delete &request;
}

Request* Ring::issue(Request& request) {
  if (request.next != nullptr && request.next->opcode() == Opcode::kLinkTimeout)
    start_link_timeout(request);
  if (request.opcode() == Opcode::kTimeout) {
    Outcome outcome = start_timeout(request);
    return outcome.kind == Outcome::Kind::kDone ? complete(request, outcome.result) : nullptr;
  }
  if (request.has_flag(kAsync)) return settle(request, {.kind = Outcome::Kind::kMustWait});
  NoWaitScope no_wait;
  return settle(request, execute(request));
}

/// An operation of several completions goes on after each. True when it waits again.
bool Ring::repeat(Request& request, Outcome outcome) {
  bool multi_poll =
      request.opcode() == Opcode::kPollAdd && (request.entry.length & kPollMulti) != 0;
  bool multi_accept =
      request.opcode() == Opcode::kAccept && (request.entry.priority & kAcceptMulti) != 0;
  if ((!multi_poll && !multi_accept) || outcome.result < 0) return false;
  {
    LockGuard guard(lock_);
    if (request.canceled) return false;
  }
  post(request.entry.user_data, outcome.result, kCompletionMore);
  return true;
}

Request* Ring::settle(Request& request, Outcome outcome) {
  auto look = FirstLook::kYes;
  for (;;) {
    if (outcome.kind == Outcome::Kind::kDone) {
      if (!repeat(request, outcome)) return complete(request, outcome.result);
      // A poll tells of changes only; a listener may have more connections.
      if (request.opcode() == Opcode::kPollAdd) look = FirstLook::kNo;
      outcome.kind = Outcome::Kind::kMustWait;
    }
    request.wanted = events_to_wait_for(request);
    if (!ensure_worker(false)) return complete(request, -static_cast<int32_t>(Errno::kNoMem));
    if (request.wanted == PollEvents::kNone) {
      {
        LockGuard guard(lock_);
        request.blocks = true;
        queue_for_worker_locked(request);
      }
      work_queue_.wake(1);
      return nullptr;
    }
    if (arm_poll(request, look)) return nullptr;
    look = FirstLook::kYes;
    bool canceled;
    {
      LockGuard guard(lock_);
      canceled = request.canceled;
    }
    if (canceled) return complete(request, -static_cast<int32_t>(Errno::kCanceled));
    NoWaitScope no_wait;
    outcome = execute(request);
  }
}

/// Gives the guarded request's timeout up; it is the caller's.
Request* Ring::detach_link_timeout(Request& request) {
  Request* timeout;
  {
    LockGuard guard(lock_);
    timeout = std::exchange(request.link_timeout, nullptr);
    if (timeout == nullptr) return nullptr;
    timeout->guarded = nullptr;
    // Once its timer has fired, a worker completes it.
    if (timeout->state != Request::State::kWaiting) return nullptr;
    timeout->state = Request::State::kIssuing;
  }
  timeout->timer.cancel();
  return timeout;
}

Request* Ring::complete(Request& request, int32_t result) {
  Request* next = request.next;
  Request* timeout = detach_link_timeout(request);
  bool breaks =
      request.has_flag(kLink) && !request.has_flag(kHardLink) && breaks_chain(request, result);
  bool silent = request.has_flag(kSkipSuccess) && result >= 0;
  uint64_t user_data = request.entry.user_data;
  forget(request);
  if (!silent) post(user_data, result, 0);
  size_t ended = 1;
  if (timeout != nullptr) {
    user_data = timeout->entry.user_data;
    forget(*timeout);
    post(user_data, -static_cast<int32_t>(Errno::kCanceled), 0);
    ++ended;
  }
  if (breaks) {
    for (Request* rest = next; rest != nullptr; rest = rest->next) ++ended;
    cancel_chain(std::exchange(next, nullptr));
  }
  LockGuard guard(lock_);
  unfinished_ -= ended;
  if (unfinished_ == 0) draining_ = false;
  return next;
}

}  // namespace aril::linux_abi::io_uring
