#pragma once
#include <array>
#include <memory>
#include <span>

#include "dma_pool.hpp"
#include "kernel/sync/spin_lock.hpp"
#include "net.hpp"

namespace aril::virtio {

/// A receive queue and a transmit queue of a network device.
///
/// Receive: fixed buffers of 2 KiB that the ring always holds, except while their frames are in the
/// sink's hands. A frame that spans several buffers (merged TCP segments) is put together in one
/// staging buffer. Single caller, so without a lock.
///
/// Transmit: each frame takes a slot: a 2 KiB buffer that begins with the device's header. Small
/// frames and frames without `release` are copied into it; of the others only the protocol headers
/// are, and their payload is sent from where it lies. Finished frames are reclaimed when slots run
/// short and on every poll, so that sending needs no interrupts; only a full ring asks for one.
class NetDriver::Pair {
 public:
  /// Not initialised by itself: a batch of them lies on the stack for every frame that is sent.
  struct Release {
    void (*function)(void*);
    void* context;
  };

  static constexpr size_t kBufferSize = 2048;
  /// What a buffer or slot holds behind the device's header.
  static constexpr size_t kSlotPayload = kBufferSize - sizeof(NetHeader);

  Pair(NetDriver& device, unsigned index)
      : device_(device), signal_(device.signals_[index]), index_(index) {}
  /// The device must have been reset.
  ~Pair() { abandon(); }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  /// Makes the queues and fills the receive ring; before the device is live.
  Result<void> prepare();
  /// When it is.
  void offer_buffers();

  Result<void> transmit(const TxFrame& frame, Release release);
  void flush_transmit();
  unsigned poll_receive(unsigned budget, Sink sink, void* context);
  bool arm_interrupt();
  /// Any context.
  [[nodiscard]] bool has_received() const { return receive_->has_used(); }
  /// Releases the frames that a stopped device will never finish.
  void abandon();

  uint64_t receive_errors = 0, transmit_full = 0;
  QueueCounters frames;

 private:
  /// Frames up to this are copied even with `release`: cheaper than more descriptors.
  static constexpr size_t kCopyLimit = 512;
  /// Pieces of one frame sent by reference; a frame with more is copied.
  static constexpr size_t kMaxPieces = 40;
  /// Chains of the receive ring that the sink gets at once.
  static constexpr unsigned kBatch = 16;

  /// Release calls collected under the lock, made after it.
  struct Releases {
    std::array<Release, 32> calls;
    size_t count = 0;
    void run() {
      for (size_t i = 0; i < count; ++i) calls[i].function(calls[i].context);
      count = 0;
    }
  };
  struct TransmitSlot {
    Release release = {};
    /// Heap memory of a large frame that had to be copied.
    std::unique_ptr<std::byte[]> copy;
  };

  Result<void> allocate();

  // Receive.
  void give_back(unsigned buffer);
  unsigned receive_batch(unsigned limit, Sink sink, void* context);
  [[nodiscard]] RxFrame read(const std::byte* data, size_t length, bool& is_staged);
  [[nodiscard]] std::span<const std::byte> merge(unsigned buffers,
                                                 std::span<const std::byte> first);

  // Transmit.
  [[nodiscard]] Result<NetHeader> make_header(const TxFrame& frame, size_t length) const;
  struct Outgoing;
  Result<void> prepare(const TxFrame& frame, Release release, Outgoing& out) const;
  [[nodiscard]] bool queue_locked(Outgoing& outgoing);
  [[nodiscard]] bool queue_when_full_locked(Outgoing& outgoing, Releases& releases);
  /// Takes finished frames back, as many as `releases` has room for; true when there are more.
  bool reclaim_locked(Releases& releases);
  void reclaim();

  NetDriver& device_;
  Signal& signal_;
  const unsigned index_;

  DmaPool receive_pool_;
  std::unique_ptr<uint16_t[]> buffer_of_head_;
  std::unique_ptr<std::byte[]> staging_;
  size_t staging_size_ = 0;
  std::unique_ptr<Virtqueue> receive_;

  SpinLock transmit_lock_{LockRank::kDevice};
  /// While blocked: an interrupt will tell of room. Under transmit_lock_.
  bool transmit_armed_ = false;
  DmaPool transmit_pool_;
  std::unique_ptr<TransmitSlot[]> slots_;
  std::unique_ptr<uint16_t[]> slot_of_head_;
  std::unique_ptr<uint16_t[]> free_slots_;
  uint16_t free_slot_count_ = 0;
  std::unique_ptr<Virtqueue> transmit_;
};

}  // namespace aril::virtio
