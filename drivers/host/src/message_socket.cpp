#include "drivers/host/message_socket.hpp"

#include <algorithm>

#include "arch/host_calls.hpp"
#include "kernel/memory/page_allocator.hpp"

namespace aril::host {
namespace {

constexpr short kReadable = 1;

using Vectors = std::array<arch::HostVector, MessageDevice::kMaxSegments>;
using Segments = std::span<const MessageDevice::Segment>;

std::span<const arch::HostVector> vectors_of(Segments segments, Vectors& vectors) {
  std::ranges::transform(segments, vectors.begin(), [](const MessageDevice::Segment& segment) {
    return arch::HostVector{arch::physical_to_virtual(segment.address), segment.length};
  });
  return {vectors.data(), segments.size()};
}

}  // namespace

void MessageSocket::start() {
  watch_.descriptor = descriptor_;
  watch_.events = kReadable;
  watch_.argument = this;
  watch_.handler = [](void* socket) { static_cast<MessageSocket*>(socket)->answered_.wake_all(); };
  arch::add_watch(watch_);
}

Result<size_t> MessageSocket::exchange(Segments message, Segments answer) {
  if (message.empty() || answer.empty() || message.size() + answer.size() > kMaxSegments)
    return fail(Errno::kInval);
  auto take_turn = [this] { return !busy_.exchange(true, std::memory_order_acquire); };
  ARIL_TRY(turn_.wait_until(take_turn, Instant::never(), Interruptible::kNo));
  Result<size_t> received = converse(message, answer);
  busy_.store(false, std::memory_order_release);
  turn_.wake(1);
  return received;
}

Result<size_t> MessageSocket::converse(Segments message, Segments answer) {
  Vectors vectors;
  // One message is all that is ever under way, and there is room for it.
  for (;;) {
    Result<size_t> sent = arch::host_write(descriptor_, vectors_of(message, vectors));
    if (sent) break;
    if (sent.error() != Errno::kIntr) return fail(Errno::kIo);
  }
  auto has_answer = [this] {
    if (arch::host_is_ready(descriptor_, kReadable)) return true;
    arch::arm(watch_);
    return false;
  };
  for (;;) {
    ARIL_TRY(answered_.wait_until(has_answer, Instant::never(), Interruptible::kNo));
    Result<size_t> received = arch::host_read(descriptor_, vectors_of(answer, vectors));
    // Nothing: the server is gone.
    if (received && *received != 0) return received;
    if (received || received.error() != Errno::kIntr) return fail(Errno::kIo);
  }
}

}  // namespace aril::host
