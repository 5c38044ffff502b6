#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/flags.hpp"
#include "base/result.hpp"
#include "net/buffer/block.hpp"
#include "net/wire/address.hpp"
#include "net/wire/udp.hpp"

namespace aril::net {

/// Payload bytes by reference.
struct TxPiece {
  const std::byte* data = nullptr;
  uint32_t length = 0;
  /// Keeps the bytes alive: the sink shares it when it needs them after it returns. Null: it
  /// copies.
  Block* block = nullptr;
};

/// A frame that leaves the stack. Everything is valid during the call only.
struct TxPacket {
  std::span<const std::byte> header;  ///< Ethernet, IP and transport headers
  std::span<const TxPiece> payload;
  /// With kChecksum: the checksum is over the bytes from here on and goes to `checksum_offset`
  /// after here, where the pseudo-header's sum stands already. 0: complete.
  uint16_t checksum_start = 0, checksum_offset = 0;
  /// With kTso: payload bytes per segment. 0: one segment.
  uint16_t segment_size = 0;

  [[nodiscard]] size_t size() const {
    size_t total = header.size();
    for (const TxPiece& piece : payload) total += piece.length;
    return total;
  }
};

/// Where an interface's frames go. Frames that cannot be taken are dropped, and counted there.
class LinkSink {
 public:
  virtual void transmit(const TxPacket& packet) = 0;

 protected:
  ~LinkSink() = default;
};

enum class LinkFeatures : uint8_t {
  kNone = 0,
  kChecksum = 1,  ///< the link fills in transport checksums
  kTso = 2,       ///< the link cuts TCP segments of up to 64 KiB
};
ARIL_FLAG_OPERATORS(LinkFeatures);

struct InterfaceConfig {
  std::string_view name;  ///< at most 15 bytes
  EthernetAddress hardware = {};
  uint32_t mtu = 1500;
  LinkFeatures features = LinkFeatures::kNone;
};

struct InterfaceAddress {
  IpAddress address;
  uint8_t prefix_length = 0;

  [[nodiscard]] uint32_t mask() const {
    return prefix_length == 0 ? 0 : ~uint32_t{0} << (32 - prefix_length);
  }
  [[nodiscard]] bool contains(IpAddress other) const {
    return other.is_v4() && ((other.v4_value() ^ address.v4_value()) & mask()) == 0;
  }
  /// The directed broadcast address; a /31 or /32 has none [RFC 3021].
  [[nodiscard]] bool is_broadcast(IpAddress other) const {
    return prefix_length < 31 && other == IpAddress::v4(address.v4_value() | ~mask());
  }
};

/// One link and our addresses on it. Owned by IpLayer, lives as long.
class Interface {
 public:
  static constexpr size_t kMaxAddresses = 8;
  enum class Kind : uint8_t { kEthernet, kLoopback };

  Interface(uint32_t index, Kind kind, const InterfaceConfig& config, LinkSink* sink);

  [[nodiscard]] uint32_t index() const { return index_; }
  [[nodiscard]] std::string_view name() const { return {name_.data(), name_length_}; }
  [[nodiscard]] bool is_loopback() const { return kind_ == Kind::kLoopback; }
  [[nodiscard]] const EthernetAddress& hardware() const { return hardware_; }
  [[nodiscard]] uint32_t mtu() const { return mtu_; }
  void set_mtu(uint32_t mtu) { mtu_ = mtu; }
  [[nodiscard]] LinkFeatures features() const { return features_; }

  [[nodiscard]] std::span<const InterfaceAddress> addresses() const {
    return {addresses_.data(), address_count_};
  }
  [[nodiscard]] bool has_address(IpAddress address) const;
  [[nodiscard]] bool is_broadcast(IpAddress address) const;

  struct Statistics {
    uint64_t received_frames = 0, received_bytes = 0, sent_frames = 0, sent_bytes = 0;
    uint64_t receive_dropped = 0, send_dropped = 0;
  };
  [[nodiscard]] Statistics& statistics() { return statistics_; }

 private:
  friend class IpLayer;
  uint32_t index_;
  Kind kind_;
  uint8_t name_length_ = 0;
  uint8_t address_count_ = 0;
  std::array<char, 16> name_ = {};
  EthernetAddress hardware_;
  uint32_t mtu_;
  LinkFeatures features_;
  LinkSink* sink_;
  std::array<InterfaceAddress, kMaxAddresses> addresses_ = {};
  Statistics statistics_;
};

}  // namespace aril::net
