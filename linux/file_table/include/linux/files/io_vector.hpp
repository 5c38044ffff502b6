#pragma once
#include <memory>
#include <span>

#include "kernel/io/file.hpp"

namespace aril::linux_abi {

/// Bytes that one read or write moves at most [read(2)].
inline constexpr uint64_t kMaxTransfer = 0x7ffff000;

/// The application's struct iovec array [readv(2)], read once and checked.
class IoVector {
 public:
  static constexpr size_t kMaxSegments = 1024;  ///< IOV_MAX
  /// kInval for more than kMaxSegments or a length above SSIZE_MAX; kFault; kNoMem. Lengths are cut
  /// so that their sum is at most kMaxTransfer.
  static Result<IoVector> read(uint64_t address, uint64_t count);
  static IoVector single(uint64_t address, uint64_t length);

  [[nodiscard]] IoBuffer buffer() const {
    return IoBuffer(segments(), IoBuffer::Memory::kApplication);
  }
  [[nodiscard]] std::span<const IoBuffer::Segment> segments() const {
    return {more_ ? more_.get() : few_, count_};
  }

 private:
  static constexpr size_t kFew = 8;
  IoBuffer::Segment few_[kFew];
  std::unique_ptr<IoBuffer::Segment[]> more_;
  size_t count_ = 0;
};

}  // namespace aril::linux_abi
