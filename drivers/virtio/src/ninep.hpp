#pragma once
#include <array>
#include <memory>
#include <span>

#include "dma_pool.hpp"
#include "driver.hpp"
#include "kernel/io/devices.hpp"
#include "kernel/sched/wait_queue.hpp"
#include "kernel/sync/spin_lock.hpp"

namespace aril::virtio {

/// virtio-9p [virtio-1.2] 5.9, one queue: each request is a chain of the message and room for its
/// answer. Any number of threads exchange at once, each asleep until its answer is there.
class NinepDriver final : public Driver, public MessageDevice {
 public:
  explicit NinepDriver(std::unique_ptr<Transport> transport) : Driver(std::move(transport)) {}

  Result<void> start() override;
  void on_queue_interrupt(unsigned queue) override;

  std::string_view tag() const override { return tag_.data(); }
  Result<size_t> exchange(std::span<const Segment> message,
                          std::span<const Segment> answer) override;

 private:
  static constexpr uint16_t kSlots = 16;  ///< requests under way at most

  /// A chain's descriptors. Four to a page.
  struct SlotMemory {
    std::array<Descriptor, 64> table;
  };
  static_assert(sizeof(SlotMemory) == 1024 && kMaxSegments <= 64);

  /// One exchange, on its caller's stack. Guarded by lock_.
  struct Request {
    bool done = false;
    bool failed = false;
    uint32_t length = 0;
  };

  [[nodiscard]] bool submit_locked(Request& request, std::span<const Virtqueue::Buffer> message,
                                   std::span<const Virtqueue::Buffer> answer);
  void on_failed() override;

  std::array<char, 64> tag_{};
  SpinLock lock_{LockRank::kDevice};
  /// Woken after every completion.
  WaitQueue progress_;
  DmaPool pool_;
  std::array<Request*, kSlots> request_of_slot_{};
  std::array<uint16_t, kSlots> free_slots_{};
  uint16_t free_slot_count_ = 0;
  std::unique_ptr<uint16_t[]> slot_of_head_;
  std::unique_ptr<Virtqueue> queue_;
};

}  // namespace aril::virtio
