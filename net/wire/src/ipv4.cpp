#include "net/wire/ipv4.hpp"

#include <array>
#include <bit>
#include <cstring>

#include "net/wire/checksum.hpp"

namespace aril::net {

namespace {

/// Copies the header out, and checks what makes the other fields readable. The header's length.
std::expected<size_t, Ipv4Error> read_header(std::span<const std::byte> bytes, Ipv4Header& header) {
  if (bytes.size() < sizeof header) return std::unexpected(Ipv4Error::kTooShort);
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.version_and_length >> 4 != 4) return std::unexpected(Ipv4Error::kVersion);
  size_t length = (header.version_and_length & 0xf) * 4u;
  if (length < sizeof header || length > bytes.size())
    return std::unexpected(Ipv4Error::kHeaderLength);
  return length;
}

/// Whether a header without options has a right checksum. One's complement sums are those modulo
/// 0xffff, in either byte order [RFC 1071] 2(B), and a header is not all zeros.
bool sums_up(const Ipv4Header& header) {
  uint64_t sum = 0;
  for (uint32_t word : std::bit_cast<std::array<uint32_t, 5>>(header)) sum += word;
  return sum % 0xffff == 0;
}

}  // namespace

std::expected<Ipv4View, Ipv4Error> Ipv4View::parse(std::span<const std::byte> bytes) {
  Ipv4Header header;
  auto header_length = read_header(bytes, header);
  if (!header_length) return std::unexpected(header_length.error());
  size_t total = header.total_length;
  if (total < *header_length || total > bytes.size())
    return std::unexpected(Ipv4Error::kTotalLength);
  if (*header_length == sizeof header) {
    if (!sums_up(header)) return std::unexpected(Ipv4Error::kChecksum);
  } else {
    Checksum sum;
    sum.add(bytes.first(*header_length));
    if (sum.finish() != 0) return std::unexpected(Ipv4Error::kChecksum);
  }
  return Ipv4View(header, bytes.first(total));
}

std::expected<Ipv4View, Ipv4Error> Ipv4View::parse_quoted(std::span<const std::byte> bytes) {
  Ipv4Header header;
  if (auto length = read_header(bytes, header); !length) return std::unexpected(length.error());
  return Ipv4View(header, bytes);
}

Ipv4Header make_ipv4_header(const Ipv4Fields& fields, size_t payload_length) {
  Ipv4Header header;
  header.version_and_length = 0x45;
  header.type_of_service = fields.type_of_service;
  header.total_length = static_cast<uint16_t>(sizeof header + payload_length);
  header.identification = fields.identification;
  header.fragment = fields.fragment;
  header.time_to_live = fields.time_to_live;
  header.protocol = static_cast<uint8_t>(fields.protocol);
  header.checksum = 0;
  header.source = fields.source.v4_value();
  header.destination = fields.destination.v4_value();
  Checksum sum;
  sum.add(static_cast<uint16_t>(header.version_and_length << 8 | header.type_of_service));
  sum.add(header.total_length);
  sum.add(header.identification);
  sum.add(header.fragment);
  sum.add(static_cast<uint16_t>(header.time_to_live << 8 | header.protocol));
  for (uint32_t address : {fields.source.v4_value(), fields.destination.v4_value()}) {
    sum.add(static_cast<uint16_t>(address >> 16));
    sum.add(static_cast<uint16_t>(address));
  }
  header.checksum = sum.finish();
  return header;
}

}  // namespace aril::net
