#include "linux/stdio/host_stream.hpp"

#include <algorithm>

namespace aril::linux_abi {

namespace {
constexpr uint32_t kFifoMode = 0010000 | 0600;
constexpr uint64_t kPipeDevice = 13;
/// Copied from the application at a time; on the kernel stack.
constexpr size_t kPiece = 2048;
}  // namespace

HostInput::HostInput(CharDevice* device) : device_(device) {
  if (device_ == nullptr) return;
  device_->set_receive_callback(
      [](void* self) {
        static_cast<HostInput*>(self)->queue_.wake_all(std::to_underlying(kReadable));
      },
      this);
}

void HostInput::fill_locked() {
  if (count_ != 0 || device_ == nullptr) return;
  first_ = 0;
  count_ = device_->read_available(buffer_);
}

Result<size_t> HostInput::read(std::span<std::byte> out, bool& at_end) {
  LockGuard guard(mutex_);
  at_end = at_end_locked();
  if (at_end) return 0;
  fill_locked();
  if (count_ == 0) return fail(Errno::kAgain);
  size_t count = std::min(out.size(), count_);
  count =
      static_cast<size_t>(std::min<uint64_t>(count, end_.load(std::memory_order_relaxed) - taken_));
  std::copy_n(buffer_.begin() + static_cast<ptrdiff_t>(first_), count, out.begin());
  first_ += count;
  count_ -= count;
  taken_ += count;
  return count;
}

void HostInput::end_after(uint64_t count) {
  end_.store(count, std::memory_order_relaxed);
  queue_.wake_all();
}

bool HostInput::is_readable() {
  LockGuard guard(mutex_);
  fill_locked();
  return count_ != 0 || at_end_locked();
}

Result<size_t> HostInputFile::read(IoBuffer& buffer) {
  std::byte bytes[kPiece];
  for (;;) {
    bool at_end = false;
    auto count = input_.read(std::span(bytes).first(std::min(buffer.remaining(), kPiece)), at_end);
    if (count) return *count == 0 ? count : buffer.copy_out(std::span(bytes).first(*count));
    if (is_nonblocking()) return count;
    ARIL_TRY(input_.queue().wait_until([this] { return input_.is_readable(); }));
  }
}

PollEvents HostInputFile::poll(PollRegistrar* registrar) {
  if (registrar != nullptr) registrar->watch(input_.queue());
  return input_.is_readable() ? kReadable : PollEvents::kNone;
}

Result<FileStatus> HostInputFile::status() {
  return FileStatus{.device = kPipeDevice, .inode = 1, .mode = kFifoMode};
}

Result<size_t> HostOutputFile::write(IoBuffer& buffer) {
  std::byte bytes[kPiece];
  size_t total = 0;
  while (buffer.remaining() != 0) {
    auto copied = buffer.copy_in(std::span(bytes).first(std::min(buffer.remaining(), kPiece)));
    Result<void> written = copied ? device_.write(std::span(bytes).first(*copied))
                                  : Result<void>(fail(copied.error()));
    if (!written) {
      if (total != 0) break;
      return fail(written.error());
    }
    total += *copied;
  }
  return total;
}

Result<FileStatus> HostOutputFile::status() {
  return FileStatus{.device = kPipeDevice, .inode = 2, .mode = kFifoMode};
}

}  // namespace aril::linux_abi
