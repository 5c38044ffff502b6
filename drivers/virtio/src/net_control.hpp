#pragma once
#include <memory>

#include "dma_pool.hpp"
#include "virtqueue.hpp"

namespace aril::virtio {

/// A network device's control queue [virtio-1.2] 5.1.6.5, for the one command that it is given, by
/// the thread that starts it.
class NetControl {
 public:
  /// Commands under way: one.
  static constexpr uint16_t kQueueSize = 2;

  /// kNoMem.
  static Result<std::unique_ptr<NetControl>> create(std::unique_ptr<Virtqueue> queue);

  /// Once the device is live: from here on it uses `pairs` pairs of queues. Waits for its answer:
  /// kProto when it refuses, kTimedOut when it says nothing for seconds, kIo when it breaks the
  /// ring's protocol.
  Result<void> set_pairs(uint16_t pairs);

 private:
  explicit NetControl(std::unique_ptr<Virtqueue> queue) : queue_(std::move(queue)) {}

  std::unique_ptr<Virtqueue> queue_;
  DmaBlock memory_;
};

}  // namespace aril::virtio
