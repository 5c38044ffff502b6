#include "linux/pipe/pipe.hpp"

#include <algorithm>
#include <bit>

#include "kernel/memory/page_allocator.hpp"
#include "linux/abi/ioctl.hpp"

namespace aril::linux_abi {

Result<RefPtr<Pipe>> Pipe::create() {
  auto pipe = ARIL_TRY(try_make_ref<Pipe>());
  pipe->slots_.reset(new (std::nothrow) Slot[kDefaultSlots]);
  if (pipe->slots_ == nullptr) return fail(Errno::kNoMem);
  pipe->slot_count_ = kDefaultSlots;
  return pipe;
}

void Pipe::pop_locked() {
  slot_locked(0) = {};
  first_ = (first_ + 1) % slot_count_;
  --used_;
}

Result<size_t> Pipe::drain_locked(IoBuffer& buffer) {
  size_t total = 0;
  while (used_ != 0 && buffer.remaining() != 0) {
    Slot& slot = slot_locked(0);
    size_t count = std::min<size_t>(slot.length, buffer.remaining());
    auto copied = buffer.copy_out(slot.page->bytes().subspan(slot.offset, count));
    if (!copied) {
      if (total == 0) return fail(copied.error());
      break;
    }
    slot.offset += static_cast<uint32_t>(*copied);
    slot.length -= static_cast<uint32_t>(*copied);
    bytes_ -= *copied;
    total += *copied;
    if (slot.length == 0) pop_locked();
    if (*copied < count) break;
  }
  return total;
}

Result<size_t> Pipe::read(IoBuffer& buffer, Blocking blocking) {
  if (buffer.remaining() == 0) return 0;
  for (;;) {
    Result<size_t> count = 0;
    {
      LockGuard guard(mutex_);
      count = drain_locked(buffer);
      if (count == 0u && writers_ == 0) return 0;
    }
    if (!count) return count;
    if (*count != 0) {
      writers_queue_.wake_all(std::to_underlying(kWritable));
      return count;
    }
    if (blocking == Blocking::kNo) return fail(Errno::kAgain);
    ARIL_TRY(readers_queue_.wait_until([&] {
      LockGuard guard(mutex_);
      return bytes_ != 0 || writers_ == 0;
    }));
  }
}

/// Bytes that are certain to fit: whole free slots, and the tail of the last page.
size_t Pipe::room_locked() {
  size_t room = static_cast<size_t>(slot_count_ - used_) * kPageSize;
  if (used_ != 0) {
    const Slot& last = slot_locked(used_ - 1);
    if (!last.shared) room += kPageSize - last.offset - last.length;
  }
  return room;
}

Result<size_t> Pipe::append_locked(IoBuffer& buffer) {
  if (used_ != 0) {
    Slot& last = slot_locked(used_ - 1);
    uint32_t end = last.offset + last.length;
    if (!last.shared && end < kPageSize) {
      size_t count = std::min<size_t>(kPageSize - end, buffer.remaining());
      size_t copied = ARIL_TRY(buffer.copy_in(last.page->bytes().subspan(end, count)));
      last.length += static_cast<uint32_t>(copied);
      return copied;
    }
  }
  if (used_ == slot_count_) return 0;
  PageRef page = ARIL_TRY(page_allocator::allocate(page_allocator::Fill::kNone));
  size_t count = std::min(kPageSize, buffer.remaining());
  size_t copied = ARIL_TRY(buffer.copy_in(page->bytes().first(count)));
  slot_locked(used_) = {.page = std::move(page), .length = static_cast<uint32_t>(copied)};
  ++used_;
  return copied;
}

Result<size_t> Pipe::fill_locked(IoBuffer& buffer) {
  size_t total = 0;
  while (buffer.remaining() != 0) {
    auto copied = append_locked(buffer);
    if (!copied) {
      if (total == 0) return copied;
      break;
    }
    if (*copied == 0) break;
    total += *copied;
    bytes_ += *copied;
  }
  return total;
}

Result<size_t> Pipe::write(IoBuffer& buffer, Blocking blocking) {
  size_t total = 0;
  while (buffer.remaining() != 0) {
    // [pipe(7)] PIPE_BUF: a small write is not mixed with others', so it waits for room for all.
    size_t needed = total == 0 && buffer.remaining() <= kAtomicSize ? buffer.remaining() : 1;
    Result<size_t> count = 0;
    {
      LockGuard guard(mutex_);
      if (readers_ == 0) {
        if (total != 0) return total;
        return fail(Errno::kPipe);
      }
      if (room_locked() >= needed) count = fill_locked(buffer);
    }
    if (!count) {
      if (total != 0) return total;
      return count;
    }
    if (*count != 0) {
      total += *count;
      readers_queue_.wake_all(std::to_underlying(kReadable));
      continue;
    }
    if (blocking == Blocking::kNo) {
      if (total != 0) return total;
      return fail(Errno::kAgain);
    }
    auto waited = writers_queue_.wait_until([&] {
      LockGuard guard(mutex_);
      return readers_ == 0 || room_locked() >= needed;
    });
    if (!waited) {
      if (total != 0) return total;
      return fail(waited.error());
    }
  }
  return total;
}

Result<size_t> Pipe::tee(Pipe& target, size_t count) {
  if (this == &target) return fail(Errno::kInval);
  // Both pipes have the same rank, so they are locked one after the other: what is shared is
  // collected first. Pages that are in both are never appended to.
  std::unique_ptr<Slot[]> taken;
  unsigned taken_count = 0;
  {
    LockGuard guard(mutex_);
    if (used_ == 0) {
      if (writers_ == 0) return 0;
      return fail(Errno::kAgain);
    }
    taken.reset(new (std::nothrow) Slot[used_]);
    if (taken == nullptr) return fail(Errno::kNoMem);
    for (; taken_count < used_ && count != 0; ++taken_count) {
      Slot& slot = slot_locked(taken_count);
      slot.shared = true;
      taken[taken_count] = slot;
      taken[taken_count].length = static_cast<uint32_t>(std::min<size_t>(slot.length, count));
      count -= taken[taken_count].length;
    }
  }
  size_t total = 0;
  {
    LockGuard guard(target.mutex_);
    if (target.readers_ == 0) return fail(Errno::kPipe);
    for (unsigned i = 0; i < taken_count && target.used_ < target.slot_count_; ++i) {
      total += taken[i].length;
      target.slot_locked(target.used_++) = std::move(taken[i]);
    }
    target.bytes_ += total;
  }
  if (total == 0) return fail(Errno::kAgain);
  target.readers_queue_.wake_all(std::to_underlying(kReadable));
  return total;
}

void Pipe::add_reader() {
  {
    LockGuard guard(mutex_);
    ++readers_;
    ++readers_ever_;
  }
  writers_queue_.wake_all();
}

void Pipe::add_writer() {
  {
    LockGuard guard(mutex_);
    ++writers_;
    ++writers_ever_;
  }
  readers_queue_.wake_all();
}

void Pipe::remove_reader() {
  {
    LockGuard guard(mutex_);
    --readers_;
  }
  writers_queue_.wake_all();
}

void Pipe::remove_writer() {
  {
    LockGuard guard(mutex_);
    --writers_;
  }
  readers_queue_.wake_all();
}

Result<void> Pipe::wait_for_writer() {
  uint64_t seen;
  {
    LockGuard guard(mutex_);
    if (writers_ != 0) return {};
    seen = writers_ever_;
  }
  return readers_queue_.wait_until([&] {
    LockGuard guard(mutex_);
    return writers_ever_ != seen;
  });
}

Result<void> Pipe::wait_for_reader() {
  uint64_t seen;
  {
    LockGuard guard(mutex_);
    if (readers_ != 0) return {};
    seen = readers_ever_;
  }
  return writers_queue_.wait_until([&] {
    LockGuard guard(mutex_);
    return readers_ever_ != seen;
  });
}

bool Pipe::has_reader() {
  LockGuard guard(mutex_);
  return readers_ != 0;
}

PollEvents Pipe::poll(Side side, PollRegistrar* registrar) {
  bool reader = side != Side::kWriter, writer = side != Side::kReader;
  if (registrar != nullptr) {
    if (reader) registrar->watch(readers_queue_);
    if (writer) registrar->watch(writers_queue_);
  }
  PollEvents events = PollEvents::kNone;
  LockGuard guard(mutex_);
  if (reader) {
    if (bytes_ != 0) events |= kReadable;
    // A FIFO opened non-blocking that never had a writer is merely empty.
    if (writers_ == 0 && writers_ever_ != 0) events |= PollEvents::kHup;
  }
  if (writer) {
    if (room_locked() >= kAtomicSize) events |= kWritable;
    if (readers_ == 0) events |= PollEvents::kErr;
  }
  return events;
}

size_t Pipe::readable_bytes() {
  LockGuard guard(mutex_);
  return bytes_;
}

size_t Pipe::capacity() {
  LockGuard guard(mutex_);
  return slot_count_ * kPageSize;
}

Result<size_t> Pipe::set_capacity(size_t bytes) {
  if (bytes == 0 || bytes > (size_t{1} << 31)) return fail(Errno::kInval);
  size_t wanted = std::bit_ceil((bytes + kPageSize - 1) / kPageSize);
  if (wanted > kMaxSlots) return fail(Errno::kPerm);
  auto slots = std::unique_ptr<Slot[]>(new (std::nothrow) Slot[wanted]);
  if (slots == nullptr) return fail(Errno::kNoMem);
  {
    LockGuard guard(mutex_);
    if (used_ > wanted) return fail(Errno::kBusy);
    for (unsigned i = 0; i < used_; ++i) slots[i] = std::move(slot_locked(i));
    slots_ = std::move(slots);
    slot_count_ = static_cast<unsigned>(wanted);
    first_ = 0;
  }
  writers_queue_.wake_all(std::to_underlying(kWritable));
  return wanted * kPageSize;
}

Result<int64_t> Pipe::ioctl(uint32_t request, uint64_t argument) {
  if (request != FIONREAD) return fail(Errno::kNoTty);
  ARIL_TRY(UserPtr<int32_t>(argument).write(static_cast<int32_t>(readable_bytes())));
  return 0;
}

}  // namespace aril::linux_abi
