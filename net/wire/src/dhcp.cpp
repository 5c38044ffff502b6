#include "net/wire/dhcp.hpp"

#include <algorithm>
#include <cstring>

namespace aril::net {
namespace {

// [RFC 2132]
enum Option : uint8_t {
  kPad = 0,
  kSubnetMask = 1,
  kRouter = 3,
  kDomainNameServer = 6,
  kHostName = 12,
  kInterfaceMtu = 26,
  kRequestedAddress = 50,
  kLeaseTime = 51,
  kMessageType = 53,
  kServerIdentifier = 54,
  kParameterRequest = 55,
  kMaxMessageSize = 57,
  kRenewalTime = 58,
  kRebindingTime = 59,
  kClientIdentifier = 61,
  kEnd = 255,
};

std::optional<uint32_t> load_u32(std::span<const std::byte> body) {
  if (body.size() < 4) return std::nullopt;
  Be<uint32_t> value;
  std::memcpy(&value, body.data(), sizeof value);
  return value.get();
}

void parse_option(DhcpMessage& message, uint8_t kind, std::span<const std::byte> body) {
  auto number = load_u32(body);
  switch (kind) {
    case kSubnetMask:
      message.subnet_mask = number.value_or(0);
      break;
    case kRouter:
      if (number) message.gateway = IpAddress::v4(*number);
      break;
    case kServerIdentifier:
      if (number) message.server_identifier = IpAddress::v4(*number);
      break;
    case kLeaseTime:
      message.lease_seconds = number.value_or(0);
      break;
    case kRenewalTime:
      message.renewal_seconds = number.value_or(0);
      break;
    case kRebindingTime:
      message.rebinding_seconds = number.value_or(0);
      break;
    case kInterfaceMtu:
      if (body.size() == 2)
        message.interface_mtu = static_cast<uint16_t>(static_cast<unsigned>(body[0]) << 8 |
                                                      static_cast<unsigned>(body[1]));
      break;
    case kDomainNameServer:
      for (; body.size() >= 4 && message.nameserver_count < DhcpMessage::kMaxServers;
           body = body.subspan(4))
        message.nameservers[message.nameserver_count++] = IpAddress::v4(*load_u32(body));
      break;
    default:
      break;
  }
}

class OptionWriter {
 public:
  explicit OptionWriter(std::span<std::byte> out) : out_(out) {}
  void put(uint8_t kind, std::span<const std::byte> body) {
    if (body.size() > 255 || out_.size() - at_ < body.size() + 3) return;
    out_[at_++] = std::byte{kind};
    out_[at_++] = static_cast<std::byte>(body.size());
    std::memcpy(out_.data() + at_, body.data(), body.size());
    at_ += body.size();
  }
  void put_address(uint8_t kind, IpAddress address) {
    Be<uint32_t> wire = address.v4_value();
    put(kind, std::as_bytes(std::span(&wire, 1)));
  }
  size_t finish() {
    out_[at_++] = std::byte{kEnd};
    return at_;
  }

 private:
  std::span<std::byte> out_;
  size_t at_ = 0;
};

}  // namespace

std::optional<DhcpMessage> DhcpMessage::parse(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(DhcpHeader)) return std::nullopt;
  DhcpHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.operation != DhcpHeader::kReply || header.hardware_type != 1 ||
      header.hardware_length != 6 || header.magic != DhcpHeader::kMagic)
    return std::nullopt;
  DhcpMessage message;
  message.transaction = header.transaction;
  message.your_address = IpAddress::v4(header.your);
  std::copy_n(header.hardware_address, 6, message.client_hardware.begin());
  bool has_type = false;
  std::span<const std::byte> options = bytes.subspan(sizeof header);
  while (!options.empty()) {
    auto kind = static_cast<uint8_t>(options[0]);
    if (kind == kEnd) break;
    if (kind == kPad) {
      options = options.subspan(1);
      continue;
    }
    if (options.size() < 2) break;
    auto length = static_cast<size_t>(options[1]);
    if (options.size() - 2 < length) break;
    auto body = options.subspan(2, length);
    if (kind == kMessageType && length == 1) {
      auto type = static_cast<uint8_t>(body[0]);
      if (type < 1 || type > 8) return std::nullopt;
      message.type = static_cast<DhcpMessageType>(type);
      has_type = true;
    } else {
      parse_option(message, kind, body);
    }
    options = options.subspan(2 + length);
  }
  if (!has_type) return std::nullopt;
  return message;
}

size_t DhcpClientMessage::write(std::span<std::byte, kMaxSize> out) const {
  std::memset(out.data(), 0, out.size());
  DhcpHeader header = {};
  header.operation = DhcpHeader::kRequest;
  header.hardware_type = 1;
  header.hardware_length = 6;
  header.transaction = transaction;
  header.seconds = seconds;
  // Without an address we cannot take unicast replies for sure [RFC 2131] 4.1.
  if (client_address.is_unspecified()) header.flags = 0x8000;
  header.client = client_address.v4_value();
  std::copy_n(hardware.begin(), 6, header.hardware_address);
  header.magic = DhcpHeader::kMagic;
  std::memcpy(out.data(), &header, sizeof header);

  OptionWriter writer(out.subspan(sizeof header));
  auto message_type = static_cast<std::byte>(type);
  writer.put(kMessageType, {&message_type, 1});
  std::byte identifier[7] = {std::byte{1}};
  std::memcpy(identifier + 1, hardware.data(), hardware.size());
  writer.put(kClientIdentifier, identifier);
  if (requested_address) writer.put_address(kRequestedAddress, *requested_address);
  if (server_identifier) writer.put_address(kServerIdentifier, *server_identifier);
  if (!host_name.empty()) writer.put(kHostName, std::as_bytes(std::span(host_name)));
  Be<uint16_t> max_size = 1500;
  writer.put(kMaxMessageSize, std::as_bytes(std::span(&max_size, 1)));
  constexpr uint8_t kWanted[] = {kSubnetMask, kRouter,      kDomainNameServer, kInterfaceMtu,
                                 kLeaseTime,  kRenewalTime, kRebindingTime};
  writer.put(kParameterRequest, std::as_bytes(std::span(kWanted)));
  // [RFC 1542] 2.1: BOOTP relays may drop messages below 300 bytes.
  return std::max<size_t>(sizeof header + writer.finish(), 300);
}

}  // namespace aril::net
