#include "linux/files/io_vector.hpp"

#include <algorithm>
#include <limits>

namespace aril::linux_abi {

// struct iovec has the same two words.
static_assert(sizeof(IoBuffer::Segment) == 16);

Result<IoVector> IoVector::read(uint64_t address, uint64_t count) {
  if (count > kMaxSegments) return fail(Errno::kInval);
  IoVector vector;
  vector.count_ = count;
  IoBuffer::Segment* segments = vector.few_;
  if (count > kFew) {
    vector.more_.reset(new (std::nothrow) IoBuffer::Segment[count]);
    if (vector.more_ == nullptr) return fail(Errno::kNoMem);
    segments = vector.more_.get();
  }
  ARIL_TRY(copy_from_user(std::as_writable_bytes(std::span(segments, count)), address));
  uint64_t left = kMaxTransfer;
  for (size_t i = 0; i < count; ++i) {
    if (segments[i].length > std::numeric_limits<int64_t>::max()) return fail(Errno::kInval);
    segments[i].length = std::min(segments[i].length, left);
    left -= segments[i].length;
  }
  return vector;
}

IoVector IoVector::single(uint64_t address, uint64_t length) {
  IoVector vector;
  vector.few_[0] = {address, std::min(length, kMaxTransfer)};
  vector.count_ = 1;
  return vector;
}

}  // namespace aril::linux_abi
