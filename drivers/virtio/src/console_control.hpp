#pragma once
#include <array>
#include <memory>

#include "dma_pool.hpp"
#include "virtqueue.hpp"

namespace aril::virtio {

/// The control queues of a console with several ports [virtio-1.2] 5.3.6.2: what it takes to open
/// one. Used while the driver starts, by one thread; later messages of the device (ports that come,
/// that the host opens or closes) change nothing and stay where they are.
class ConsolePorts {
 public:
  static constexpr uint16_t kBuffers = 4;

  /// Takes the queues over; before the device is live. kNoMem.
  Result<void> prepare(std::unique_ptr<Virtqueue> receive, std::unique_ptr<Virtqueue> transmit);
  /// Once the device is live: waits until it has announced the port, and opens it. kNoDev when it
  /// does not within a tenth of a second.
  Result<void> open(uint32_t port);

 private:
  /// Messages may have a name behind them.
  static constexpr size_t kBufferSize = 64;

  void give_back(uint8_t buffer);
  Result<void> send(uint32_t port, uint16_t event);
  Result<void> wait_for_announcement(uint32_t port);

  DmaPool pool_;  ///< kBuffers to receive into, then one to send from
  std::unique_ptr<Virtqueue> receive_, transmit_;
  std::array<uint8_t, kBuffers> buffer_of_head_{};
};

}  // namespace aril::virtio
