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

/// virtio-blk [virtio-1.2] 5.2, one queue.
///
/// Any number of threads submit at once. A request is cut into chunks that the device accepts; each
/// takes a slot (header, status and descriptor table), several of one request may be under way
/// together. The submitting thread sleeps until its last chunk is done; the completion interrupt
/// gives the slots back and wakes.
class BlockDriver final : public Driver, public BlockDevice {
 public:
  /// `slots`: chunks under way at most. `index`: 0 is "vda".
  BlockDriver(std::unique_ptr<Transport> transport, uint16_t slots, unsigned index);

  Result<void> start() override;
  void on_queue_interrupt(unsigned queue) override;

  uint64_t sector_count() const override { return sectors_.load(std::memory_order_relaxed); }
  bool is_read_only() const override { return has(kBlockReadOnly); }
  std::string_view name() const override { return name_.data(); }
  Result<void> read(uint64_t sector, std::span<const Segment> segments) override;
  Result<void> write(uint64_t sector, std::span<const Segment> segments) override;
  Result<void> flush() override;

 private:
  static constexpr size_t kMaxSegments = 60;
  /// Bounds one chunk, so that a long request is pipelined.
  static constexpr uint32_t kMaxChunk = 1u << 20;

  /// What the device reads and writes besides the data. Four to a page.
  struct SlotMemory {
    std::array<Descriptor, kMaxSegments + 2> table;
    BlockHeader header;
    uint8_t status;
    std::array<std::byte, 15> padding;
  };
  static_assert(sizeof(SlotMemory) == 1024);

  /// One call of read, write or flush; on its caller's stack. Guarded by lock_.
  struct Request {
    unsigned pending = 0;
    bool failed = false;
  };

  /// The next part of a request: consecutive sectors in pieces that the device accepts.
  struct Chunk {
    std::array<Virtqueue::Buffer, kMaxSegments> pieces;
    size_t count = 0;
    uint32_t length = 0;
  };
  /// Walks over a request's segments.
  struct Cursor {
    std::span<const Segment> segments;
    uint32_t offset = 0;  ///< in the first of them
  };

  Result<void> transfer(uint32_t type, uint64_t sector, std::span<const Segment> segments);
  [[nodiscard]] Chunk next_chunk(Cursor& cursor) const;
  /// Sleeps until a slot is free.
  Result<void> submit(Request& request, uint32_t type, uint64_t sector, const Chunk& chunk);
  [[nodiscard]] bool submit_locked(Request& request, uint32_t type, uint64_t sector,
                                   const Chunk& chunk);
  Result<void> wait(Request& request);
  void complete_locked();
  void on_failed() override;
  void on_config_change() override;

  SlotMemory& memory(unsigned slot) {
    // The pool's buffers hold exactly this.
    return *reinterpret_cast<SlotMemory*>(pool_.data(slot));
  }

  const uint16_t slot_count_;
  std::array<char, 8> name_{};
  std::atomic<uint64_t> sectors_{0};
  uint32_t max_segments_ = 1;
  uint32_t max_segment_size_ = kMaxChunk;

  SpinLock lock_{LockRank::kDevice};
  /// Woken after every completion.
  WaitQueue progress_;
  DmaPool pool_;
  std::unique_ptr<Request*[]> request_of_slot_;
  std::unique_ptr<uint16_t[]> slot_of_head_;
  std::unique_ptr<uint16_t[]> free_slots_;
  uint16_t free_slot_count_ = 0;
  std::unique_ptr<Virtqueue> queue_;
};

}  // namespace aril::virtio
