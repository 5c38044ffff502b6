#pragma once
#include <array>
#include <expected>
#include <optional>
#include <span>

#include <cstdint>
#include "base/endian.hpp"
#include "base/flags.hpp"
#include "net/wire/address.hpp"
#include "net/wire/udp.hpp"

namespace aril::net {

/// Sequence numbers compare modulo 2^32 [RFC 9293] 3.4.
constexpr bool sequence_before(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) < 0; }
constexpr bool sequence_after(uint32_t a, uint32_t b) { return sequence_before(b, a); }
constexpr bool sequence_at_most(uint32_t a, uint32_t b) { return !sequence_before(b, a); }
constexpr uint32_t sequence_max(uint32_t a, uint32_t b) { return sequence_before(a, b) ? b : a; }
constexpr uint32_t sequence_min(uint32_t a, uint32_t b) { return sequence_before(a, b) ? a : b; }

enum class TcpFlags : uint8_t {
  kNone = 0,
  kFin = 0x01,
  kSyn = 0x02,
  kRst = 0x04,
  kPsh = 0x08,
  kAck = 0x10,
  kUrg = 0x20,
  kEce = 0x40,
  kCwr = 0x80,
};
ARIL_FLAG_OPERATORS(TcpFlags);

/// [RFC 9293] 3.1
struct TcpHeader {
  Be<uint16_t> source_port, destination_port;
  Be<uint32_t> sequence, acknowledgment;
  uint8_t data_offset;  ///< words, in the upper four bits
  TcpFlags flags;
  Be<uint16_t> window, checksum, urgent_pointer;
};
static_assert(sizeof(TcpHeader) == 20 && alignof(TcpHeader) == 1);
inline constexpr size_t kMaxTcpHeader = 60;

struct TcpTimestamps {
  uint32_t value = 0, echo = 0;
};

struct SackBlock {
  uint32_t start = 0, end = 0;  ///< [start, end)
};
inline constexpr size_t kMaxSackBlocks = 4;

/// A fast open cookie; empty in a SYN that asks for one [RFC 7413] 4.1.1.
struct FastOpenCookie {
  static constexpr size_t kMin = 4, kMax = 16;
  uint8_t length = 0;
  std::array<std::byte, kMax> bytes = {};
  bool operator==(const FastOpenCookie&) const = default;
};

/// The options of one segment that we know. Unknown ones are skipped.
struct TcpSegmentOptions {
  uint16_t max_segment = 0;  ///< 0: none
  std::optional<uint8_t> window_scale;
  bool sack_permitted = false;
  std::optional<TcpTimestamps> timestamps;
  std::array<SackBlock, kMaxSackBlocks> sack = {};
  uint8_t sack_count = 0;
  std::optional<FastOpenCookie> fast_open;

  /// Total: an option that runs past the end, or has a wrong length, ends the parse
  /// [RFC 9293] 3.1 (MUST-7, MUST-68).
  static TcpSegmentOptions parse(std::span<const std::byte> bytes);
  /// Writes them, padded to a multiple of four; as many SACK blocks as fit. The length.
  size_t write(std::span<std::byte, kMaxTcpHeader - sizeof(TcpHeader)> out) const;
};

enum class TcpError : uint8_t { kTooShort, kDataOffset, kChecksum };

/// A received segment with a right checksum: every accessor is total.
class TcpSegment {
 public:
  /// Not defaulted: std::expected would clear it before it is initialised.
  TcpSegment() {}  // NOLINT(modernize-use-equals-default)
  static std::expected<TcpSegment, TcpError> parse(std::span<const std::byte> bytes,
                                                   IpAddress source, IpAddress destination,
                                                   ChecksumState checksum);

  Endpoint source, destination;
  uint32_t sequence = 0, acknowledgment = 0;
  TcpFlags flags = TcpFlags::kNone;
  uint16_t window = 0;
  std::span<const std::byte> payload;
  TcpSegmentOptions options;
  /// The IP header's mark [RFC 3168] 5; set by who parses that.
  bool congestion_experienced = false;

  [[nodiscard]] bool is(TcpFlags bits) const { return has(flags, bits); }
  /// SEG.LEN: data, SYN and FIN.
  [[nodiscard]] uint32_t length() const {
    return static_cast<uint32_t>(payload.size()) + is(TcpFlags::kSyn) + is(TcpFlags::kFin);
  }
  [[nodiscard]] uint32_t end() const { return sequence + length(); }
};

}  // namespace aril::net
