// Whom a group's members hear, and what routers are told and answered: IGMP and MLD as a host.
#include <algorithm>

#include "net/wire/ndp.hpp"
#include "scripted_peer.hpp"

namespace aril::net::test {
namespace {

constexpr IpAddress kGroup = IpAddress::v4(239, 1, 2, 3);
constexpr IpAddress kGroup6 = IpAddress::v6(0xff02ull << 48, 0x1234);
constexpr IpAddress kNobody6 = IpAddress::v6(0, 0);
constexpr int kIsInclude = 1, kIsExclude = 2, kToInclude = 3, kToExclude = 4, kAllow = 5,
              kBlock = 6;

constexpr IpAddress source(uint8_t last) { return IpAddress::v4(10, 0, 0, last); }
constexpr IpAddress source6(uint64_t last) { return IpAddress::v6(0xfd00ull << 48, last); }

/// One record of a report.
struct Record {
  int type = 0;
  IpAddress group;
  std::vector<IpAddress> sources = {};
  bool operator==(const Record&) const = default;
};
void PrintTo(const Record& record, std::ostream* out) {
  *out << "type " << record.type << " group " << record.group.low();
  for (IpAddress each : record.sources) *out << " source " << (each.low() & 0xff);
}

class GroupReports : public ScriptedStack {
 protected:
  GroupReports() {
    stack->ip().enable_ipv6(*interface).value();
    elapse(Duration::seconds(3));
    sink.frames.clear();
    socket = new_socket();
  }
  ~GroupReports() override {
    for (auto& each : sockets) each->close();
  }

  RefPtr<UdpSocket> new_socket() {
    auto made = stack->create_udp_socket().value();
    DatagramOptions options = made->options();
    options.reuse_port = true;
    options.multicast_all = false;
    made->set_options(options).value();
    made->bind({IpAddress(), 5000}).value();
    sockets.push_back(made);
    return made;
  }
  auto change(SourceChange how, IpAddress of, IpAddress group = kGroup) {
    return socket->change_source(how, group, interface->index(), of);
  }
  auto set_filter(FilterMode mode, std::vector<IpAddress> sources, IpAddress group = kGroup) {
    return socket->set_source_filter(group, interface->index(), {mode, sources});
  }

  /// What a report of the newer version says, in either family; older ones are {type, group}.
  std::vector<Record> records_of(const Bytes& frame) {
    std::span<const std::byte> body = std::span(frame).subspan(14);
    bool is_v4 = frame[12] == std::byte{0x08};
    IpAddress destination;
    if (is_v4) {
      auto view = Ipv4View::parse(body).value();
      EXPECT_EQ(view.time_to_live(), 1);
      destination = view.destination();
      body = view.payload();
      Checksum sum;
      sum.add(body);
      EXPECT_EQ(sum.finish(), 0);
    } else {
      auto view = Ipv6View::parse(body).value();
      if (view.payload()[0] >= std::byte{Icmpv6::kRouterSolicitation} &&
          view.payload()[0] <= std::byte{Icmpv6::kRedirect})
        return {};
      EXPECT_EQ(view.hop_limit(), 1);
      destination = view.destination();
      body = view.payload();
    }
    auto type = std::to_integer<int>(body[0]);
    if (type != 0x22 && type != Icmpv6::kListenerReportV2)
      return {{type, address_at(body, is_v4 ? 4 : 8, is_v4)}};
    EXPECT_EQ(destination, is_v4 ? IpAddress::v4(224, 0, 0, 22) : kMldRouters);
    std::vector<Record> records;
    size_t at = 8, size = is_v4 ? 4 : 16;
    for (int left = read16(body, 6); left > 0; --left) {
      Record record{std::to_integer<int>(body[at]), address_at(body, at + 4, is_v4)};
      int count = read16(body, at + 2);
      at += 4 + size;
      for (; count > 0; --count, at += size) record.sources.push_back(address_at(body, at, is_v4));
      std::ranges::sort(record.sources);
      records.push_back(record);
    }
    EXPECT_EQ(at, body.size());
    return records;
  }
  static int read16(std::span<const std::byte> bytes, size_t at) {
    Be<uint16_t> value;
    std::memcpy(&value, &bytes[at], sizeof value);
    return value.get();
  }
  static IpAddress address_at(std::span<const std::byte> bytes, size_t at, bool is_v4) {
    if (!is_v4) {
      Ipv6Bytes value;
      std::memcpy(&value, &bytes[at], sizeof value);
      return value.get();
    }
    Be<uint32_t> value;
    std::memcpy(&value, &bytes[at], sizeof value);
    return IpAddress::v4(value.get());
  }
  /// Every record that was sent so far; those of solicited-node groups are nobody's business here.
  std::vector<Record> reported() {
    std::vector<Record> all;
    while (auto frame = take_frame())
      for (Record& record : records_of(*frame))
        if (record.group == kGroup || record.group == kGroup6) all.push_back(record);
    return all;
  }
  void expect_reported_twice(const Record& record) {
    EXPECT_EQ(reported(), std::vector{record});
    elapse(Duration::seconds(1));
    EXPECT_EQ(reported(), std::vector{record});
    elapse(Duration::seconds(5));
    EXPECT_EQ(reported(), std::vector<Record>{});
  }

  void query(IpAddress group, std::vector<IpAddress> sources, int version = 3) {
    Bytes message(version == 3 ? 12 : 8);
    message[0] = std::byte{0x11};
    message[1] = std::byte{version == 1 ? uint8_t{0} : uint8_t{10}};
    Be<uint32_t> value = group.is_unspecified() ? 0 : group.v4_value();
    std::memcpy(&message[4], &value, sizeof value);
    if (version == 3) message[11] = static_cast<std::byte>(sources.size());
    for (IpAddress each : sources) {
      value = each.v4_value();
      auto bytes = std::as_bytes(std::span(&value, 1));
      message.insert(message.end(), bytes.begin(), bytes.end());
    }
    send_igmp(std::move(message), group.is_unspecified() ? IpAddress::v4(224, 0, 0, 1) : group);
  }
  void send_igmp(Bytes message, IpAddress to) {
    Checksum sum;
    sum.add(message);
    Be<uint16_t> value = sum.finish();
    std::memcpy(&message[2], &value, sizeof value);
    send_ip({.source = kPeer, .destination = to, .protocol = IpProtocol::kIgmp, .time_to_live = 1},
            message);
  }
  void query6(IpAddress group, std::vector<IpAddress> sources, int version = 2) {
    Bytes message(version == 2 ? 28 : 24);
    message[0] = std::byte{Icmpv6::kListenerQuery};
    message[4] = std::byte{3};  // 768 ms
    Ipv6Bytes value = Ipv6Bytes::of(group);
    std::memcpy(&message[8], &value, sizeof value);
    if (version == 2) message[27] = static_cast<std::byte>(sources.size());
    for (IpAddress each : sources) {
      value = Ipv6Bytes::of(each);
      auto bytes = std::as_bytes(std::span(&value, 1));
      message.insert(message.end(), bytes.begin(), bytes.end());
    }
    send_mld(std::move(message), group.is_unspecified() ? kAllNodes : group);
  }
  void send_mld(Bytes message, IpAddress to) {
    constexpr IpAddress kRouter = IpAddress::v6(0xfe80ull << 48, 0x99);
    Checksum sum;
    sum.add_pseudo_header(kRouter, to, 58, static_cast<uint32_t>(message.size()));
    sum.add(message);
    Be<uint16_t> value = sum.finish();
    std::memcpy(&message[2], &value, sizeof value);
    Ipv6Header header = make_ipv6_header(kRouter, to, 58, 1, 0, message.size());
    Bytes packet(sizeof header);
    std::memcpy(packet.data(), &header, sizeof header);
    packet.insert(packet.end(), message.begin(), message.end());
    send_frame(kEtherTypeIpv6, packet, group_ethernet(to));
  }
  void datagram_from(IpAddress from) {
    UdpHeader header{
        .source_port = uint16_t{1000}, .destination_port = uint16_t{5000}, .length = uint16_t{8}};
    send_ip({.source = from, .destination = kGroup, .protocol = IpProtocol::kUdp},
            std::as_bytes(std::span(&header, 1)));
  }
  static bool has_one(UdpSocket& which) { return which.receive().has_value(); }

  RefPtr<UdpSocket> socket;
  std::vector<RefPtr<UdpSocket>> sockets;
};

TEST_F(GroupReports, OnlyJoinedSourcesAreHeard) {
  ASSERT_TRUE(change(SourceChange::kJoin, source(5)).has_value());
  EXPECT_EQ(change(SourceChange::kJoin, source(5)).error(), Errno::kAddrNotAvail);
  ASSERT_TRUE(change(SourceChange::kJoin, source(6)).has_value());
  EXPECT_EQ(change(SourceChange::kBlock, source(6)).error(), Errno::kInval);
  datagram_from(source(7));
  EXPECT_FALSE(has_one(*socket));
  EXPECT_EQ(dropped(DropReason::kGroupNotJoined), 1u);
  datagram_from(source(6));
  EXPECT_TRUE(has_one(*socket));
  ASSERT_TRUE(change(SourceChange::kLeave, source(6)).has_value());
  datagram_from(source(6));
  EXPECT_FALSE(has_one(*socket));
  // With the last source the membership goes.
  ASSERT_TRUE(change(SourceChange::kLeave, source(5)).has_value());
  EXPECT_EQ(change(SourceChange::kLeave, source(5)).error(), Errno::kInval);
  EXPECT_FALSE(interface->is_member(kGroup));
}

TEST_F(GroupReports, EverySocketHasItsOwnFilter) {
  auto other = new_socket();
  ASSERT_TRUE(change(SourceChange::kJoin, source(5)).has_value());
  ASSERT_TRUE(other->join_group(kGroup, interface->index()).has_value());
  ASSERT_TRUE(other->change_source(SourceChange::kBlock, kGroup, interface->index(), source(5))
                  .has_value());
  datagram_from(source(5));
  EXPECT_TRUE(has_one(*socket));
  EXPECT_FALSE(has_one(*other));
  datagram_from(source(6));
  EXPECT_FALSE(has_one(*socket));
  EXPECT_TRUE(has_one(*other));
  ASSERT_TRUE(other->change_source(SourceChange::kUnblock, kGroup, interface->index(), source(5))
                  .has_value());
  datagram_from(source(5));
  EXPECT_TRUE(has_one(*other));
}

TEST_F(GroupReports, SourcesAreReportedAsTheyComeAndGo) {  // [RFC 3376] 5.1
  ASSERT_TRUE(change(SourceChange::kJoin, source(5)).has_value());
  expect_reported_twice({kAllow, kGroup, {source(5)}});
  ASSERT_TRUE(set_filter(FilterMode::kInclude, {source(6), source(7)}).has_value());
  EXPECT_EQ(reported(), (std::vector<Record>{{kAllow, kGroup, {source(6), source(7)}},
                                             {kBlock, kGroup, {source(5)}}}));
  elapse(Duration::seconds(5));
  (void)reported();
  ASSERT_TRUE(set_filter(FilterMode::kExclude, {source(8)}).has_value());
  expect_reported_twice({kToExclude, kGroup, {source(8)}});
  ASSERT_TRUE(set_filter(FilterMode::kExclude, {source(9)}).has_value());
  EXPECT_EQ(reported(),
            (std::vector<Record>{{kAllow, kGroup, {source(8)}}, {kBlock, kGroup, {source(9)}}}));
  elapse(Duration::seconds(5));
  (void)reported();
  ASSERT_TRUE(socket->leave_group(kGroup, 0).has_value());
  expect_reported_twice({kToInclude, kGroup});
  EXPECT_TRUE(std::ranges::none_of(interface->groups(), [](const auto& group) {
    return group.address() == kGroup;
  })) << "who has left is forgotten once that has been told";
}

TEST_F(GroupReports, TheLinkHearsWhatAnySocketHears) {  // [RFC 3376] 3.2
  auto other = new_socket();
  ASSERT_TRUE(socket->join_group(kGroup, interface->index()).has_value());
  ASSERT_TRUE(set_filter(FilterMode::kExclude, {source(5), source(6)}).has_value());
  elapse(Duration::seconds(5));
  (void)reported();
  // Excluded by one, included by the other: to be forwarded again.
  ASSERT_TRUE(
      other->change_source(SourceChange::kJoin, kGroup, interface->index(), source(5)).has_value());
  expect_reported_twice({kAllow, kGroup, {source(5)}});
  socket->close();
  EXPECT_EQ(reported(), (std::vector<Record>{{kToInclude, kGroup, {source(5)}}}));
  elapse(Duration::seconds(5));
  (void)reported();
  other->close();
  expect_reported_twice({kBlock, kGroup, {source(5)}});
}

TEST_F(GroupReports, QueriesAreAnsweredAsTheyAsk) {  // [RFC 3376] 5.2
  ASSERT_TRUE(set_filter(FilterMode::kExclude, {}).error() == Errno::kInval);
  ASSERT_TRUE(socket->join_group(kGroup, interface->index()).has_value());
  ASSERT_TRUE(set_filter(FilterMode::kExclude, {source(5)}).has_value());
  elapse(Duration::seconds(5));
  (void)reported();
  auto answer = [&](IpAddress group, std::vector<IpAddress> sources) {
    query(group, std::move(sources));
    EXPECT_EQ(reported(), std::vector<Record>{}) << "never at once";
    elapse(Duration::seconds(2));
    return reported();
  };
  std::vector<Record> state = {{kIsExclude, kGroup, {source(5)}}};
  EXPECT_EQ(answer(IpAddress(), {}), state);
  EXPECT_EQ(answer(kGroup, {}), state);
  EXPECT_EQ(answer(kGroup, {source(5), source(6)}),
            (std::vector<Record>{{kIsInclude, kGroup, {source(6)}}}));
  EXPECT_EQ(answer(kGroup, {source(5)}), std::vector<Record>{});
  EXPECT_EQ(answer(IpAddress::v4(239, 9, 9, 9), {}), std::vector<Record>{});
  // Two questions, one answer of both; and everything when everything is asked for too.
  query(kGroup, {source(6)});
  EXPECT_EQ(answer(kGroup, {source(7)}),
            (std::vector<Record>{{kIsInclude, kGroup, {source(6), source(7)}}}));
  query(kGroup, {source(6)});
  EXPECT_EQ(answer(kGroup, {}), state);
}

TEST_F(GroupReports, OlderQueriersGetOlderReports) {  // [RFC 3376] 7.2.1
  ASSERT_TRUE(change(SourceChange::kJoin, source(5)).has_value());
  query(IpAddress(), {}, 2);
  (void)reported();
  elapse(Duration::seconds(2));
  EXPECT_EQ(reported(), (std::vector<Record>{{0x16, kGroup}}));
  // Which sources does not matter to it, only whether there are any.
  ASSERT_TRUE(change(SourceChange::kJoin, source(6)).has_value());
  EXPECT_EQ(reported(), std::vector<Record>{});
  // Another member's report answers for all.
  query(IpAddress(), {}, 2);
  Bytes report(8);
  report[0] = std::byte{0x16};
  Be<uint32_t> value = kGroup.v4_value();
  std::memcpy(&report[4], &value, sizeof value);
  send_igmp(report, kGroup);
  elapse(Duration::seconds(2));
  EXPECT_EQ(reported(), std::vector<Record>{});
  socket->close();
  EXPECT_EQ(reported(), (std::vector<Record>{{0x17, kGroup}}));
  socket = new_socket();
  query(IpAddress(), {}, 1);
  ASSERT_TRUE(socket->join_group(kGroup, interface->index()).has_value());
  EXPECT_EQ(reported(), (std::vector<Record>{{0x12, kGroup}}));
  // When no older querier has been heard for long, the newer version is spoken again.
  elapse(Duration::seconds(300));
  (void)reported();
  socket->close();
  EXPECT_EQ(reported(), (std::vector<Record>{{kToInclude, kGroup}}));
}

TEST_F(GroupReports, Ipv6IsTheSame) {  // [RFC 3810] 6
  ASSERT_TRUE(change(SourceChange::kJoin, source6(5), kGroup6).has_value());
  expect_reported_twice({kAllow, kGroup6, {source6(5)}});
  query6(kNobody6, {});
  elapse(Duration::seconds(1));
  EXPECT_EQ(reported(), (std::vector<Record>{{kIsInclude, kGroup6, {source6(5)}}}));
  query6(kGroup6, {source6(4), source6(5)});
  elapse(Duration::seconds(1));
  EXPECT_EQ(reported(), (std::vector<Record>{{kIsInclude, kGroup6, {source6(5)}}}));
  query6(kNobody6, {}, 1);
  elapse(Duration::seconds(1));
  EXPECT_EQ(reported(), (std::vector<Record>{{Icmpv6::kListenerReport, kGroup6}}));
  socket->close();
  EXPECT_EQ(reported(), (std::vector<Record>{{Icmpv6::kListenerDone, kGroup6}}));
}

TEST_F(GroupReports, MalformedQueriesAreCounted) {
  Bytes message(12);
  message[0] = std::byte{0x11};
  message[11] = std::byte{1};  // one source, which is not there
  send_igmp(message, IpAddress::v4(224, 0, 0, 1));
  message.resize(10);
  send_igmp(message, IpAddress::v4(224, 0, 0, 1));
  EXPECT_EQ(dropped(DropReason::kBadIgmp), 2u);
  uint64_t before = dropped(DropReason::kBadIcmpv6);
  Bytes message6(28);
  message6[0] = std::byte{Icmpv6::kListenerQuery};
  message6[27] = std::byte{1};
  send_mld(message6, kAllNodes);
  EXPECT_EQ(dropped(DropReason::kBadIcmpv6), before + 1);
}

TEST_F(GroupReports, SourcesAreBounded) {
  for (uint8_t i = 0; i < 10; ++i)
    ASSERT_TRUE(change(SourceChange::kJoin, source(static_cast<uint8_t>(10 + i))).has_value());
  EXPECT_EQ(change(SourceChange::kJoin, source(99)).error(), Errno::kNoBufs);
  std::vector<IpAddress> many;
  for (uint64_t i = 0; i < MulticastGroup::kMaxSources; ++i) many.push_back(source6(i));
  ASSERT_TRUE(socket->join_group(kGroup6, interface->index()).has_value());
  ASSERT_TRUE(set_filter(FilterMode::kInclude, many, kGroup6).has_value());
  (void)reported();
  // One more for the whole link is refused, and changes nothing.
  auto other = new_socket();
  EXPECT_EQ(
      other->change_source(SourceChange::kJoin, kGroup6, interface->index(), source6(1000)).error(),
      Errno::kNoBufs);
  elapse(Duration::seconds(5));
  (void)reported();
  query6(kGroup6, {});
  elapse(Duration::seconds(1));
  EXPECT_EQ(reported(), (std::vector<Record>{{kIsInclude, kGroup6, many}}));
}

}  // namespace
}  // namespace aril::net::test
