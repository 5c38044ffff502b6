#include "console.hpp"

#include <algorithm>
#include <cstring>

namespace aril::virtio {

Result<void> ConsoleDriver::start() {
  ARIL_TRY(negotiate(kConsoleMultiport));
  const bool has_ports = has(kConsoleMultiport);
  if (has_ports) first_queue_ = kGenericQueues;
  ARIL_TRY(transport().connect_interrupts(*this, first_queue_ + 2));
  if (has_ports) {
    auto receive = ARIL_TRY(make_queue(kControlQueues, ConsolePorts::kBuffers));
    auto transmit = ARIL_TRY(make_queue(kControlQueues + 1, ConsolePorts::kBuffers));
    ARIL_TRY(ports_.prepare(std::move(receive), std::move(transmit)));
  }
  receive_ = ARIL_TRY(make_queue(first_queue_, kReceiveBuffers));
  transmit_ = ARIL_TRY(make_queue(first_queue_ + 1, kTransmitBuffers));
  ARIL_TRY(receive_pool_.allocate(kReceiveBuffers, kReceiveSize));
  ARIL_TRY(transmit_pool_.allocate(kTransmitBuffers, kTransmitSize));
  for (uint8_t i = 0; i < kTransmitBuffers; ++i) free_buffers_[free_count_++] = i;
  for (unsigned i = 0; i < receive_->size(); ++i) give_back(i);
  transmit_->disarm_interrupt();
  set_live();
  if (receive_->publish()) receive_->notify();
  if (has_ports) return ports_.open(kGenericPort);
  return {};
}

void ConsoleDriver::give_back(unsigned buffer) {
  Virtqueue::Buffer whole{receive_pool_.physical(buffer), kReceiveSize};
  if (std::optional<uint16_t> head = receive_->add({}, {&whole, 1}))
    receive_buffer_of_head_[*head] = static_cast<uint8_t>(buffer);
}

/// Makes the next buffer with input the current one; false, and the interrupt armed, when there is
/// none.
bool ConsoleDriver::advance_locked() {
  for (;;) {
    std::optional<Virtqueue::Used> used = receive_->take_used();
    if (!used) {
      if (receive_->is_broken() || receive_->arm_interrupt()) return false;
      continue;
    }
    current_ = receive_buffer_of_head_[used->head];
    position_ = 0;
    length_ = used->length;
    if (length_ != 0) return true;
    give_back(current_);
  }
}

size_t ConsoleDriver::read_available(std::span<std::byte> bytes) {
  size_t taken = 0;
  bool kick, is_broken;
  {
    LockGuard guard(receive_lock_);
    if (has_failed()) return 0;
    while (taken < bytes.size()) {
      if (position_ == length_ && !advance_locked()) break;
      size_t part = std::min(bytes.size() - taken, length_ - position_);
      std::memcpy(bytes.data() + taken, receive_pool_.data(current_) + position_, part);
      taken += part;
      position_ += part;
      if (position_ == length_) give_back(current_);
    }
    kick = receive_->publish();
    is_broken = receive_->is_broken();
  }
  if (kick) receive_->notify();
  if (is_broken) broken();
  return taken;
}

void ConsoleDriver::set_receive_callback(void (*callback)(void*), void* context) {
  callback_context_ = context;
  // Release: the interrupt handler that sees the function sees its context.
  callback_.store(callback, std::memory_order_release);
  // What came before has interrupted already.
  arch::InterruptGuard as_in_an_interrupt;
  if (callback != nullptr && receive_->has_used()) callback(context);
}

void ConsoleDriver::reclaim_locked() {
  while (std::optional<Virtqueue::Used> used = transmit_->take_used())
    free_buffers_[free_count_++] = transmit_buffer_of_head_[used->head];
}

size_t ConsoleDriver::queue_locked(std::span<const std::byte> bytes) {
  if (free_count_ == 0) reclaim_locked();
  if (free_count_ == 0 || transmit_->free_descriptors() == 0) return 0;
  uint8_t buffer = free_buffers_[free_count_ - 1];
  size_t length = std::min(bytes.size(), kTransmitSize);
  std::memcpy(transmit_pool_.data(buffer), bytes.data(), length);
  Virtqueue::Buffer part{transmit_pool_.physical(buffer), static_cast<uint32_t>(length)};
  std::optional<uint16_t> head = transmit_->add({&part, 1}, {});
  if (!head) return 0;
  --free_count_;
  transmit_buffer_of_head_[*head] = buffer;
  return length;
}

Result<void> ConsoleDriver::write(std::span<const std::byte> bytes) {
  LockGuard whole_write(write_mutex_);
  while (!bytes.empty()) {
    auto queue_some = [&] {
      bool progress = false, kick;
      {
        LockGuard guard(transmit_lock_);
        do {
          while (!bytes.empty()) {
            size_t queued = queue_locked(bytes);
            if (queued == 0) break;
            bytes = bytes.subspan(queued);
            progress = true;
          }
          // An interrupt is only asked for when there is a reason to sleep: told when half of the
          // buffers are back. One that came back meanwhile is used at once.
        } while (!progress && !transmit_->is_broken() &&
                 !transmit_->arm_interrupt(transmit_->outstanding() / 2));
        if (progress) transmit_->disarm_interrupt();
        progress = progress || transmit_->is_broken() || has_failed();
        kick = transmit_->publish();
      }
      if (kick) transmit_->notify();
      return progress;
    };
    ARIL_TRY(room_.wait_until(queue_some, Instant::never(), Interruptible::kNo));
    if (transmit_->is_broken()) broken();
    if (has_failed()) return fail(Errno::kIo);
  }
  return {};
}

void ConsoleDriver::on_queue_interrupt(unsigned queue) {
  if (queue == first_queue_ + 1) {
    room_.wake_all();
    return;
  }
  if (queue != first_queue_ || !receive_->has_used()) return;
  if (auto callback = callback_.load(std::memory_order_acquire); callback != nullptr)
    callback(callback_context_);
}

void ConsoleDriver::broken() {
  fail_device("the console broke the ring protocol");
  on_failed();
}

void ConsoleDriver::on_failed() { room_.wake_all(); }

}  // namespace aril::virtio
