#include "net/wire/tcp.hpp"

#include <algorithm>
#include <cstring>

#include "net/wire/checksum.hpp"
#include "net/wire/ipv4.hpp"

namespace aril::net {
namespace {

enum OptionKind : uint8_t {
  kEnd = 0,
  kNop = 1,
  kMaxSegment = 2,
  kWindowScale = 3,
  kSackPermitted = 4,
  kSack = 5,
  kTimestamps = 8,
  kFastOpen = 34,
};

/// Two NOPs and the head of the timestamps option, which then are aligned.
constexpr uint32_t kAlignedTimestamps = kNop << 24 | kNop << 16 | kTimestamps << 8 | 10;
constexpr size_t kTimestampsAlone = 12;

template <typename T>
T load(std::span<const std::byte> bytes, size_t at) {
  Be<T> value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

template <typename T>
void store(std::span<std::byte> out, size_t at, T value) {
  Be<T> wire = value;
  std::memcpy(out.data() + at, &wire, sizeof wire);
}

void parse_sack(TcpSegmentOptions& options, std::span<const std::byte> body) {
  for (size_t at = 0; at + 8 <= body.size() && options.sack_count < kMaxSackBlocks; at += 8)
    options.sack[options.sack_count++] = {load<uint32_t>(body, at), load<uint32_t>(body, at + 4)};
}

// [RFC 7413] 4.1.1: of even length; another is none.
void parse_fast_open(TcpSegmentOptions& options, std::span<const std::byte> body) {
  bool request = body.empty();
  bool cookie = body.size() >= FastOpenCookie::kMin && body.size() <= FastOpenCookie::kMax &&
                body.size() % 2 == 0;
  if (!request && !cookie) return;
  FastOpenCookie& out = options.fast_open.emplace();
  out.length = static_cast<uint8_t>(body.size());
  std::ranges::copy(body, out.bytes.begin());
}

void parse_option(TcpSegmentOptions& options, uint8_t kind, std::span<const std::byte> body) {
  switch (kind) {
    case kMaxSegment:
      if (body.size() == 2) options.max_segment = load<uint16_t>(body, 0);
      break;
    case kWindowScale:
      if (body.size() == 1) options.window_scale = static_cast<uint8_t>(body[0]);
      break;
    case kSackPermitted:
      if (body.empty()) options.sack_permitted = true;
      break;
    case kSack:
      if (body.size() % 8 == 0) parse_sack(options, body);
      break;
    case kTimestamps:
      if (body.size() == 8)
        options.timestamps = TcpTimestamps{load<uint32_t>(body, 0), load<uint32_t>(body, 4)};
      break;
    case kFastOpen:
      parse_fast_open(options, body);
      break;
    default:
      break;
  }
}

void read_options(TcpSegmentOptions& options, std::span<const std::byte> bytes) {
  // What nearly every segment of a connection has [RFC 7323] appendix A.
  if (bytes.size() == kTimestampsAlone && load<uint32_t>(bytes, 0) == kAlignedTimestamps) {
    options.timestamps = TcpTimestamps{load<uint32_t>(bytes, 4), load<uint32_t>(bytes, 8)};
    return;
  }
  size_t at = 0;
  while (at < bytes.size()) {
    auto kind = static_cast<uint8_t>(bytes[at]);
    if (kind == kEnd) break;
    if (kind == kNop) {
      ++at;
      continue;
    }
    if (at + 1 >= bytes.size()) break;
    auto length = static_cast<uint8_t>(bytes[at + 1]);
    if (length < 2 || length > bytes.size() - at) break;
    parse_option(options, kind, bytes.subspan(at + 2, length - 2u));
    at += length;
  }
}

}  // namespace

TcpSegmentOptions TcpSegmentOptions::parse(std::span<const std::byte> bytes) {
  TcpSegmentOptions options;
  read_options(options, bytes);
  return options;
}

size_t TcpSegmentOptions::write(std::span<std::byte, kMaxTcpHeader - sizeof(TcpHeader)> out) const {
  size_t at = 0;
  auto put = [&](uint8_t value) { out[at++] = std::byte{value}; };
  if (max_segment != 0) {
    put(kMaxSegment), put(4);
    store<uint16_t>(out, at, max_segment);
    at += 2;
  }
  if (sack_permitted) put(kSackPermitted), put(2);
  // NOPs keep 32-bit fields aligned for peers that read them so.
  if (timestamps) {
    if (!sack_permitted) put(kNop), put(kNop);
    put(kTimestamps), put(10);
    store<uint32_t>(out, at, timestamps->value);
    store<uint32_t>(out, at + 4, timestamps->echo);
    at += 8;
  } else if (sack_permitted) {
    put(kNop), put(kNop);
  }
  if (window_scale) put(kNop), put(kWindowScale), put(3), put(*window_scale);
  if (fast_open && out.size() - at >= size_t{4} + fast_open->length) {
    put(kFastOpen), put(static_cast<uint8_t>(2 + fast_open->length));
    for (size_t i = 0; i < fast_open->length; ++i) out[at++] = fast_open->bytes[i];
    while (at % 4 != 0) put(kNop);
  }
  size_t room = (out.size() - at) / 8;
  if (size_t count = sack_count; count != 0 && room != 0 && out.size() - at >= 12) {
    if (count * 8 + 4 > out.size() - at) count = (out.size() - at - 4) / 8;
    put(kNop), put(kNop), put(kSack), put(static_cast<uint8_t>(2 + count * 8));
    for (size_t i = 0; i < count; ++i, at += 8) {
      store<uint32_t>(out, at, sack[i].start);
      store<uint32_t>(out, at + 4, sack[i].end);
    }
  }
  return at;
}

std::expected<TcpSegment, TcpError> TcpSegment::parse(std::span<const std::byte> bytes,
                                                      IpAddress source, IpAddress destination,
                                                      ChecksumState checksum) {
  if (bytes.size() < sizeof(TcpHeader)) return std::unexpected(TcpError::kTooShort);
  TcpHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  size_t header_length = (header.data_offset >> 4) * 4u;
  if (header_length < sizeof header || header_length > bytes.size())
    return std::unexpected(TcpError::kDataOffset);
  if (checksum == ChecksumState::kUnknown) {
    Checksum sum;
    sum.add_pseudo_header(source, destination, static_cast<uint8_t>(IpProtocol::kTcp),
                          static_cast<uint32_t>(bytes.size()));
    sum.add(bytes);
    if (sum.finish() != 0) return std::unexpected(TcpError::kChecksum);
  }
  // Made where the caller wants it: it is large.
  std::expected<TcpSegment, TcpError> result;
  TcpSegment& segment = *result;
  segment.source = {source, header.source_port};
  segment.destination = {destination, header.destination_port};
  segment.sequence = header.sequence;
  segment.acknowledgment = header.acknowledgment;
  segment.flags = header.flags;
  segment.window = header.window;
  segment.payload = bytes.subspan(header_length);
  if (header_length > sizeof header)
    read_options(segment.options, bytes.subspan(sizeof header, header_length - sizeof header));
  return result;
}

}  // namespace aril::net
