#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.hpp"

namespace aril {

/// Bytes of a read or write: kernel memory or application memory, in pieces (iovec), consumed
/// from the front. Implementations of File use only copy_in/copy_out and remaining().
class IoBuffer {
 public:
  struct Segment {
    uint64_t address;  ///< application address, or a kernel pointer's value when `kernel`
    uint64_t length;
  };
  enum class Memory : uint8_t { kApplication, kKernel };
  /// `segments` outlive the buffer. Their lengths' sum fits ssize_t (checked by the caller).
  IoBuffer(std::span<const Segment> segments, Memory memory);
  static IoBuffer kernel(Segment& storage, std::span<std::byte> bytes);

  [[nodiscard]] size_t remaining() const { return remaining_; }
  [[nodiscard]] size_t consumed() const { return consumed_; }
  /// Copies up to bytes.size() from the buffer to `bytes` (a write). Count copied; kFault when
  /// nothing could be.
  Result<size_t> copy_in(std::span<std::byte> bytes);
  /// Copies up to bytes.size() from `bytes` to the buffer (a read).
  Result<size_t> copy_out(std::span<const std::byte> bytes);
  Result<size_t> zero_out(size_t count);
  /// Shortens to at most `limit` more bytes.
  void truncate(size_t limit);

 private:
  template <typename Move>
  Result<size_t> transfer(size_t size, Move move);

  std::span<const Segment> segments_;
  size_t offset_ = 0;  // into segments_.front()
  size_t remaining_ = 0;
  size_t consumed_ = 0;
  Memory memory_;
};

}  // namespace aril
