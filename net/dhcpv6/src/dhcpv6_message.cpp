#include "net/dhcpv6/dhcpv6_message.hpp"

#include <algorithm>
#include <cstring>

#include "base/endian.hpp"
#include "net/wire/ipv6.hpp"

namespace aril::net {
namespace {

// [RFC 8415] 21
enum Option : uint16_t {
  kClientIdentifier = 1,
  kServerIdentifier = 2,
  kAddressAssociation = 3,  // IA_NA
  kAddress = 5,             // IAADDR
  kRequestOptions = 6,
  kPreference = 7,
  kElapsedTime = 8,
  kStatusCode = 13,
  kRapidCommit = 14,
  kNameServers = 23,  // [RFC 3646]
  kRefreshTime = 32,
  kSolicitMaximum = 82,
  kInformationMaximum = 83,
};

struct OptionHeader {
  Be<uint16_t> code, length;
};
struct AssociationHeader {
  Be<uint32_t> identifier, renew, rebind;
};
struct AddressHeader {
  Ipv6Bytes address;
  Be<uint32_t> preferred, valid;
};
static_assert(sizeof(AssociationHeader) == 12 && sizeof(AddressHeader) == 24);

/// One interface, one client, one association.
constexpr uint32_t kAssociation = 1;

/// DUID-LL: a virtual machine's address is all that it keeps from one boot to the next
/// [RFC 8415] 11.4.
struct HardwareIdentifier {
  Be<uint16_t> type = 3, hardware_type = 1;
  EthernetAddress address;
};
static_assert(sizeof(HardwareIdentifier) == 10);

template <typename T>
bool load(std::span<const std::byte>& from, T& value) {
  if (from.size() < sizeof value) return false;
  std::memcpy(&value, from.data(), sizeof value);
  from = from.subspan(sizeof value);
  return true;
}

// False when an option runs past the end, or the function says so.
template <typename Function>
bool for_each_option(std::span<const std::byte> bytes, Function function) {
  while (!bytes.empty()) {
    OptionHeader header;
    if (!load(bytes, header) || bytes.size() < header.length) return false;
    if (!function(header.code.get(), bytes.first(header.length))) return false;
    bytes = bytes.subspan(header.length);
  }
  return true;
}

bool is_usable(IpAddress address) {
  return !address.is_v4() && !address.is_unspecified() && !address.is_multicast() &&
         !address.is_loopback() && !address.is_link_local();
}

bool parse_status(Dhcpv6Message& message, std::span<const std::byte> body) {
  Be<uint16_t> code;
  if (!load(body, code)) return false;
  if (message.status == Dhcpv6Status::kSuccess)
    message.status = static_cast<Dhcpv6Status>(code.get());
  return true;
}

bool parse_address(Dhcpv6Message& message, std::span<const std::byte> body) {
  AddressHeader header;
  if (!load(body, header)) return false;
  IpAddress address = header.address.get();
  // [RFC 8415] 21.6: a preferred lifetime above the valid one makes the address void.
  if (message.address || !is_usable(address) || header.preferred > header.valid) return true;
  message.address = address;
  message.preferred = header.preferred;
  message.valid = header.valid;
  return for_each_option(body, [&](uint16_t code, std::span<const std::byte> inner) {
    return code != kStatusCode || parse_status(message, inner);
  });
}

bool parse_association(Dhcpv6Message& message, std::span<const std::byte> body) {
  AssociationHeader header;
  if (!load(body, header)) return false;
  if (header.identifier != kAssociation) return true;
  message.renew = header.renew;
  message.rebind = header.rebind;
  return for_each_option(body, [&](uint16_t code, std::span<const std::byte> inner) {
    if (code == kAddress) return parse_address(message, inner);
    return code != kStatusCode || parse_status(message, inner);
  });
}

void parse_name_servers(Dhcpv6Message& message, std::span<const std::byte> body) {
  for (Ipv6Bytes bytes;
       message.name_server_count < Dhcpv6Message::kMaxServers && load(body, bytes);) {
    IpAddress address = bytes.get();
    if (address.is_v4() || address.is_unspecified() || address.is_multicast()) continue;
    message.name_servers[message.name_server_count++] = address;
  }
}

class OptionWriter {
 public:
  explicit OptionWriter(std::span<std::byte> out) : out_(out) {}

  void put(uint16_t code, std::span<const std::byte> body) {
    append(OptionHeader{code, static_cast<uint16_t>(body.size())});
    std::ranges::copy(body, out_.begin() + static_cast<ptrdiff_t>(size_));
    size_ += body.size();
  }
  template <typename T>
  void put_value(uint16_t code, const T& value) {
    put(code, std::as_bytes(std::span(&value, 1)));
  }
  template <typename T>
  void append(const T& value) {
    std::memcpy(out_.data() + size_, &value, sizeof value);
    size_ += sizeof value;
  }
  [[nodiscard]] size_t size() const { return size_; }

 private:
  std::span<std::byte> out_;
  size_t size_ = 0;
};

}  // namespace

bool Dhcpv6Identifier::operator==(const Dhcpv6Identifier& other) const {
  return std::ranges::equal(view(), other.view());
}

std::optional<Dhcpv6Message> Dhcpv6Message::parse(std::span<const std::byte> bytes,
                                                  const EthernetAddress& hardware) {
  Be<uint32_t> start;
  if (!load(bytes, start)) return std::nullopt;
  Dhcpv6Message message;
  message.type = static_cast<Dhcpv6MessageType>(start >> 24);
  if (message.type != Dhcpv6MessageType::kAdvertise && message.type != Dhcpv6MessageType::kReply)
    return std::nullopt;
  message.transaction = start & 0xffffff;
  bool is_ours = false;
  auto take = [&](uint16_t code, std::span<const std::byte> body) {
    switch (code) {
      case kClientIdentifier: {
        HardwareIdentifier own{.address = hardware};
        is_ours = std::ranges::equal(body, std::as_bytes(std::span(&own, 1)));
        return is_ours;
      }
      case kServerIdentifier:
        if (body.size() > Dhcpv6Identifier::kMaxSize || message.server.length != 0) return false;
        std::ranges::copy(body, message.server.bytes.begin());
        message.server.length = static_cast<uint8_t>(body.size());
        return true;
      case kAddressAssociation:
        return parse_association(message, body);
      case kPreference:
        if (body.size() != 1) return false;
        message.preference = static_cast<uint8_t>(body[0]);
        return true;
      case kStatusCode:
        return parse_status(message, body);
      case kRapidCommit:
        message.is_rapid = true;
        return true;
      case kNameServers:
        parse_name_servers(message, body);
        return true;
      case kRefreshTime: {
        Be<uint32_t> seconds;
        if (!load(body, seconds)) return false;
        message.refresh = seconds;
        return true;
      }
      default:
        return true;
    }
  };
  if (!for_each_option(bytes, take) || !is_ours || message.server.length == 0) return std::nullopt;
  return message;
}

size_t Dhcpv6ClientMessage::write(std::span<std::byte, kMaxSize> out) const {
  OptionWriter writer(out);
  writer.append(Be<uint32_t>(static_cast<uint32_t>(type) << 24 | (transaction & 0xffffff)));
  writer.put_value(kClientIdentifier, HardwareIdentifier{.address = hardware});
  if (server != nullptr) writer.put(kServerIdentifier, server->view());
  int64_t hundredths = std::clamp<int64_t>(elapsed.ns / 10'000'000, 0, 0xffff);
  writer.put_value(kElapsedTime, Be<uint16_t>(static_cast<uint16_t>(hundredths)));
  if (type == Dhcpv6MessageType::kSolicit) writer.put(kRapidCommit, {});
  if (type != Dhcpv6MessageType::kInformationRequest) {
    size_t inner = address ? sizeof(OptionHeader) + sizeof(AddressHeader) : 0;
    writer.append(OptionHeader{uint16_t{kAddressAssociation},
                               static_cast<uint16_t>(sizeof(AssociationHeader) + inner)});
    writer.append(AssociationHeader{kAssociation, 0u, 0u});
    if (address) {
      AddressHeader body{};
      body.address = Ipv6Bytes::of(*address);
      writer.put_value(kAddress, body);
    }
  }
  if (type != Dhcpv6MessageType::kDecline) {
    // The maxima are to be asked for [RFC 8415] 18.2.1; ours are the defaults already.
    const Be<uint16_t> wanted[] = {uint16_t{kNameServers}, uint16_t{kRefreshTime},
                                   uint16_t{kSolicitMaximum}, uint16_t{kInformationMaximum}};
    writer.put(kRequestOptions, std::as_bytes(std::span(wanted)));
  }
  return writer.size();
}

}  // namespace aril::net
