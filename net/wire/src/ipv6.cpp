#include "net/wire/ipv6.hpp"

#include <cstring>

namespace aril::net {
namespace {

constexpr uint8_t kErroneousField = 0, kUnrecognizedOption = 2;  // [RFC 4443] 3.4

// [RFC 8200] 4.2: what an unknown option's type says is to be done.
std::optional<Ipv6Problem> check_options(std::span<const std::byte> options, uint32_t offset) {
  constexpr uint8_t kPad1 = 0, kPadN = 1, kRouterAlert = 5;
  while (!options.empty()) {
    auto type = static_cast<uint8_t>(options[0]);
    if (type == kPad1) {
      options = options.subspan(1);
      ++offset;
      continue;
    }
    if (options.size() < 2) return Ipv6Problem{.error = Ipv6Error::kExtension};
    size_t length = 2 + static_cast<size_t>(options[1]);
    if (length > options.size()) return Ipv6Problem{.error = Ipv6Error::kExtension};
    if (type != kPadN && type != kRouterAlert && type >> 6 != 0) {
      Ipv6Problem problem{.error = Ipv6Error::kOption, .code = kUnrecognizedOption};
      if (type >> 6 != 1) problem.pointer = offset;
      problem.answer_group = type >> 6 == 2;
      return problem;
    }
    options = options.subspan(length);
    offset += static_cast<uint32_t>(length);
  }
  return std::nullopt;
}

}  // namespace

std::expected<Ipv6View, Ipv6Problem> Ipv6View::parse(std::span<const std::byte> bytes) {
  auto refuse = [](Ipv6Error error) { return std::unexpected(Ipv6Problem{.error = error}); };
  if (bytes.size() < sizeof(Ipv6Header)) return refuse(Ipv6Error::kTooShort);
  Ipv6Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.version_class_flow.get() >> 28 != 6) return refuse(Ipv6Error::kVersion);
  size_t total = sizeof header + header.payload_length;
  if (total > bytes.size()) return refuse(Ipv6Error::kLength);
  if (header.source.get().is_v4() || header.destination.get().is_v4())
    return refuse(Ipv6Error::kAddress);
  Ipv6View view(header, bytes.first(total));
  if (auto problem = view.walk()) return std::unexpected(*problem);
  return view;
}

std::expected<Ipv6View, Ipv6Problem> Ipv6View::parse_quoted(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(Ipv6Header)) return std::unexpected(Ipv6Problem{});
  Ipv6Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.version_class_flow.get() >> 28 != 6)
    return std::unexpected(Ipv6Problem{.error = Ipv6Error::kVersion});
  Ipv6View view(header, bytes);
  if (auto problem = view.walk()) return std::unexpected(*problem);
  return view;
}

// [RFC 8200] 4.1: leaves payload_offset_ and protocol_ at the first header that is no extension.
std::optional<Ipv6Problem> Ipv6View::walk() {
  protocol_ = header_.next_header;
  for (unsigned count = 0;; ++count) {
    bool is_options =
        protocol_ == Ipv6Extension::kHopByHop || protocol_ == Ipv6Extension::kDestinationOptions;
    if (!is_options && protocol_ != Ipv6Extension::kRouting &&
        protocol_ != Ipv6Extension::kFragment)
      return std::nullopt;
    auto rest = packet_.subspan(payload_offset_);
    // [RFC 8200] 4.3: options for every hop only stand first.
    bool misplaced = protocol_ == Ipv6Extension::kHopByHop && count != 0;
    if (count == kMaxExtensions || misplaced || rest.size() < 8)
      return Ipv6Problem{.error = Ipv6Error::kExtension};
    auto next = static_cast<uint8_t>(rest[0]);
    if (protocol_ == Ipv6Extension::kFragment) {
      Ipv6FragmentHeader fragment;
      std::memcpy(&fragment, rest.data(), sizeof fragment);
      uint32_t at = payload_offset_;
      payload_offset_ += sizeof fragment;
      protocol_ = next;
      uint16_t flags = fragment.offset_and_flags;
      if ((flags & (Ipv6FragmentHeader::kOffsetMask | Ipv6FragmentHeader::kMoreFragments)) != 0) {
        fragment_ = fragment;
        return std::nullopt;
      }
      next_header_offset_ = at;
      continue;
    }
    size_t length = (static_cast<size_t>(rest[1]) + 1) * 8;
    if (length > rest.size()) return Ipv6Problem{.error = Ipv6Error::kExtension};
    if (protocol_ == Ipv6Extension::kRouting && rest[3] != std::byte{0})
      return Ipv6Problem{.error = Ipv6Error::kRoutingHeader,
                         .pointer = payload_offset_ + 2,
                         .code = kErroneousField};
    if (is_options)
      if (auto problem = check_options(rest.first(length).subspan(2), payload_offset_ + 2))
        return problem;
    next_header_offset_ = payload_offset_;
    payload_offset_ += static_cast<uint32_t>(length);
    protocol_ = next;
  }
}

Ipv6Header make_ipv6_header(IpAddress source, IpAddress destination, uint8_t next_header,
                            uint8_t hop_limit, uint8_t traffic_class, size_t payload_length) {
  Ipv6Header header;
  header.version_class_flow = uint32_t{6} << 28 | uint32_t{traffic_class} << 20;
  header.payload_length = static_cast<uint16_t>(payload_length);
  header.next_header = next_header;
  header.hop_limit = hop_limit;
  header.source = Ipv6Bytes::of(source);
  header.destination = Ipv6Bytes::of(destination);
  return header;
}

}  // namespace aril::net
