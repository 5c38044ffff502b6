#include <algorithm>
#include <cstring>

#include "group_report.hpp"
#include "net/ip/ip_layer.hpp"
#include "net/wire/checksum.hpp"

/// IGMP as a host: version 3 [RFC 3376], and versions 2 [RFC 2236] and 1 [RFC 1112] where a querier
/// of these is heard.
namespace aril::net {
namespace {

constexpr uint8_t kQuery = 0x11, kReportV1 = 0x12, kReportV2 = 0x16, kLeaveV2 = 0x17,
                  kReportV3 = 0x22;
constexpr IpAddress kAllRoutersV4 = IpAddress::v4(224, 0, 0, 2),
                    kReportRouters = IpAddress::v4(224, 0, 0, 22);
constexpr std::byte kRouterAlert[] = {std::byte{0x94}, std::byte{4}, std::byte{0}, std::byte{0}};
constexpr size_t kIpHeader = sizeof(Ipv4Header) + sizeof kRouterAlert;
static_assert(kIpHeader <= GroupReport::kRoom);

/// [RFC 2236] 2
struct IgmpHeader {
  uint8_t type, longest_wait;
  Be<uint16_t> checksum;
  Be<uint32_t> group;
};
static_assert(sizeof(IgmpHeader) == 8);

/// What version 3's query has behind that [RFC 3376] 4.1.
struct QueryTail {
  uint8_t robustness, query_interval;
  Be<uint16_t> source_count;
};
static_assert(sizeof(QueryTail) == 4);

/// Tenths of a second; above 127 a coarse floating point [RFC 3376] 4.1.1.
Duration wait_of(unsigned code) {
  if (code >= 128) code = ((code & 0xf) | 0x10) << ((code >> 4 & 7) + 3);
  return Duration::milliseconds(code * 100);
}

}  // namespace

void IpLayer::receive_igmp(const IpPacketInfo& info, std::span<const std::byte> bytes) {
  constexpr uint8_t kRobustnessMask = 7;
  constexpr unsigned kVersion1Wait = 100;
  Interface& interface = *info.interface;
  IgmpHeader header;
  if (bytes.size() < sizeof header) return context_.counters.drop(DropReason::kBadIgmp);
  Checksum sum;
  sum.add(bytes);
  if (sum.finish() != 0) return context_.counters.drop(DropReason::kBadIgmp);
  std::memcpy(&header, bytes.data(), sizeof header);
  if (interface.is_loopback()) return;
  IpAddress group = IpAddress::v4(header.group.get());
  if (kHasSourceFilters && (header.type == kReportV1 || header.type == kReportV2))
    return other_member_reported(interface, group);
  if (header.type != kQuery) return;
  if (info.time_to_live != 1) return context_.counters.drop(DropReason::kBadIgmp);
  GroupQuery query{.group = group, .longest_wait = wait_of(header.longest_wait)};
  if (bytes.size() == sizeof header) {
    // [RFC 3376] 7.1: version 1 says nothing of the time and means ten seconds.
    query.is_plain = true;
    if (header.longest_wait == 0) {
      query.longest_wait = wait_of(kVersion1Wait);
      interface.igmp_version1_until_ = context_.now + kOlderQuerierPresent;
    }
    return take_group_query(interface, query);
  }
  QueryTail tail;
  if (bytes.size() < sizeof header + sizeof tail)
    return context_.counters.drop(DropReason::kBadIgmp);
  std::memcpy(&tail, bytes.data() + sizeof header, sizeof tail);
  auto sources = bytes.subspan(sizeof header + sizeof tail);
  size_t length = tail.source_count.get() * sizeof(uint32_t);
  if (length > sources.size()) return context_.counters.drop(DropReason::kBadIgmp);
  query.robustness = tail.robustness & kRobustnessMask;
  query.sources = sources.first(length);
  take_group_query(interface, query);
}

void IpLayer::send_igmp3_report(Interface& interface, GroupReport& report) {
  send_igmp(interface, kReportRouters, report.finish(kReportV3, kIpHeader));
}

void IpLayer::report_by_igmp2(Interface& interface, IpAddress group, bool leaves) {
  bool is_version1 = kHasSourceFilters && interface.igmp_version1_until_ > context_.now;
  if (is_version1 && leaves) return;
  struct {
    std::byte room[kIpHeader];
    IgmpHeader header;
  } report = {.room = {},
              .header = {.type = leaves        ? kLeaveV2
                                 : is_version1 ? kReportV1
                                               : kReportV2,
                         .longest_wait = 0,
                         .checksum = uint16_t{0},
                         .group = group.v4_value()}};
  send_igmp(interface, leaves ? kAllRoutersV4 : group,
            std::as_writable_bytes(std::span(&report, 1)));
}

// [RFC 3376] 4: one hop, with the router alert option. `packet` begins with room for the header.
void IpLayer::send_igmp(Interface& interface, IpAddress destination, std::span<std::byte> packet) {
  constexpr uint8_t kInternetworkControl = 0xc0;
  auto message = packet.subspan(kIpHeader);
  Checksum sum;
  sum.add(message);
  Be<uint16_t> value = sum.finish();
  std::memcpy(message.data() + offsetof(IgmpHeader, checksum), &value, sizeof value);
  IpAddress source = interface.addresses().empty() ? IpAddress() : interface.addresses()[0].address;
  Ipv4Header header = make_ipv4_header({.source = source,
                                        .destination = destination,
                                        .protocol = IpProtocol::kIgmp,
                                        .time_to_live = 1,
                                        .type_of_service = kInternetworkControl,
                                        .fragment = Ipv4Header::kDontFragment},
                                       sizeof kRouterAlert + message.size());
  header.version_and_length = 0x40 | kIpHeader / 4;
  header.checksum = 0;
  std::memcpy(packet.data(), &header, sizeof header);
  std::memcpy(packet.data() + sizeof header, kRouterAlert, sizeof kRouterAlert);
  Checksum header_sum;
  header_sum.add(packet.first(kIpHeader));
  header.checksum = header_sum.finish();
  std::memcpy(packet.data(), &header, sizeof header);
  context_.counters.add(Counter::kIpOutRequests);
  (void)send_packet({&interface, source, destination, true}, packet, kIpHeader);
}

}  // namespace aril::net
