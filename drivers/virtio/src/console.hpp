#pragma once
#include <array>
#include <atomic>
#include <memory>

#include "console_control.hpp"
#include "dma_pool.hpp"
#include "driver.hpp"
#include "kernel/io/devices.hpp"
#include "kernel/sched/mutex.hpp"
#include "kernel/sched/wait_queue.hpp"
#include "kernel/sync/spin_lock.hpp"

namespace aril::virtio {

/// virtio-console [virtio-1.2] 5.3: one line. A device with the MULTIPORT feature is used for its
/// port 1, a generic port: hosts hold such a port's output back when nobody takes it, where QEMU
/// throws a console port's away. Without the feature it is the console port 0.
///
/// Output is copied into buffers and is on its way when write() returns; drain() waits for the host
/// to have it. Input stays in the device's buffers until read_available() takes it, so a program
/// that does not read stops its host's writer.
class ConsoleDriver final : public Driver, public CharDevice {
 public:
  using Driver::Driver;

  Result<void> start() override;
  void on_queue_interrupt(unsigned queue) override;

  Result<void> write(std::span<const std::byte> bytes) override;
  size_t read_available(std::span<std::byte> bytes) override;
  void set_receive_callback(void (*callback)(void*), void* context) override;

  /// The host has taken everything that was written, or never will. Takes no lock.
  [[nodiscard]] bool is_drained() const { return has_failed() || transmit_->is_drained(); }

 private:
  /// [virtio-1.2] 5.3.2: receive queues; each is followed by its transmit queue.
  static constexpr unsigned kConsoleQueues = 0, kControlQueues = 2, kGenericQueues = 4;
  static constexpr unsigned kGenericPort = 1;
  static constexpr unsigned kReceiveBuffers = 4, kTransmitBuffers = 4;
  static constexpr size_t kReceiveSize = 1024, kTransmitSize = 2048;

  void give_back(unsigned buffer);
  [[nodiscard]] bool advance_locked();
  void reclaim_locked();
  [[nodiscard]] size_t queue_locked(std::span<const std::byte> bytes);
  void on_failed() override;
  void broken();

  /// The port's receive queue.
  unsigned first_queue_ = kConsoleQueues;
  ConsolePorts ports_;

  SpinLock receive_lock_{LockRank::kDevice};
  DmaPool receive_pool_;
  std::unique_ptr<Virtqueue> receive_;
  std::array<uint8_t, kReceiveBuffers> receive_buffer_of_head_{};
  /// The buffer that is being read out: bytes [position, length) of it are left.
  unsigned current_ = 0;
  size_t position_ = 0, length_ = 0;
  std::atomic<void (*)(void*)> callback_{nullptr};
  void* callback_context_ = nullptr;

  /// Keeps one write() together.
  Mutex write_mutex_{LockRank::kMutexLeaf};
  SpinLock transmit_lock_{LockRank::kDevice};
  WaitQueue room_;
  DmaPool transmit_pool_;
  std::unique_ptr<Virtqueue> transmit_;
  std::array<uint8_t, kTransmitBuffers> transmit_buffer_of_head_{};
  std::array<uint8_t, kTransmitBuffers> free_buffers_{};
  unsigned free_count_ = 0;
};

}  // namespace aril::virtio
