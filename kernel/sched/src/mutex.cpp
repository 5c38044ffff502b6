#include "kernel/sched/mutex.hpp"

#include <bit>

#include "kernel/log/log.hpp"
#include "kernel/sched/thread.hpp"

namespace aril {

void Mutex::check_order() const {
  Thread* thread = arch::current_thread();
  auto rank = static_cast<unsigned>(rank_);
  if (thread != nullptr && thread->held_ranks_ >> rank != 0) [[unlikely]]
    panic("lock order: a mutex of rank %u is taken while one of rank %u is held", rank,
          static_cast<unsigned>(std::bit_width(thread->held_ranks_)) - 1);
}

void Mutex::note_taken() {
  if (Thread* thread = arch::current_thread(); thread != nullptr) thread->held_ranks_ |= rank_bit();
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
  Thread* expected = nullptr;
  if (self->held_ranks_ >> static_cast<unsigned>(rank_) != 0 ||
      !owner_.compare_exchange_strong(expected, self, std::memory_order_seq_cst)) [[unlikely]]
    return lock_slowly(*this);
  self->held_ranks_ |= rank_bit();
}

void Mutex::unlock() {
  Thread* self = arch::current_thread();
  ARIL_ASSERT(owner_.load(std::memory_order_relaxed) == (self != nullptr ? self : kBootOwner));
  if (self != nullptr) [[likely]]
    self->held_ranks_ &= ~rank_bit();
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
