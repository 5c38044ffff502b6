#include "linux/event/event_fd.hpp"

namespace aril::linux_abi {

namespace {
const char kEventFdTag = 0;
}  // namespace

void* EventFd::facet(const void* tag) { return tag == &kEventFdTag ? this : nullptr; }
bool is_event_fd(File& file) { return file.facet(&kEventFdTag) != nullptr; }

bool EventFd::take(uint64_t& value) {
  LockGuard guard(lock_);
  if (count_ == 0) return false;
  value = mode_ == Mode::kSemaphore ? 1 : count_;
  count_ -= value;
  return true;
}

bool EventFd::add(uint64_t value) {
  LockGuard guard(lock_);
  if (value > kMaximum - count_) return false;
  count_ += value;
  return true;
}

Result<size_t> EventFd::read(IoBuffer& buffer) {
  uint64_t value = 0;
  if (buffer.remaining() < sizeof(value)) return fail(Errno::kInval);
  if (!take(value)) {
    if (is_nonblocking()) return fail(Errno::kAgain);
    ARIL_TRY(queue_.wait_until([&] { return take(value); }));
  }
  queue_.wake_all(std::to_underlying(kWritable));
  return buffer.copy_out(std::as_bytes(std::span(&value, 1)));
}

Result<size_t> EventFd::write(IoBuffer& buffer) {
  uint64_t value;
  if (buffer.remaining() < sizeof(value)) return fail(Errno::kInval);
  if (ARIL_TRY(buffer.copy_in(std::as_writable_bytes(std::span(&value, 1)))) != sizeof(value))
    return fail(Errno::kFault);
  if (value > kMaximum) return fail(Errno::kInval);
  if (!add(value)) {
    if (is_nonblocking()) return fail(Errno::kAgain);
    ARIL_TRY(queue_.wait_until([&] { return add(value); }));
  }
  queue_.wake_all(std::to_underlying(kReadable));
  return sizeof(value);
}

PollEvents EventFd::poll(PollRegistrar* registrar) {
  if (registrar != nullptr) registrar->watch(queue_);
  LockGuard guard(lock_);
  PollEvents events = PollEvents::kNone;
  if (count_ != 0) events |= kReadable;
  if (count_ < kMaximum) events |= kWritable;
  return events;
}

}  // namespace aril::linux_abi
