#include "net/wire/ipv4.hpp"

#include <cstring>

#include "net/wire/checksum.hpp"

namespace aril::net {

std::expected<Ipv4View, Ipv4Error> Ipv4View::parse(std::span<const std::byte> bytes) {
  auto view = parse_quoted(bytes);
  if (!view) return view;
  size_t total = view->header_.total_length;
  if (total < view->header_length() || total > bytes.size())
    return std::unexpected(Ipv4Error::kTotalLength);
  Checksum sum;
  sum.add(bytes.first(view->header_length()));
  if (sum.finish() != 0) return std::unexpected(Ipv4Error::kChecksum);
  view->packet_ = bytes.first(total);
  return view;
}

std::expected<Ipv4View, Ipv4Error> Ipv4View::parse_quoted(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(Ipv4Header)) return std::unexpected(Ipv4Error::kTooShort);
  Ipv4Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.version_and_length >> 4 != 4) return std::unexpected(Ipv4Error::kVersion);
  size_t header_length = (header.version_and_length & 0xf) * 4u;
  if (header_length < sizeof header || header_length > bytes.size())
    return std::unexpected(Ipv4Error::kHeaderLength);
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
  sum.add(std::as_bytes(std::span(&header, 1)));
  header.checksum = sum.finish();
  return header;
}

}  // namespace aril::net
