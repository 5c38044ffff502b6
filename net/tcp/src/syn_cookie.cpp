#include "listener.hpp"

namespace aril::net::syn_cookie {
namespace {

// Layout of a cookie: 5 bits of time in steps of 64 s, 3 bits of MSS class, 24 bits of hash. The
// sum with the peer's sequence number keeps our numbers moving with its.
constexpr uint16_t kMssClasses[8] = {536, 1024, 1200, 1300, 1400, 1440, 1460, 8960};
constexpr uint32_t kLifetime = 2;

uint32_t step_of(Instant now) { return static_cast<uint32_t>(now.ns / 64'000'000'000) & 31; }

uint32_t tag(const SipKey& key, const FlowKey& flow, uint32_t peer_sequence, uint32_t step,
             uint32_t mss_class) {
  return static_cast<uint32_t>(
             siphash(key, {0x636f6f6b6965, flow.local.address.low(), flow.remote.address.low(),
                           flow.local.address.high() ^ flow.remote.address.high(),
                           uint64_t{flow.local.port} << 32 | flow.remote.port,
                           uint64_t{peer_sequence} << 32 | step << 8 | mss_class})) &
         0xffffff;
}

}  // namespace

uint32_t make(const SipKey& key, const FlowKey& flow, uint32_t peer_sequence, uint16_t peer_mss,
              Instant now) {
  uint32_t mss_class = 0;
  while (mss_class < 7 && kMssClasses[mss_class + 1] <= peer_mss) ++mss_class;
  uint32_t step = step_of(now);
  return (step << 27 | mss_class << 24 | tag(key, flow, peer_sequence, step, mss_class)) +
         peer_sequence;
}

uint16_t check(const SipKey& key, const FlowKey& flow, uint32_t peer_sequence, uint32_t cookie,
               Instant now) {
  uint32_t value = cookie - peer_sequence;
  uint32_t step = value >> 27, mss_class = value >> 24 & 7;
  if (((step_of(now) - step) & 31) > kLifetime) return 0;
  if (tag(key, flow, peer_sequence, step, mss_class) != (value & 0xffffff)) return 0;
  return kMssClasses[mss_class];
}

}  // namespace aril::net::syn_cookie
