#include "console_control.hpp"

#include <cstring>

#include "arch/cpu.hpp"
#include "kernel/sched/timer.hpp"
#include "spec.hpp"

namespace aril::virtio {
namespace {

constexpr Duration kPatience = Duration::milliseconds(100);

}  // namespace

Result<void> ConsolePorts::prepare(std::unique_ptr<Virtqueue> receive,
                                   std::unique_ptr<Virtqueue> transmit) {
  receive_ = std::move(receive);
  transmit_ = std::move(transmit);
  ARIL_TRY(pool_.allocate(kBuffers + 1, kBufferSize));
  receive_->disarm_interrupt();
  transmit_->disarm_interrupt();
  for (uint8_t i = 0; i < receive_->size() && i < kBuffers; ++i) give_back(i);
  return {};
}

void ConsolePorts::give_back(uint8_t buffer) {
  Virtqueue::Buffer whole{pool_.physical(buffer), kBufferSize};
  if (std::optional<uint16_t> head = receive_->add({}, {&whole, 1}))
    buffer_of_head_[*head] = buffer;
}

Result<void> ConsolePorts::open(uint32_t port) {
  if (receive_->publish()) receive_->notify();
  ARIL_TRY(send(0, kConsoleDeviceReady));
  ARIL_TRY(wait_for_announcement(port));
  ARIL_TRY(send(port, kConsolePortReady));
  return send(port, kConsolePortOpen);
}

Result<void> ConsolePorts::send(uint32_t port, uint16_t event) {
  const ConsoleControl message{.port = port, .event = event, .value = 1};
  std::memcpy(pool_.data(kBuffers), &message, sizeof message);
  Virtqueue::Buffer part{pool_.physical(kBuffers), sizeof message};
  if (!transmit_->add({&part, 1}, {})) return fail(Errno::kIo);
  if (transmit_->publish()) transmit_->notify();
  for (Instant deadline = now() + kPatience; !transmit_->take_used(); arch::relax()) {
    if (transmit_->is_broken() || now() > deadline) return fail(Errno::kIo);
  }
  return {};
}

Result<void> ConsolePorts::wait_for_announcement(uint32_t port) {
  for (Instant deadline = now() + kPatience; now() <= deadline; arch::relax()) {
    std::optional<Virtqueue::Used> used = receive_->take_used();
    if (receive_->is_broken()) return fail(Errno::kIo);
    if (!used) continue;
    const uint8_t buffer = buffer_of_head_[used->head];
    ConsoleControl message{};
    if (used->length >= sizeof message) {
      std::memcpy(&message, pool_.data(buffer), sizeof message);
    }
    give_back(buffer);
    if (receive_->publish()) receive_->notify();
    const bool announced =
        used->length >= sizeof message && message.event == kConsolePortAdd && message.port == port;
    if (announced) return {};
  }
  return fail(Errno::kNoDev);
}

}  // namespace aril::virtio
