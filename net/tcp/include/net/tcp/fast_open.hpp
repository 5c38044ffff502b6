#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/flags.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "net/buffer/siphash.hpp"
#include "net/tcp/flow_table.hpp"
#include "net/wire/tcp.hpp"

namespace aril::net {

/// TCP fast open [RFC 7413]: data in the SYN, for a peer that showed before that it receives what
/// is sent to its address. Used only by programs that ask for it. The bits of Linux's
/// net.ipv4.tcp_fastopen.
enum class FastOpenMode : uint32_t {
  kOff = 0,
  kClient = 1,
  kServer = 2,
  kClientWithoutCookie = 4,
  kServerWithoutCookie = 0x200,
  kEveryListener = 0x400,  ///< also those that did not set TCP_FASTOPEN
};
ARIL_FLAG_OPERATORS(FastOpenMode);
inline constexpr uint32_t kFastOpenModes = 0x607;

/// What a server makes cookies with: one key, and the one before it, whose cookies are still good.
struct FastOpenKeys {
  static constexpr size_t kKeyBytes = 16, kMaxBytes = 2 * kKeyBytes;
  enum class Match : uint8_t { kNone, kPrimary, kBackup };

  SipKey primary, backup = {};
  bool has_backup = false;

  /// As TCP_FASTOPEN_KEY has them: 16 or 32 bytes. kInval.
  static Result<FastOpenKeys> parse(std::span<const std::byte> bytes);
  /// The number of bytes.
  size_t write(std::span<std::byte, kMaxBytes> out) const;

  /// Of the addresses alone: good for every connection between them.
  [[nodiscard]] FastOpenCookie cookie(const FlowKey& flow) const;
  [[nodiscard]] Match match(const FastOpenCookie& cookie, const FlowKey& flow) const;
};

/// A client's cookies, by the pair of addresses; the one that was not used for longest makes room.
class FastOpenCache {
 public:
  static constexpr size_t kCapacity = 64;

  struct Entry {
    IpAddress local, remote;
    FastOpenCookie cookie;
    uint16_t mss = 0;    ///< the peer's
    uint8_t losses = 0;  ///< SYNs in a row that nobody answered
    Instant used, lost;
  };

  /// Null without a cookie, and for some time after SYNs were lost: somebody on the path may throw
  /// away what it does not know [RFC 7413] 4.1.3.1.
  const Entry* find(const FlowKey& flow, Instant now);
  /// SYNs were lost: not even the option should be sent for now.
  [[nodiscard]] bool should_wait(const FlowKey& flow, Instant now) const;
  void note_cookie(const FlowKey& flow, const FastOpenCookie& cookie, uint16_t mss, Instant now);
  void note_loss(const FlowKey& flow, Instant now);
  /// Data in a SYN arrived.
  void note_success(const FlowKey& flow);

 private:
  using Entries = std::array<Entry, kCapacity>;
  [[nodiscard]] Entry* look_up(const FlowKey& flow) const;
  /// Null when there is no memory.
  Entry* look_up_or_add(const FlowKey& flow, Instant now);

  std::unique_ptr<Entries> entries_;  // from the first cookie on
  size_t count_ = 0;
};

struct FastOpen {
  FastOpenMode mode = FastOpenMode::kClient;
  FastOpenKeys keys;
  FastOpenCache cache = {};
};

}  // namespace aril::net
