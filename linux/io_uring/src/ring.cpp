#include "ring.hpp"

#include <bit>

#include "linux/event/event_fd.hpp"

namespace aril::linux_abi::io_uring {

namespace {
const char kRingFacet = 0;
constexpr uint32_t kMaxEntries = 32768, kMaxCompletions = 2 * kMaxEntries;

Result<uint32_t> ring_size(uint32_t wanted, uint32_t limit, uint32_t flags) {
  if (wanted == 0) return fail(Errno::kInval);
  if (wanted > limit) {
    if ((flags & kSetupClamp) == 0) return fail(Errno::kInval);
    wanted = limit;
  }
  return std::bit_ceil(wanted);
}
}  // namespace

Result<RefPtr<Ring>> Ring::create(Parameters& parameters) {
  RefPtr<Ring> ring = ARIL_TRY(try_make_ref<Ring>());
  uint32_t flags = parameters.flags;
  ring->sq_entries_ = ARIL_TRY(ring_size(parameters.sq_entries, kMaxEntries, flags));
  ring->cq_entries_ = 2 * ring->sq_entries_;
  if ((flags & kSetupCqSize) != 0) {
    ring->cq_entries_ = ARIL_TRY(ring_size(parameters.cq_entries, kMaxCompletions, flags));
    if (ring->cq_entries_ < ring->sq_entries_) return fail(Errno::kInval);
  }
  ring->flags_ = flags;
  ring->disabled_ = (flags & kSetupDisabled) != 0;
  if (parameters.sq_thread_idle != 0)
    ring->submission_idle_ = Duration::milliseconds(parameters.sq_thread_idle);
  ring->memory_ = ARIL_TRY(RingMemory::create(ring->sq_entries_, ring->cq_entries_));
  parameters.sq_entries = ring->sq_entries_;
  parameters.cq_entries = ring->cq_entries_;
  parameters.features = kFeatures;
  ring->memory_->describe(parameters);
  return ring;
}

Ring::~Ring() {
  while (Overflow* entry = overflow_.pop_front()) delete entry;
}

Result<void> Ring::enable() {
  if (!disabled_.exchange(false)) return fail(kBadState);
  wake_submission_thread();
  return {};
}

void Ring::close() {
  closed_.store(true, std::memory_order_release);
  (void)cancel({.flags = kCancelAny | kCancelAll}, nullptr);
  RefPtr<File> event_file;
  std::vector<RefPtr<File>> files;
  {
    LockGuard guard(lock_);
    std::swap(event_file, event_file_);
  }
  gate_.lock();
  std::swap(files, files_);
  gate_.unlock();
  work_queue_.wake_all();
  submission_queue_.wake_all();
}

// False when the ring is full.
bool Ring::put_locked(const Completion& completion) {
  RingHeader& header = memory_->header();
  // Acquire: the application has read the slots before its head.
  if (cq_tail_ - header.cq_head.load(std::memory_order_acquire) >= cq_entries_) return false;
  memory_->completions()[cq_tail_ & (cq_entries_ - 1)] = completion;
  ++cq_tail_;
  // Release: the slot before the index.
  header.cq_tail.store(cq_tail_, std::memory_order_release);
  return true;
}

void Ring::post(uint64_t user_data, int32_t result, uint32_t flags) {
  Completion completion{user_data, result, flags};
  // Made before the lock is taken, and mostly given back: allocation is not for spin locks.
  Overflow* spare = nullptr;
  RingHeader& header = memory_->header();
  uint32_t made = 0;
  for (bool placed = false; !placed;) {
    {
      LockGuard guard(lock_);
      if (overflow_.empty() && put_locked(completion)) {
        made = cq_tail_;
        placed = true;
      } else if (spare != nullptr) {
        spare->completion = completion;
        overflow_.push_back(*spare);
        header.sq_flags.fetch_or(kCqOverflow, std::memory_order_relaxed);
        spare = nullptr;
        made = cq_tail_;
        placed = true;
      }
    }
    if (placed) break;
    spare = new (std::nothrow) Overflow;
    if (spare == nullptr) {
      header.cq_overflow.fetch_add(1, std::memory_order_relaxed);
      break;
    }
  }
  delete spare;
  announce(made);
}

void Ring::flush_overflow() {
  for (;;) {
    Overflow* entry;
    {
      LockGuard guard(lock_);
      entry = overflow_.front();
      if (entry == nullptr || !put_locked(entry->completion)) return;
      overflow_.pop_front();
      if (overflow_.empty())
        memory_->header().sq_flags.fetch_and(~kCqOverflow, std::memory_order_relaxed);
    }
    delete entry;
  }
}

// Timeouts that fire at a number of completions.
void Ring::wake_counting_locked(uint32_t completions) {
  for (Request& request : requests_) {
    if (request.state != Request::State::kWaiting || !request.counts_completions) continue;
    // Signed difference: the count wraps.
    if (static_cast<int32_t>(completions - request.completions_target) >= 0)
      queue_for_worker_locked(request);
  }
}

// Tells everyone who waits for completions, of which there have been `completions` so far.
void Ring::announce(uint32_t completions) {
  completion_queue_.wake_all(std::to_underlying(kReadable));
  RefPtr<File> event_file;
  {
    LockGuard guard(lock_);
    event_file = event_file_;
    if (counting_timeouts_ != 0) wake_counting_locked(completions);
  }
  work_queue_.wake(1);
  if (!event_file) return;
  uint64_t one = 1;
  IoBuffer::Segment segment;
  IoBuffer buffer = IoBuffer::kernel(segment, std::as_writable_bytes(std::span(&one, 1)));
  // A counter that is full tells of something already.
  NoWaitScope no_wait;
  (void)event_file->write(buffer);
}

uint32_t Ring::ready_completions() const {
  const RingHeader& header = memory_->header();
  return header.cq_tail.load(std::memory_order_acquire) -
         header.cq_head.load(std::memory_order_acquire);
}

Result<void> Ring::wait_completions(uint32_t count, Instant deadline) {
  count = std::min(count, cq_entries_);
  auto waited = completion_queue_.wait_until(
      [&] {
        flush_overflow();
        return ready_completions() >= count;
      },
      deadline);
  if (waited) return {};
  return fail(waited.error() == Errno::kTimedOut ? Errno::kTime : Errno::kIntr);
}

PollEvents Ring::poll(PollRegistrar* registrar) {
  if (registrar != nullptr) registrar->watch(completion_queue_);
  PollEvents events = PollEvents::kNone;
  if (pending_submissions() < sq_entries_) events |= kWritable;
  bool overflowed;
  {
    LockGuard guard(lock_);
    overflowed = !overflow_.empty();
  }
  if (overflowed || ready_completions() != 0) events |= kReadable;
  return events;
}

void* RingFile::facet(const void* tag) { return tag == &kRingFacet ? this : nullptr; }

RingFile* as_ring_file(File& file) { return static_cast<RingFile*>(file.facet(&kRingFacet)); }

}  // namespace aril::linux_abi::io_uring
