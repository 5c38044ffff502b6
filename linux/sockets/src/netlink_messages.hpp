#pragma once
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>

#include "net/runtime/runtime.hpp"
#include "net/socket/socket.hpp"

/// The messages of NETLINK_ROUTE [rtnetlink(7)].
namespace aril::linux_abi::netlink {

/// struct nlmsghdr.
struct NetlinkHeader {
  uint32_t length;
  uint16_t type;
  uint16_t flags;
  uint32_t sequence;
  uint32_t port;
};
/// struct ifinfomsg.
struct LinkMessage {
  uint8_t family, padding;
  uint16_t type;
  int32_t index;
  uint32_t flags, change;
};
/// struct ifaddrmsg.
struct AddressMessage {
  uint8_t family, prefix_length, flags, scope;
  uint32_t index;
};
/// struct rtmsg.
struct RouteMessage {
  uint8_t family, destination_length, source_length, type_of_service;
  uint8_t table, protocol, scope, type;
  uint32_t flags;
};
/// struct rtattr.
struct Attribute {
  uint16_t length;
  uint16_t type;
};
/// struct sockaddr_nl.
struct NetlinkAddress {
  uint16_t family = std::to_underlying(net::Family::kNetlink);
  uint16_t padding = 0;
  uint32_t port = 0;
  uint32_t groups = 0;
};

inline constexpr uint16_t kError = 2, kDone = 3, kMulti = 2, kRequest = 1, kAcknowledge = 4,
                          kDump = 0x300;
inline constexpr uint16_t kNewLink = 16, kGetLink = 18, kNewAddress = 20, kDeleteAddress = 21,
                          kGetAddress = 22, kNewRoute = 24, kDeleteRoute = 25, kGetRoute = 26,
                          kNewNeighbour = 28, kGetNeighbour = 30;
inline constexpr uint32_t kUp = 1, kBroadcast = 2, kLoopback = 8, kRunning = 0x40,
                          kMulticast = 0x1000, kLowerUp = 0x10000;

/// Netlink messages, each aligned to 4, of one answer.
class AnswerWriter {
 public:
  /// `presence`: that what is described is no more makes other messages of it.
  AnswerWriter(uint32_t sequence, uint32_t port, net::Presence presence = net::Presence::kThere)
      : sequence_(sequence), port_(port), presence_(presence) {}

  template <typename Body>
  void begin(uint16_t type, uint16_t flags, const Body& body) {
    start_ = text_.size();
    // RTM_DELLINK follows RTM_NEWLINK, and so on.
    if (presence_ == net::Presence::kGone) ++type;
    put(NetlinkHeader{0, type, flags, sequence_, port_});
    put(body);
  }
  template <typename Value>
  void attribute(uint16_t type, const Value& value) {
    bytes(type, std::as_bytes(std::span(&value, 1)));
  }
  void bytes(uint16_t type, std::span<const std::byte> value) {
    put(Attribute{static_cast<uint16_t>(sizeof(Attribute) + value.size()), type});
    text_.append(reinterpret_cast<const char*>(value.data()), value.size());
    text_.resize(align_up(text_.size(), 4));
  }
  void text(uint16_t type, std::string_view value) {
    std::string terminated(value);
    bytes(type, std::as_bytes(std::span(terminated.c_str(), terminated.size() + 1)));
  }
  void finish() {
    auto length = static_cast<uint32_t>(text_.size() - start_);
    memcpy(text_.data() + start_, &length, sizeof(length));
  }
  [[nodiscard]] size_t size() const { return text_.size(); }
  std::string take() { return std::move(text_); }

 private:
  template <typename T>
  void put(const T& value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  std::string text_;
  size_t start_ = 0;
  uint32_t sequence_, port_;
  net::Presence presence_;
};

/// struct ndmsg.
struct NeighbourMessage {
  uint8_t family, padding;
  uint16_t padding2;
  int32_t index;
  uint16_t state;
  uint8_t flags, type;
};

inline constexpr uint8_t kInet = std::to_underlying(net::Family::kInet),
                         kInet6 = std::to_underlying(net::Family::kInet6);
inline constexpr uint8_t kMainTable = 254, kLocalTable = 255;

/// A request's attributes, behind its body: total, whatever the bytes are.
class Attributes {
 public:
  explicit Attributes(std::span<const std::byte> bytes) : bytes_(bytes) {}
  /// The value of the first attribute of a type.
  [[nodiscard]] std::optional<std::span<const std::byte>> find(uint16_t type) const;
  [[nodiscard]] std::optional<uint32_t> number(uint16_t type) const;
  /// Of four bytes, or of sixteen.
  [[nodiscard]] std::optional<net::IpAddress> address(uint16_t type) const;
  [[nodiscard]] std::string_view text(uint16_t type) const;

 private:
  std::span<const std::byte> bytes_;
};

/// `flags`: kMulti in an answer of several messages.
void describe_link(AnswerWriter& out, const net::Interface& interface, uint16_t flags = kMulti);
void describe_address(AnswerWriter& out, const net::Interface& interface,
                      const net::InterfaceAddress& address, uint16_t flags = kMulti);
void describe_address(AnswerWriter& out, const net::Interface& interface,
                      const net::Ipv6InterfaceAddress& address, Instant now,
                      uint16_t flags = kMulti);
void describe_route(AnswerWriter& out, const net::RouteEntry& route, uint16_t flags = kMulti);
void describe_neighbour(AnswerWriter& out, const net::NeighbourView& neighbour,
                        uint16_t flags = kMulti);

/// RTM_NEWADDR, RTM_DELADDR, RTM_NEWROUTE and RTM_DELROUTE; under the stack's lock. kInval, kNoDev,
/// kSrch, kExist, kNoSpc, kOpNotSupp for other types.
Result<void> change(net::IpLayer& ip, uint16_t type, std::span<const std::byte> body);
/// RTM_GETROUTE of one destination, RTM_GETLINK of one link. As change().
Result<void> look_up(net::IpLayer& ip, uint16_t type, std::span<const std::byte> body,
                     AnswerWriter& out);

}  // namespace aril::linux_abi::netlink
