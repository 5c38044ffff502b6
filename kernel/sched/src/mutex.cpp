#include "kernel/sched/mutex.hpp"

#include <bit>

#include "kernel/log/log.hpp"
#include "kernel/sched/thread.hpp"

namespace aril {

namespace {

unsigned highest_rank(const uint64_t (&held)[2]) {
  if (held[1] != 0) return 127 - static_cast<unsigned>(std::countl_zero(held[1]));
  if (held[0] != 0) return 63 - static_cast<unsigned>(std::countl_zero(held[0]));
  return 0;
}

}  // namespace

void Mutex::check_order() const {
  Thread* thread = arch::current_thread();
  auto rank = static_cast<unsigned>(rank_);
  unsigned highest = thread != nullptr ? highest_rank(thread->held_ranks_) : 0;
  if (highest >= rank) [[unlikely]]
    panic("lock order: a mutex of rank %u is taken while one of rank %u is held", rank, highest);
}

void Mutex::note_taken() {
  Thread* thread = arch::current_thread();
  auto rank = static_cast<unsigned>(rank_);
  if (thread != nullptr) thread->held_ranks_[rank / 64] |= uint64_t{1} << (rank % 64);
}

void Mutex::note_released() {
  Thread* thread = arch::current_thread();
  auto rank = static_cast<unsigned>(rank_);
  if (thread != nullptr) thread->held_ranks_[rank / 64] &= ~(uint64_t{1} << (rank % 64));
}

bool Mutex::take() {
  Thread* expected = nullptr;
  Thread* self = arch::current_thread();
  // Before the scheduler runs there is one flow of control: any non-null mark serves.
  if (self == nullptr) self = kBootOwner;
  return owner_.compare_exchange_strong(expected, self, std::memory_order_seq_cst);
}

bool Mutex::try_lock() {
  if (!take()) return false;
  note_taken();
  return true;
}

void Mutex::lock() {
  // Apart, so that the way of nearly every time needs no stack frame.
  auto lock_slowly = [](Mutex& mutex) __attribute__((noinline)) {
    mutex.check_order();
    if (!mutex.take()) [[unlikely]] {
      bool preparing = ThreadWaiter::is_preparing();
      (void)mutex.queue_.wait_until([&mutex] { return mutex.take(); }, Instant::never(),
                                    Interruptible::kNo);
      if (preparing) ThreadWaiter::prepare_woken();
    }
    mutex.note_taken();
  };
  Thread* self = arch::current_thread();
  if (self == nullptr) [[unlikely]]
    return lock_slowly(*this);
  auto rank = static_cast<unsigned>(rank_);
  uint64_t& held = self->held_ranks_[rank / 64];
  bool is_highest = held >> (rank % 64) == 0 && (rank >= 64 || self->held_ranks_[1] == 0);
  Thread* expected = nullptr;
  if (!is_highest || !owner_.compare_exchange_strong(expected, self, std::memory_order_seq_cst))
      [[unlikely]]
    return lock_slowly(*this);
  held |= uint64_t{1} << (rank % 64);
}

void Mutex::unlock() {
  ARIL_ASSERT(held_by_this_thread());
  note_released();
  // Release pairs with the next owner's exchange; empty() orders the store before its look.
  owner_.store(nullptr, std::memory_order_release);
  if (!queue_.empty()) [[unlikely]]
    queue_.wake(1);
}

bool Mutex::held_by_this_thread() const {
  Thread* self = arch::current_thread();
  return owner_.load(std::memory_order_relaxed) == (self != nullptr ? self : kBootOwner);
}

}  // namespace aril
