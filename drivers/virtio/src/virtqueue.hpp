#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "dma_pool.hpp"
#include "spec.hpp"
#include "transport.hpp"

namespace aril::virtio {

/// A split virtqueue [virtio-1.2] 2.7.
///
/// The driver adds chains of buffers, publishes them, and takes back the ones that the device has
/// used. All bookkeeping is in private memory: the shared rings are only written, except for what
/// the device owns, which is checked. A device that breaks the protocol makes the queue broken: it
/// yields nothing more, and the driver resets the device.
///
/// Not synchronised: the driver's lock guards it. But has_used() may be called by anyone, and one
/// thread may arm and disarm the interrupt while another adds, publishes and takes.
class Virtqueue {
 public:
  struct Buffer {
    PhysicalAddress address;
    uint32_t length;
  };

  /// Memory for one chain's descriptors, in RAM that outlives the request [virtio-1.2] 2.7.5.3.
  struct IndirectTable {
    std::span<Descriptor> entries;
    PhysicalAddress address;
  };

  /// A chain that came back. `length`: bytes that the device says it wrote from the start of the
  /// writable buffers; never more than they hold (an impossible length is counted and becomes 0).
  struct Used {
    uint16_t head;
    uint32_t length;
  };

  /// What the device did wrong so far.
  struct Violations {
    uint32_t index = 0;   ///< used index ran past what was published
    uint32_t id = 0;      ///< an id that is not outstanding
    uint32_t length = 0;  ///< more bytes written than fit
  };

  /// Allocates the rings and starts the queue with at most `max_size` entries (a power of two).
  /// kNoDev when the device has no such queue, kNoMem.
  static Result<std::unique_ptr<Virtqueue>> create(Transport& transport, unsigned index,
                                                   uint16_t max_size, uint64_t features);
  /// The device must have been reset.
  ~Virtqueue();
  Virtqueue(const Virtqueue&) = delete;
  Virtqueue& operator=(const Virtqueue&) = delete;

  [[nodiscard]] uint16_t size() const { return size_; }
  [[nodiscard]] uint16_t free_descriptors() const { return free_count_; }
  /// Chains that were added and have not come back.
  [[nodiscard]] uint16_t outstanding() const { return outstanding_; }

  /// Chains that were added since the last publish().
  [[nodiscard]] uint16_t unpublished() const {
    return static_cast<uint16_t>(next_available_ - published_);
  }

  /// Adds one chain, of at least one buffer; device-readable buffers come first. Its id, by which
  /// take_used names it, or nothing when there are too few free descriptors.
  std::optional<uint16_t> add(std::span<const Buffer> readable, std::span<const Buffer> writable);
  /// The same with one descriptor of the ring, the rest in `table`, which must be large enough.
  std::optional<uint16_t> add_indirect(IndirectTable table, std::span<const Buffer> readable,
                                       std::span<const Buffer> writable);

  /// Shows the device everything added so far. True when it asked to be told: notify().
  [[nodiscard]] bool publish();
  void notify() { transport_.notify(index_); }

  /// The next chain that the device has finished with; its descriptors are free again.
  std::optional<Used> take_used();
  /// Something is waiting for take_used. Any context.
  [[nodiscard]] bool has_used() const;
  /// The device has used everything that was published. For the end of the machine, without locks.
  [[nodiscard]] bool is_drained() const;

  /// Asks for one interrupt when more than `after` further chains have been used. False when that
  /// is so already (the interrupt may still come).
  [[nodiscard]] bool arm_interrupt(uint16_t after = 0);
  /// Asks for no interrupts; one may still come.
  void disarm_interrupt();

  [[nodiscard]] bool is_broken() const { return broken_; }
  [[nodiscard]] const Violations& violations() const { return violations_; }

 private:
  /// Private state of one descriptor.
  struct Slot {
    uint16_t next;      ///< the free list, or the rest of its chain
    uint16_t count;     ///< of a chain's head: its descriptors; else 0
    uint32_t capacity;  ///< of a chain's head: its writable bytes
  };

  Virtqueue(Transport& transport, unsigned index, uint16_t size, bool event_index);
  Result<void> allocate();
  uint16_t take_descriptor();
  void make_available(uint16_t head, uint16_t count, uint32_t capacity);

  using SharedIndex = std::atomic_ref<uint16_t>;
  [[nodiscard]] SharedIndex available_flags() const { return SharedIndex(available_[0]); }
  [[nodiscard]] SharedIndex available_index() const { return SharedIndex(available_[1]); }
  [[nodiscard]] SharedIndex used_event() const { return SharedIndex(available_[2 + size_]); }
  [[nodiscard]] SharedIndex used_flags() const { return SharedIndex(used_[0]); }
  [[nodiscard]] SharedIndex used_index() const { return SharedIndex(used_[1]); }
  [[nodiscard]] SharedIndex available_event() const { return SharedIndex(used_[2 + size_ * 4]); }

  Transport& transport_;
  const uint16_t index_;
  const uint16_t size_;
  const bool event_index_;
  bool broken_ = false;
  bool interrupt_armed_ = true;  // as the zeroed ring says
  uint16_t free_head_ = 0;
  uint16_t free_count_;
  uint16_t outstanding_ = 0;
  uint16_t next_available_ = 0;
  uint16_t published_ = 0;
  /// How far take_used has come. Written by it alone, read by who arms the interrupt meanwhile.
  std::atomic<uint16_t> last_used_{0};
  Violations violations_;
  std::unique_ptr<Slot[]> slots_;

  DmaBlock memory_;
  Descriptor* descriptors_ = nullptr;
  /// [virtio-1.2] 2.7.6: flags, idx, ring[size], used_event.
  uint16_t* available_ = nullptr;
  /// [virtio-1.2] 2.7.8: flags, idx, ring[size] of {id, len} as 32-bit words, avail_event.
  uint16_t* used_ = nullptr;
};

}  // namespace aril::virtio
