#include <algorithm>
#include <cstring>

#include "net/ip/ip_layer.hpp"
#include "net/wire/checksum.hpp"

/// Groups of either family, and how IPv4's are announced: IGMPv3 [RFC 3376], and version 2
/// [RFC 2236] where a querier asks for that. For IPv6 see icmpv6.cpp.
namespace aril::net {
namespace {

constexpr uint8_t kQuery = 0x11, kReportV2 = 0x16, kLeaveV2 = 0x17, kReportV3 = 0x22;
constexpr uint8_t kChangeToInclude = 3, kChangeToExclude = 4;
constexpr IpAddress kAllSystems = IpAddress::v4(224, 0, 0, 1),
                    kAllRoutersV4 = IpAddress::v4(224, 0, 0, 2),
                    kReportRouters = IpAddress::v4(224, 0, 0, 22);

/// [RFC 2236] 2; version 3's query goes on behind it.
struct IgmpHeader {
  uint8_t type, longest_wait;
  Be<uint16_t> checksum;
  Be<uint32_t> group;
};
static_assert(sizeof(IgmpHeader) == 8);

/// [RFC 3376] 4.2.4
struct GroupRecord {
  uint8_t type, auxiliary_length;
  Be<uint16_t> source_count;
  Be<uint32_t> group;
};
static_assert(sizeof(GroupRecord) == 8);

}  // namespace

Result<void> IpLayer::join_group(Interface& interface, IpAddress group) {
  for (Interface::Group& joined : std::span(interface.groups_).first(interface.group_count_)) {
    if (joined.address != group) continue;
    ++joined.users;
    return {};
  }
  if (interface.group_count_ == Interface::kMaxGroups) return fail(Errno::kNoBufs);
  Interface::Group& added = interface.groups_[interface.group_count_++];
  added = {group, 1};
  if (interface.is_loopback()) return {};
  announce_group(interface, added, false);
  // [RFC 3376] 5.1, [RFC 3810] 6.1: once more, in case that one was lost.
  Instant& again = group.is_v4() ? interface.igmp_report_ : interface.group_report_;
  again = context_.now + Duration::seconds(1);
  arm_ipv6_timer(again);
  return {};
}

void IpLayer::leave_group(Interface& interface, IpAddress group) {
  for (size_t i = 0; i < interface.group_count_; ++i) {
    if (interface.groups_[i].address != group || --interface.groups_[i].users != 0) continue;
    Interface::Group left = interface.groups_[i];
    interface.groups_[i] = interface.groups_[--interface.group_count_];
    if (!interface.is_loopback()) announce_group(interface, left, true);
    return;
  }
}

void IpLayer::announce_group(Interface& interface, const Interface::Group& group, bool leaves) {
  uint8_t change = leaves ? kChangeToInclude : kChangeToExclude;
  if (!group.address.is_v4()) return report_groups(interface, {&group, 1}, change);
  if (interface.old_querier_until_ > context_.now)
    return report_ipv4_group_as_v2(interface, group.address, leaves);
  report_ipv4_groups(interface, {&group, 1}, change);
}

// [RFC 3376] 5.2: one delayed report of everything answers whatever was asked.
void IpLayer::receive_igmp(const IpPacketInfo& info, std::span<const std::byte> bytes) {
  constexpr size_t kLongQuery = 12;
  constexpr Duration kOldQuerier = Duration::seconds(400);  // [RFC 3376] 8.12
  IgmpHeader header;
  if (bytes.size() < sizeof header) return context_.counters.drop(DropReason::kBadIgmp);
  Checksum sum;
  sum.add(bytes);
  if (sum.finish() != 0) return context_.counters.drop(DropReason::kBadIgmp);
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.type != kQuery || info.interface->is_loopback()) return;
  if (info.time_to_live != 1) return context_.counters.drop(DropReason::kBadIgmp);
  if (bytes.size() < kLongQuery) info.interface->old_querier_until_ = context_.now + kOldQuerier;
  // Tenths of a second; version 1 says nothing and means ten. Above 127 a coarse floating point.
  unsigned tenths = header.longest_wait == 0 ? 100 : header.longest_wait;
  if (tenths >= 128) tenths = ((tenths & 0xf) | 0x10) << ((tenths >> 4 & 7) + 3);
  uint64_t milliseconds = std::min<uint64_t>(tenths * uint64_t{100}, 10'000);
  Instant at =
      context_.now + Duration::milliseconds(static_cast<int64_t>(context_.random() % milliseconds));
  info.interface->igmp_report_ = std::min(info.interface->igmp_report_, at);
  arm_ipv6_timer(info.interface->igmp_report_);
}

void IpLayer::report_ipv4_groups(Interface& interface, std::span<const Interface::Group> groups,
                                 uint8_t record_type) {
  struct {
    IgmpHeader header;
    GroupRecord records[Interface::kMaxGroups];
  } report;
  uint16_t count = 0;
  bool is_old = interface.old_querier_until_ > context_.now;
  for (const Interface::Group& group : groups) {
    if (!group.address.is_v4() || group.address == kAllSystems) continue;
    if (is_old) {
      report_ipv4_group_as_v2(interface, group.address, false);
      continue;
    }
    report.records[count++] = {.type = record_type,
                               .auxiliary_length = 0,
                               .source_count = uint16_t{0},
                               .group = group.address.v4_value()};
  }
  if (count == 0) return;
  // The number of records lies where version 2 has its group.
  report.header = {.type = kReportV3, .longest_wait = 0, .checksum = uint16_t{0}, .group = count};
  send_igmp(interface, kReportRouters,
            std::as_writable_bytes(std::span(&report, 1))
                .first(sizeof report.header + count * sizeof(GroupRecord)));
}

void IpLayer::report_ipv4_group_as_v2(Interface& interface, IpAddress group, bool leaves) {
  IgmpHeader report{.type = leaves ? kLeaveV2 : kReportV2,
                    .longest_wait = 0,
                    .checksum = uint16_t{0},
                    .group = group.v4_value()};
  send_igmp(interface, leaves ? kAllRoutersV4 : group,
            std::as_writable_bytes(std::span(&report, 1)));
}

// [RFC 3376] 4: one hop, with the router alert option.
void IpLayer::send_igmp(Interface& interface, IpAddress destination, std::span<std::byte> message) {
  constexpr std::byte kRouterAlert[] = {std::byte{0x94}, std::byte{4}, std::byte{0}, std::byte{0}};
  constexpr size_t kHeader = sizeof(Ipv4Header) + sizeof kRouterAlert;
  constexpr uint8_t kInternetworkControl = 0xc0;
  Checksum sum;
  sum.add(message);
  Be<uint16_t> value = sum.finish();
  std::memcpy(message.data() + offsetof(IgmpHeader, checksum), &value, sizeof value);
  std::byte packet[kHeader + sizeof(IgmpHeader) + Interface::kMaxGroups * sizeof(GroupRecord)];
  IpAddress source = interface.addresses().empty() ? IpAddress() : interface.addresses()[0].address;
  Ipv4Header header = make_ipv4_header({.source = source,
                                        .destination = destination,
                                        .protocol = IpProtocol::kIgmp,
                                        .time_to_live = 1,
                                        .type_of_service = kInternetworkControl,
                                        .fragment = Ipv4Header::kDontFragment},
                                       sizeof kRouterAlert + message.size());
  header.version_and_length = 0x40 | kHeader / 4;
  header.checksum = 0;
  std::memcpy(packet, &header, sizeof header);
  std::memcpy(packet + sizeof header, kRouterAlert, sizeof kRouterAlert);
  Checksum header_sum;
  header_sum.add(std::span(packet).first(kHeader));
  header.checksum = header_sum.finish();
  std::memcpy(packet, &header, sizeof header);
  std::memcpy(packet + kHeader, message.data(), message.size());
  context_.counters.add(Counter::kIpOutRequests);
  (void)send_packet({&interface, source, destination, true},
                    std::span(packet).first(kHeader + message.size()), kHeader);
}

}  // namespace aril::net
