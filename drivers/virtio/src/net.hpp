#pragma once
#include <array>
#include <memory>
#include <span>

#include "dma_pool.hpp"
#include "driver.hpp"
#include "kernel/io/devices.hpp"
#include "kernel/sync/spin_lock.hpp"

namespace aril::virtio {

/// virtio-net [virtio-1.2] 5.1, one pair of queues.
///
/// Receive: fixed buffers of 2 KiB that the ring always holds, except while their frame is in the
/// sink's hands. A frame that spans several buffers (merged TCP segments) is put together in one
/// staging buffer. Single caller, so without a lock.
///
/// Transmit: each frame takes a slot: a 2 KiB buffer that begins with the device's header. Small
/// frames and frames without `release` are copied into it; of the others only the protocol headers
/// are, and their payload is sent from where it lies. Finished frames are reclaimed when slots run
/// short and on every poll, so that sending needs no interrupts; only a full ring asks for one.
class NetDriver final : public Driver, public NetDevice {
 public:
  /// How much memory the device gets. Powers of two.
  struct Sizes {
    uint16_t receive_buffers;
    uint16_t transmit_slots;
    bool merge_segments;  ///< accept frames of up to 64 KiB, which needs the staging buffer
  };
  static Sizes sizes_for(size_t total_ram);

  /// What went wrong or was dropped.
  struct Counters {
    uint64_t receive_errors = 0;  ///< frames with impossible lengths or headers
    uint64_t transmit_full = 0;   ///< transmit() calls that found no room
  };

  NetDriver(std::unique_ptr<Transport> transport, Sizes sizes)
      : Driver(std::move(transport)), sizes_(sizes) {}
  ~NetDriver() override { abandon(); }

  Result<void> start() override;
  void on_queue_interrupt(unsigned queue) override;

  MacAddress mac() const override { return mac_; }
  uint32_t mtu() const override { return mtu_; }
  NetOffload offloads() const override { return offloads_; }
  bool link_up() const override {
    return link_up_.load(std::memory_order_relaxed) && !has_failed();
  }
  Result<void> transmit(const TxFrame& frame, void (*release)(void*), void* context) override;
  void flush_transmit() override;
  unsigned poll_receive(unsigned budget, Sink sink, void* context) override;
  bool arm_interrupt() override;
  void set_callback(void (*callback)(void*), void* context) override;

  [[nodiscard]] Counters counters() const { return counters_; }

 private:
  static constexpr unsigned kReceiveQueue = 0, kTransmitQueue = 1;
  static constexpr size_t kBufferSize = 2048;
  static constexpr size_t kMaxFrame = 65536 + 14;
  static constexpr size_t kEthernetHeader = 14;
  /// What a slot holds behind the device's header.
  static constexpr size_t kSlotPayload = kBufferSize - sizeof(NetHeader);
  /// Frames up to this are copied even with `release`: cheaper than more descriptors.
  static constexpr size_t kCopyLimit = 512;
  /// Pieces of one frame sent by reference; a frame with more is copied.
  static constexpr size_t kMaxPieces = 40;

  /// Not initialised by itself: a batch of them lies on the stack for every frame that is sent.
  struct Release {
    void (*function)(void*);
    void* context;
  };
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

  void on_failed() override { wake(); }
  void on_config_change() override;
  void wake();
  void read_config();
  Result<void> allocate();
  void broken(const char* what);

  // Receive.
  void give_back(unsigned buffer);
  void receive_one(Virtqueue::Used used, Sink sink, void* context);
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
  /// Releases the frames that a stopped device will never finish.
  void abandon();

  const Sizes sizes_;
  MacAddress mac_{};
  uint32_t mtu_ = 1500;
  NetOffload offloads_ = NetOffload::kNone;
  bool merge_buffers_ = false;
  std::atomic<bool> link_up_{true};

  std::atomic<void (*)(void*)> callback_{nullptr};
  void* callback_context_ = nullptr;
  std::atomic<bool> receive_armed_{false};
  /// transmit() found no room and nobody has been told of room since.
  std::atomic<bool> transmit_blocked_{false};
  /// While blocked: an interrupt will tell of room. Under transmit_lock_.
  bool transmit_armed_ = false;

  DmaPool receive_pool_;
  std::unique_ptr<uint16_t[]> buffer_of_head_;
  std::unique_ptr<std::byte[]> staging_;
  size_t staging_size_ = 0;
  std::unique_ptr<Virtqueue> receive_;

  SpinLock transmit_lock_{LockRank::kDevice};
  DmaPool transmit_pool_;
  std::unique_ptr<TransmitSlot[]> slots_;
  std::unique_ptr<uint16_t[]> slot_of_head_;
  std::unique_ptr<uint16_t[]> free_slots_;
  uint16_t free_slot_count_ = 0;
  std::unique_ptr<Virtqueue> transmit_;

  Counters counters_;
};

}  // namespace aril::virtio
