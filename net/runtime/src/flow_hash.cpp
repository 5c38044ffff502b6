#include "flow_hash.hpp"

#include <bit>
#include <cstring>

#include "net/wire/ethernet.hpp"
#include "net/wire/ipv4.hpp"
#include "net/wire/ipv6.hpp"

namespace aril::net {
namespace {

/// MurmurHash3's steps for 32 bits, which mix well and cost little. Nobody is kept out by it.
class Mixer {
 public:
  explicit Mixer(uint32_t seed) : state_(seed) {}
  void add(std::span<const std::byte> words) {
    for (; words.size() >= sizeof(uint32_t); words = words.subspan(sizeof(uint32_t))) {
      uint32_t word;
      std::memcpy(&word, words.data(), sizeof word);
      word *= 0xcc9e2d51;
      word = std::rotl(word, 15) * 0x1b873593;
      state_ = std::rotl(state_ ^ word, 13) * 5 + 0xe6546b64;
    }
  }
  [[nodiscard]] uint32_t finish() const {
    uint32_t value = (state_ ^ state_ >> 16) * 0x85ebca6b;
    value = (value ^ value >> 13) * 0xc2b2ae35;
    return value ^ value >> 16;
  }

 private:
  uint32_t state_;
};

constexpr size_t kPorts = 4;

bool has_ports(uint8_t protocol) {
  return protocol == static_cast<uint8_t>(IpProtocol::kTcp) ||
         protocol == static_cast<uint8_t>(IpProtocol::kUdp);
}

}  // namespace

uint32_t flow_hash(std::span<const std::byte> frame, uint32_t seed) {
  if (frame.size() < sizeof(EthernetHeader)) return 0;
  EthernetHeader ethernet;
  std::memcpy(&ethernet, frame.data(), sizeof ethernet);
  const auto packet = frame.subspan(sizeof ethernet);
  Mixer mixer(seed);
  size_t ports_at = 0;
  if (ethernet.type == kEtherTypeIpv4 && packet.size() >= sizeof(Ipv4Header)) {
    Ipv4Header header;
    std::memcpy(&header, packet.data(), sizeof header);
    mixer.add(packet.subspan(offsetof(Ipv4Header, source), 8));
    const bool is_fragment =
        (header.fragment & (Ipv4Header::kMoreFragments | Ipv4Header::kOffsetMask)) != 0;
    if (has_ports(header.protocol) && !is_fragment)
      ports_at = (header.version_and_length & 0xf) * size_t{4};
  } else if (ethernet.type == kEtherTypeIpv6 && packet.size() >= sizeof(Ipv6Header)) {
    Ipv6Header header;
    std::memcpy(&header, packet.data(), sizeof header);
    mixer.add(packet.subspan(offsetof(Ipv6Header, source), 32));
    // What has extension headers, fragments among them, goes by its addresses.
    if (has_ports(header.next_header)) ports_at = sizeof header;
  } else {
    return 0;
  }
  if (ports_at != 0 && packet.size() >= ports_at + kPorts)
    mixer.add(packet.subspan(ports_at, kPorts));
  return mixer.finish();
}

}  // namespace aril::net
