#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/packet_filter.hpp"
#include "base/poll_events.hpp"
#include "base/ref_ptr.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "net/buffer/packet.hpp"
#include "net/buffer/socket_observer.hpp"
#include "net/ip/ip_layer.hpp"

namespace aril::net {

class PacketLayer;

enum class PacketKind : uint8_t {
  kRaw,       ///< SOCK_RAW: with the link's header
  kDatagram,  ///< SOCK_DGRAM: without
};

/// A frame as a packet socket got it.
struct CapturedFrame {
  uint32_t interface = 0;
  FrameDirection direction = FrameDirection::kHost;
  bool is_loopback = false;
  uint16_t protocol = 0;  ///< EtherType
  EthernetAddress source = {};
  Instant received;
  PacketPtr packet;               ///< what the filter let through of it
  uint32_t length = 0;            ///< of the whole, from where the socket sees it
  bool checksum_pending = false;  ///< sent with a checksum that the device completes
};

/// Takes frames in place of the socket's queue: the memory that an application shares.
class CaptureRing {
 public:
  /// False: full.
  virtual bool put(const CapturedFrame& frame, std::span<const TxPiece> pieces,
                   size_t captured) = 0;
  [[nodiscard]] virtual bool has_frames() const = 0;

 protected:
  ~CaptureRing() = default;
};

/// An application's handle on links. Non-blocking; every method needs the stack's lock.
class PacketSocket final : public RefCounted {
 public:
  static constexpr uint16_t kEveryProtocol = 3;  ///< ETH_P_ALL

  /// Not for use: see PacketLayer::create_socket.
  PacketSocket(PacketLayer& layer, PacketKind kind, uint16_t protocol)
      : layer_(layer), kind_(kind), protocol_(protocol) {}
  ~PacketSocket();

  void set_observer(SocketObserver* observer) { observer_ = observer; }
  /// Null: the queue. The ring outlives the socket's close().
  void set_ring(CaptureRing* ring) { ring_ = ring; }

  /// Interface 0 is every one. kNoDev.
  Result<void> bind(uint32_t interface, uint16_t protocol);
  /// The whole frame, or what follows the link's header, for which `protocol` and `destination`
  /// are then needed. kNxIo without an interface, kMsgSize, kInval, kNoBufs.
  Result<size_t> send(std::span<const std::byte> bytes, uint32_t interface, uint16_t protocol,
                      const EthernetAddress& destination);
  /// kAgain.
  Result<CapturedFrame> receive();
  Result<const CapturedFrame*> peek();
  void close();

  /// Frames for which the program returns 0 are not seen; else as many bytes as it says.
  void set_filter(std::optional<PacketFilter> filter) { filter_ = std::move(filter); }
  [[nodiscard]] bool has_filter() const { return filter_.has_value(); }
  /// PACKET_MR_PROMISC, counted. kNoDev.
  Result<void> add_promiscuous(uint32_t interface);
  Result<void> drop_promiscuous(uint32_t interface);
  void set_receive_buffer(uint32_t bytes) { receive_buffer_ = bytes; }
  void set_ignores_outgoing(bool ignores) { ignores_outgoing_ = ignores; }

  [[nodiscard]] PollEvents events() const;
  [[nodiscard]] PacketKind kind() const { return kind_; }
  [[nodiscard]] uint32_t interface() const { return interface_; }
  [[nodiscard]] uint16_t protocol() const { return protocol_; }
  [[nodiscard]] size_t next_size() const { return queue_.empty() ? 0 : queue_[0].packet->size(); }
  /// PACKET_STATISTICS: counted since the last call.
  struct Statistics {
    uint32_t seen = 0, dropped = 0;
  };
  Statistics take_statistics() { return std::exchange(statistics_, {}); }

 private:
  friend class PacketLayer;
  static constexpr size_t kMaxPromiscuous = 16;
  void offer(Interface& interface, FrameDirection direction, const TxPacket& packet,
             const EthernetHeader& header);

  PacketLayer& layer_;
  SocketObserver* observer_ = nullptr;
  CaptureRing* ring_ = nullptr;
  const PacketKind kind_;
  uint16_t protocol_;
  uint32_t interface_ = 0;
  bool registered_ = false, ignores_outgoing_ = false;
  uint32_t receive_buffer_ = 212992, queued_bytes_ = 0;
  std::optional<PacketFilter> filter_;
  Ring<CapturedFrame, 2> queue_;
  Ring<uint32_t, 1> promiscuous_;  // interfaces
  Statistics statistics_;
  PacketSocket* next_ = nullptr;
};

}  // namespace aril::net
