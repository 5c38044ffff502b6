#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "base/flags.hpp"
#include "base/result.hpp"
#include "kernel/memory/page.hpp"

namespace aril {

/// A disk. Implemented by drivers/, used by fs/.
class BlockDevice {
 public:
  virtual ~BlockDevice() = default;
  static constexpr size_t kSectorSize = 512;
  [[nodiscard]] virtual uint64_t sector_count() const = 0;
  [[nodiscard]] virtual bool is_read_only() const = 0;
  [[nodiscard]] virtual std::string_view name() const = 0;  ///< "vda"

  /// A piece of physically contiguous RAM, a multiple of 512 bytes.
  struct Segment {
    PhysicalAddress address;
    uint32_t length;
  };
  /// Reads or writes consecutive sectors; sleeps until done. kIo, kInval past the end. Any number
  /// of threads at once.
  virtual Result<void> read(uint64_t sector, std::span<const Segment> segments) = 0;
  virtual Result<void> write(uint64_t sector, std::span<const Segment> segments) = 0;
  /// Earlier writes are on stable storage when it returns.
  virtual Result<void> flush() = 0;
};

/// A channel to a server on the host that answers each message with one message (9P). Implemented
/// by drivers/, used by fs/.
class MessageDevice {
 public:
  virtual ~MessageDevice() = default;
  /// What the machine's owner calls it: tells several apart.
  [[nodiscard]] virtual std::string_view tag() const = 0;
  using Segment = BlockDevice::Segment;  ///< any length here
  /// Sends a message, and sleeps until its answer is in `answer`: how many bytes the server wrote
  /// there, never more than fit. kIo when the device fails. Any number of threads at once.
  virtual Result<size_t> exchange(std::span<const Segment> message,
                                  std::span<const Segment> answer) = 0;
  /// The most segments of both together.
  static constexpr size_t kMaxSegments = 60;
};

using MacAddress = std::array<uint8_t, 6>;

enum class NetOffload : uint32_t {
  kNone = 0,
  kTxChecksum = 1,  ///< the device fills in TCP/UDP checksums
  kTsoIpv4 = 2,     ///< the device cuts TCP segments of up to 64 KiB
  kTsoIpv6 = 4,
  kRxChecksum = 8,  ///< the device may mark checksums as already verified
  kRxGro = 16,      ///< the device may deliver merged TCP segments of up to 64 KiB
  kUfo = 32,        ///< the device cuts UDP datagrams of up to 64 KiB into fragments
};
ARIL_FLAG_OPERATORS(NetOffload);

/// One Ethernet frame to send: header bytes, then payload pieces by reference.
struct TxFrame {
  struct Piece {
    const std::byte*
        data;  ///< direct-map or kernel-heap memory, physically contiguous in the piece
    uint32_t length;
  };
  std::span<const Piece> pieces;
  /// With kTxChecksum: where the checksummed part starts, and where in it the sum goes (which holds
  /// the pseudo-header's sum already). 0 start: nothing to do.
  uint16_t checksum_start = 0, checksum_offset = 0;
  /// With kTso* and kUfo: bytes per segment, or of each fragment behind the IP header (a multiple
  /// of 8), and the length of all headers. 0: the frame stays whole.
  uint16_t segment_size = 0, header_length = 0;
  bool is_ipv6 = false;
  bool is_datagram = false;  ///< of UDP, with kUfo
  /// Of the device's transmit queues.
  uint8_t queue = 0;
};

enum class RxChecksum : uint8_t { kUnknown, kVerified };

/// A frame that arrived; its bytes are the device's, and there during the call only. Not
/// initialised by itself: a batch of them lies on the stack of everyone who polls.
struct RxFrame {
  const std::byte* data;
  uint32_t length;
  RxChecksum checksum;
  [[nodiscard]] std::span<const std::byte> bytes() const { return {data, length}; }
};

/// An Ethernet interface. Implemented by drivers/, used by net/.
///
/// It has one pair of queues, or one for each of several CPUs: then each pair has a poller of its
/// own, any CPU may transmit by any of them, and what leaves by one keeps its order.
class NetDevice {
 public:
#ifdef ARIL_TINY
  static constexpr unsigned kMaxQueues = 1;
#else
  static constexpr unsigned kMaxQueues = 8;
#endif
  virtual ~NetDevice() = default;
  /// Pairs in use: 1 to kMaxQueues, fixed when the device has started. Pair i is CPU i's: its
  /// interrupts go there where the machine can direct them.
  [[nodiscard]] virtual unsigned queue_count() const { return 1; }
  [[nodiscard]] virtual MacAddress mac() const = 0;
  [[nodiscard]] virtual uint32_t mtu()
      const = 0;  ///< of IP packets: 1500 unless the device says more
  [[nodiscard]] virtual NetOffload offloads() const = 0;
  [[nodiscard]] virtual bool link_up() const = 0;

  /// Queues one frame; its bytes are copied or sent before the call returns unless `release` is
  /// given, which is then called with `context` when the device is done with the pieces. kAgain
  /// when the ring is full (a later room callback tells when to go on). Thread context.
  virtual Result<void> transmit(const TxFrame& frame, void (*release)(void*) = nullptr,
                                void* context = nullptr) = 0;
  /// Tells the device about a queue's frames: one notification for a batch.
  virtual void flush_transmit(unsigned queue) = 0;

  /// Hands received frames, about `budget` of them, to `sink` in batches, and takes the buffers of
  /// each back when it returns. The count. Thread context, one caller at a time for each queue.
  using Sink = void (*)(void* context, std::span<const RxFrame> frames);
  virtual unsigned poll_receive(unsigned queue, unsigned budget, Sink sink, void* context) = 0;
  /// Lets the queue's receive (and, when transmit returned kAgain, transmit) interrupts call its
  /// callback once, in interrupt context, when something is there; false when something already is:
  /// poll again.
  virtual bool arm_interrupt(unsigned queue) = 0;
  virtual void set_callback(unsigned queue, void (*callback)(void*), void* context) = 0;

  /// Frames that passed a pair of queues since the start.
  struct QueueCounters {
    uint64_t received = 0, sent = 0;
  };
  [[nodiscard]] virtual QueueCounters queue_counters(unsigned /*queue*/) const { return {}; }
};

/// A byte channel to the host (virtio-console port, serial line). Implemented by drivers/.
class CharDevice {
 public:
  virtual ~CharDevice() = default;
  /// Sends all bytes; sleeps while the device is full. Thread context.
  virtual Result<void> write(std::span<const std::byte> bytes) = 0;
  /// Takes what has arrived, without sleeping; 0 when nothing has.
  virtual size_t read_available(std::span<std::byte> bytes) = 0;
  /// Called in interrupt context when bytes have arrived.
  virtual void set_receive_callback(void (*callback)(void*), void* context) = 0;
};

}  // namespace aril
