// Every parser of the wire formats, on arbitrary bytes; and what it accepts must be
// self-consistent.
#include <cstdlib>
#include <vector>

#include "net/wire/dhcp.hpp"
#include "net/wire/ethernet.hpp"
#include "net/wire/ipv4.hpp"
#include "net/wire/ipv6.hpp"
#include "net/wire/ndp.hpp"
#include "net/wire/tcp.hpp"

using namespace aril::net;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  // A copy of exactly this size, so that the sanitizer sees every byte read past it.
  std::vector<std::byte> bytes(size - 1);
  for (size_t i = 1; i < size; ++i) bytes[i - 1] = std::byte{data[i]};
  IpAddress a = IpAddress::v4(1, 2, 3, 4), b = IpAddress::v4(5, 6, 7, 8);
  auto checksum = data[0] & 0x80 ? ChecksumState::kVerified : ChecksumState::kUnknown;
  switch (data[0] & 15) {
    case 0:
      (void)ArpPacket::parse(bytes);
      break;
    case 1:
      if (auto view = Ipv4View::parse(bytes))
        if (view->payload().size() + view->header_length() != view->packet().size()) abort();
      break;
    case 2:
      (void)Ipv4View::parse_quoted(bytes);
      break;
    case 3:
      if (auto view = UdpView::parse(bytes, a, b, checksum))
        if (view->payload().size() + 8 > bytes.size()) abort();
      break;
    case 4:
      if (auto segment = TcpSegment::parse(bytes, a, b, checksum))
        if (segment->options.sack_count > kMaxSackBlocks) abort();
      break;
    case 5: {
      auto options = TcpSegmentOptions::parse(bytes);
      std::array<std::byte, 40> out;
      if (options.write(out) > out.size()) abort();
      break;
    }
    case 6:
      (void)DhcpMessage::parse(bytes);
      break;
    case 7:
      if (auto view = Ipv6View::parse(bytes)) {
        size_t before = view->header_length() + (view->is_fragment() ? 8 : 0);
        if (view->payload().size() + before != view->packet().size()) abort();
        if (view->next_header_offset() >= before) abort();
      }
      break;
    case 8:
      (void)Ipv6View::parse_quoted(bytes);
      break;
    case 9:
      (void)NeighbourInformation::parse(checksum == ChecksumState::kVerified
                                            ? Icmpv6::kNeighbourSolicitation
                                            : Icmpv6::kNeighbourAdvertisement,
                                        bytes);
      break;
    case 10:
      if (auto advertisement = RouterAdvertisement::parse(bytes))
        for (size_t i = 0; i < advertisement->prefix_count; ++i) {
          const auto& prefix = advertisement->prefixes[i];
          if (prefix.length > 128 || prefix.network.is_v4()) abort();
        }
      break;
    default:
      break;
  }
  return 0;
}
