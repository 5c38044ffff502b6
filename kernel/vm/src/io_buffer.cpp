#include "kernel/vm/io_buffer.hpp"

#include <algorithm>
#include <cstring>

#include "kernel/vm/user_copy.hpp"

namespace aril {

IoBuffer::IoBuffer(std::span<const Segment> segments, Memory memory)
    : segments_(segments), memory_(memory) {
  for (const Segment& segment : segments) remaining_ += segment.length;
}

IoBuffer IoBuffer::kernel(Segment& storage, std::span<std::byte> bytes) {
  // A kernel buffer's address travels as a number, as an application's does.
  storage = {reinterpret_cast<uint64_t>(bytes.data()), bytes.size()};
  return IoBuffer(std::span(&storage, 1), Memory::kKernel);
}

/// Calls move(address, done, count), which says how many bytes it moved, for each piece of the next
/// `size` bytes.
template <typename Move>
Result<size_t> IoBuffer::transfer(size_t size, Move move) {
  size = std::min(size, remaining_);
  size_t done = 0;
  while (done < size) {
    const Segment& segment = segments_.front();
    size_t count = std::min<uint64_t>(segment.length - offset_, size - done);
    size_t moved = count == 0 ? 0 : move(segment.address + offset_, done, count);
    done += moved;
    offset_ += moved;
    remaining_ -= moved;
    consumed_ += moved;
    if (moved < count) {
      if (done == 0) return fail(Errno::kFault);
      break;
    }
    if (offset_ == segment.length) {
      segments_ = segments_.subspan(1);
      offset_ = 0;
    }
  }
  return done;
}

Result<size_t> IoBuffer::copy_in(std::span<std::byte> bytes) {
  return transfer(bytes.size(), [&](uint64_t address, size_t done, size_t count) {
    if (memory_ == Memory::kApplication)
      return copy_some_from_user(bytes.subspan(done, count), address);
    std::memcpy(bytes.data() + done, reinterpret_cast<const void*>(address), count);
    return count;
  });
}

Result<size_t> IoBuffer::copy_out(std::span<const std::byte> bytes) {
  return transfer(bytes.size(), [&](uint64_t address, size_t done, size_t count) {
    if (memory_ == Memory::kApplication)
      return copy_some_to_user(address, bytes.subspan(done, count));
    std::memcpy(reinterpret_cast<void*>(address), bytes.data() + done, count);
    return count;
  });
}

Result<size_t> IoBuffer::zero_out(size_t count) {
  return transfer(count, [&](uint64_t address, size_t, size_t piece) {
    if (memory_ == Memory::kApplication) return zero_some_user(address, piece);
    std::memset(reinterpret_cast<void*>(address), 0, piece);
    return piece;
  });
}

void IoBuffer::truncate(size_t limit) { remaining_ = std::min(remaining_, limit); }

}  // namespace aril
