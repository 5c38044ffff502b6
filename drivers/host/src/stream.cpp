#include "drivers/host/stream.hpp"

#include <algorithm>

#include "arch/host_calls.hpp"

namespace aril::host {
namespace {

constexpr short kReadable = 1, kWritable = 4;

}  // namespace

void Stream::start() {
  input_watch_.descriptor = output_watch_.descriptor = descriptor_;
  input_watch_.events = kReadable;
  output_watch_.events = kWritable;
  input_watch_.argument = output_watch_.argument = this;
  input_watch_.handler = [](void* stream) {
    auto* self = static_cast<Stream*>(stream);
    if (auto callback = self->receive_callback_.load(std::memory_order_acquire))
      callback(self->receive_context_);
  };
  output_watch_.handler = [](void* stream) { static_cast<Stream*>(stream)->room_.wake_all(); };
  arch::add_watch(input_watch_);
  arch::add_watch(output_watch_);
}

Result<void> Stream::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    auto has_room = [this] {
      if (arch::host_is_ready(descriptor_, kWritable)) return true;
      arch::arm(output_watch_);
      return false;
    };
    ARIL_TRY(room_.wait_until(has_room, Instant::never(), Interruptible::kNo));
    const arch::HostVector piece{const_cast<std::byte*>(bytes.data()),
                                 std::min(bytes.size(), kUnit)};
    Result<size_t> written = arch::host_write(descriptor_, {&piece, 1});
    if (written) {
      bytes = bytes.subspan(*written);
    } else if (written.error() != Errno::kIntr && written.error() != Errno::kAgain) {
      return fail(written.error());
    }
  }
  return {};
}

size_t Stream::read_available(std::span<std::byte> bytes) {
  if (ended_ || bytes.empty()) return 0;
  if (!arch::host_is_ready(descriptor_, kReadable)) {
    arch::arm(input_watch_);
    return 0;
  }
  Result<size_t> count = arch::host_read(descriptor_, bytes);
  if (!count && (count.error() == Errno::kIntr || count.error() == Errno::kAgain)) {
    arch::arm(input_watch_);
    return 0;
  }
  if (count && *count != 0) {
    received_ += *count;
    return *count;
  }
  // The end, or an error, after which nothing more comes either.
  ended_ = true;
  if (end_callback_ != nullptr) end_callback_(received_);
  return 0;
}

void Stream::set_receive_callback(void (*callback)(void*), void* context) {
  receive_context_ = context;
  // Release: the handler that sees the function sees its context.
  receive_callback_.store(callback, std::memory_order_release);
  arch::arm(input_watch_);
}

}  // namespace aril::host
