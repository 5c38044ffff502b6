#include <algorithm>
#include <cstring>

#include "group_report.hpp"
#include "net/ip/ip_layer.hpp"

/// Multicast Listener Discovery as a host: version 2 [RFC 3810], and version 1 [RFC 2710] where a
/// querier of that is heard.
namespace aril::net {
namespace {

/// [RFC 2710] 3
struct MldHeader {
  uint8_t type, code;
  Be<uint16_t> checksum, longest_wait, reserved;
  Ipv6Bytes group;
};
static_assert(sizeof(MldHeader) == 24);

/// What version 2's query has behind that [RFC 3810] 5.1.
struct QueryTail {
  uint8_t robustness, query_interval;
  Be<uint16_t> source_count;
};
static_assert(sizeof(QueryTail) == 4);

/// [RFC 3810] 5.1.3: above 15 bits a floating point.
uint32_t milliseconds_of(uint32_t code) {
  if (code < 0x8000) return code;
  return ((code & 0xfff) | 0x1000) << ((code >> 12 & 7) + 3);
}

/// [RFC 3810] 5.2.13: before there is a link-local address, from the unspecified one.
IpAddress source_on(const Interface& interface) {
  IpAddress source = IpAddress::v6(0, 0);
  for (const Ipv6InterfaceAddress& own : interface.ipv6_addresses())
    if (own.address.is_link_local() && !own.is_optimistic) source = own.address;
  return source;
}

}  // namespace

// [RFC 3810] 6.2, 8.1
void IpLayer::receive_group_query(const IpPacketInfo& info, std::span<const std::byte> bytes) {
  constexpr uint8_t kRobustnessMask = 7;
  auto bad = [&] { context_.counters.drop(DropReason::kBadIcmpv6); };
  MldHeader header;
  if (bytes.size() < sizeof header || info.time_to_live != 1 || !info.source.is_link_local())
    return bad();
  std::memcpy(&header, bytes.data(), sizeof header);
  GroupQuery query{.group = header.group.get()};
  if (query.group.is_v4()) return bad();
  uint32_t wait = header.longest_wait.get();
  if (bytes.size() == sizeof header) {
    query.is_plain = kHasSourceFilters;
  } else {
    QueryTail tail;
    if (bytes.size() < sizeof header + sizeof tail) return bad();
    std::memcpy(&tail, bytes.data() + sizeof header, sizeof tail);
    auto sources = bytes.subspan(sizeof header + sizeof tail);
    size_t length = tail.source_count.get() * sizeof(Ipv6Bytes);
    if (length > sources.size()) return bad();
    query.robustness = tail.robustness & kRobustnessMask;
    query.sources = sources.first(length);
    wait = milliseconds_of(wait);
  }
  query.longest_wait = Duration::milliseconds(wait);
  take_group_query(*info.interface, query);
}

void IpLayer::receive_mld1_report(const IpPacketInfo& info, std::span<const std::byte> bytes) {
  MldHeader header;
  if (bytes.size() < sizeof header || info.time_to_live != 1)
    return context_.counters.drop(DropReason::kBadIcmpv6);
  std::memcpy(&header, bytes.data(), sizeof header);
  IpAddress group = header.group.get();
  if (!group.is_v4()) other_member_reported(*info.interface, group);
}

void IpLayer::send_mld2_report(Interface& interface, GroupReport& report) {
  std::span<const std::byte> message = report.finish(Icmpv6::kListenerReportV2, 0);
  send_icmpv6({&interface, source_on(interface), kMldRouters, true}, kMldRouters, 1,
              message.first(sizeof(IcmpHeader)), message.subspan(sizeof(IcmpHeader)), true);
}

void IpLayer::report_by_mld1(Interface& interface, IpAddress group, bool leaves) {
  MldHeader message{.type = leaves ? Icmpv6::kListenerDone : Icmpv6::kListenerReport,
                    .code = 0,
                    .checksum = uint16_t{0},
                    .longest_wait = uint16_t{0},
                    .reserved = uint16_t{0},
                    .group = Ipv6Bytes::of(group)};
  IpAddress to = leaves ? kAllRouters : group;
  send_icmpv6({&interface, source_on(interface), to, true}, to, 1,
              std::as_bytes(std::span(&message, 1)), {}, true);
}

}  // namespace aril::net
