#include <algorithm>
#include <cstring>
#include <new>

#include "kernel/vm/user_copy.hpp"
#include "linux/loader/exec.hpp"

namespace aril::linux_abi {

Result<void> StringBlock::reserve(size_t more) {
  if (more > kTotalLimit - size_) return fail(Errno::k2Big);
  if (size_ + more <= capacity_) return {};
  size_t capacity = std::max(size_ + more, std::min(capacity_ * 2 + 1024, kTotalLimit));
  std::unique_ptr<char[]> data(new (std::nothrow) char[capacity]);
  if (data == nullptr) return fail(Errno::kNoMem);
  if (size_ != 0) std::memcpy(data.get(), data_.get(), size_);
  data_ = std::move(data);
  capacity_ = capacity;
  return {};
}

Result<void> StringBlock::append(std::string_view text) {
  if (text.size() >= kStringLimit) return fail(Errno::k2Big);
  ARIL_TRY(reserve(text.size() + 1));
  if (!text.empty()) std::memcpy(&data_[size_], text.data(), text.size());
  size_ += text.size();
  data_[size_++] = '\0';
  ++count_;
  return {};
}

Result<void> StringBlock::prepend(std::string_view text) {
  if (text.size() >= kStringLimit) return fail(Errno::k2Big);
  ARIL_TRY(reserve(text.size() + 1));
  std::memmove(&data_[text.size() + 1], &data_[0], size_);
  std::memcpy(&data_[0], text.data(), text.size());
  data_[text.size()] = '\0';
  size_ += text.size() + 1;
  ++count_;
  return {};
}

void StringBlock::drop_first() {
  if (count_ == 0) return;
  size_t length = first().size() + 1;
  std::memmove(&data_[0], &data_[0] + length, size_ - length);
  size_ -= length;
  --count_;
}

std::string_view StringBlock::first() const {
  return count_ == 0 ? std::string_view{} : std::string_view(data_.get());
}

Result<void> StringBlock::append_vector(uint64_t vector_address) {
  if (vector_address == 0) return {};
  // A string costs at least its NUL, so that the total limit also ends this loop.
  for (UserPtr<uint64_t> entry(vector_address);; entry = entry + 1) {
    uint64_t address = ARIL_TRY(entry.read());
    if (address == 0) return {};
    ARIL_TRY(reserve(1));
    // Read straight into the block, growing it until the string fits.
    for (size_t room = std::max<size_t>(capacity_ - size_, 256);;
         room = std::min(room * 2, kStringLimit)) {
      room = std::min(room, kTotalLimit - size_);
      ARIL_TRY(reserve(room));
      Result<size_t> length = copy_string_from_user(std::span(&data_[size_], room), address);
      if (length) {
        size_ += *length + 1;
        ++count_;
        break;
      }
      if (length.error() != Errno::kNameTooLong) return fail(length.error());
      if (room >= kStringLimit || room == kTotalLimit - size_) return fail(Errno::k2Big);
    }
  }
}

}  // namespace aril::linux_abi
