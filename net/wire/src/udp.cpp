#include "net/wire/udp.hpp"

#include <cstring>

#include "net/wire/checksum.hpp"
#include "net/wire/ipv4.hpp"

namespace aril::net {

std::expected<UdpView, UdpError> UdpView::parse(std::span<const std::byte> bytes, IpAddress source,
                                                IpAddress destination, ChecksumState checksum) {
  if (bytes.size() < sizeof(UdpHeader)) return std::unexpected(UdpError::kTooShort);
  UdpHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  size_t length = header.length;
  if (length < sizeof header || length > bytes.size()) return std::unexpected(UdpError::kLength);
  // [RFC 768]: a zero checksum field means that the sender computed none; [RFC 8200] 8.1 does not
  // allow that.
  if (header.checksum == 0 && !source.is_v4()) return std::unexpected(UdpError::kChecksum);
  if (checksum == ChecksumState::kUnknown && header.checksum != 0) {
    Checksum sum;
    sum.add_pseudo_header(source, destination, static_cast<uint8_t>(IpProtocol::kUdp),
                          static_cast<uint32_t>(length));
    sum.add(bytes.first(length));
    if (sum.finish() != 0) return std::unexpected(UdpError::kChecksum);
  }
  return UdpView(header, bytes.subspan(sizeof header, length - sizeof header));
}

}  // namespace aril::net
