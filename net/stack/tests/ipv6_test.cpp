// IPv6 on the wire: neighbours, routers, ICMPv6, extension headers, fragments.
#include <algorithm>

#include "net/wire/ndp.hpp"
#include "scripted_peer.hpp"

namespace aril::net::test {
namespace {

constexpr uint8_t kIcmpv6 = static_cast<uint8_t>(IpProtocol::kIcmpv6);

/// A stack with fe80::ff:fe00:1 and fd00::1, and a script at fe80::ff:fe00:2 and fd00::2.
class Ipv6Peer : public ScriptedStack {
 protected:
  static constexpr IpAddress kOurLocal = IpAddress::v6(0xfe80ull << 48, 0x000000fffe000001);
  static constexpr IpAddress kPeerLocal = IpAddress::v6(0xfe80ull << 48, 0x000000fffe000002);
  static constexpr IpAddress kOurs6 = IpAddress::v6(0xfd00ull << 48, 1);
  static constexpr IpAddress kPeer6 = IpAddress::v6(0xfd00ull << 48, 2);

  Ipv6Peer() {
    stack->ip().enable_ipv6(*interface).value();
    stack->ip().add_ipv6_address(*interface, {.address = kOurs6, .prefix_length = 64}).value();
    started = std::move(sink.frames);
    sink.frames.clear();
    now = now + Duration::seconds(2);
    stack->advance(now);
    stack->poll_timers();
    introduce6(kPeer6);
    introduce6(kPeerLocal);
    sink.frames.clear();
  }

  void send6(IpAddress from, IpAddress to, uint8_t next, std::span<const std::byte> body,
             uint8_t hops = 255) {
    Ipv6Header header = make_ipv6_header(from, to, next, hops, 0, body.size());
    Bytes packet(sizeof header);
    std::memcpy(packet.data(), &header, sizeof header);
    packet.insert(packet.end(), body.begin(), body.end());
    send_frame(kEtherTypeIpv6, packet, to.is_multicast() ? group_ethernet(to) : kOurHardware);
  }
  void send_icmp6(IpAddress from, IpAddress to, Bytes message, uint8_t hops = 255) {
    Checksum sum;
    sum.add_pseudo_header(from, to, kIcmpv6, static_cast<uint32_t>(message.size()));
    sum.add(message);
    Be<uint16_t> value = sum.finish();
    std::memcpy(message.data() + 2, &value, 2);
    send6(from, to, kIcmpv6, message, hops);
  }
  static Bytes neighbour(uint8_t type, IpAddress target, uint32_t flags, bool with_link,
                         uint8_t last = 2) {
    Bytes message(with_link ? 32 : 24);
    message[0] = std::byte{type};
    NeighbourMessage body{flags, Ipv6Bytes::of(target)};
    std::memcpy(message.data() + 4, &body, sizeof body);
    if (with_link) {
      LinkAddressOption option{.type = static_cast<uint8_t>(type == 135 ? 1 : 2),
                               .address = {2, 0, 0, 0, 0, last}};
      std::memcpy(message.data() + 24, &option, sizeof option);
    }
    return message;
  }
  void introduce6(IpAddress peer) {
    send_icmp6(peer, solicited_node(kOurs6), neighbour(135, kOurs6, 0, true));
  }
  /// The ICMPv6 message of the next frame.
  std::optional<Bytes> take_icmp6(IpAddress* to = nullptr) {
    auto frame = take_frame();
    if (!frame) return std::nullopt;
    auto view = Ipv6View::parse(std::span(*frame).subspan(14));
    EXPECT_TRUE(view.has_value());
    if (!view) return std::nullopt;
    EXPECT_EQ(view->protocol(), kIcmpv6);
    Checksum sum;
    sum.add_pseudo_header(view->source(), view->destination(), kIcmpv6,
                          static_cast<uint32_t>(view->payload().size()));
    sum.add(view->payload());
    EXPECT_EQ(sum.finish(), 0);
    if (to != nullptr) *to = view->destination();
    return Bytes(view->payload().begin(), view->payload().end());
  }
  static Bytes udp6(uint16_t to, size_t size) {
    UdpHeader header{.source_port = uint16_t{1000},
                     .destination_port = to,
                     .length = static_cast<uint16_t>(8 + size)};
    Bytes bytes(8 + size);
    std::memcpy(bytes.data(), &header, 8);
    for (size_t i = 0; i < size; ++i) bytes[8 + i] = pattern(i);
    Checksum sum;
    sum.add_pseudo_header(kPeer6, kOurs6, 17, static_cast<uint32_t>(bytes.size()));
    sum.add(bytes);
    header.checksum = sum.finish();
    std::memcpy(bytes.data(), &header, 8);
    return bytes;
  }
  /// A router advertisement with one prefix, an MTU and a name server.
  static Bytes advertisement(uint16_t router_lifetime, uint64_t prefix_high, uint32_t valid,
                             uint32_t mtu) {
    Bytes message(16 + 32 + 8 + 24);
    message[0] = std::byte{134};
    message[4] = std::byte{32};
    auto put16 = [&](size_t at, uint16_t value) {
      Be<uint16_t> field = value;
      std::memcpy(message.data() + at, &field, 2);
    };
    auto put32 = [&](size_t at, uint32_t value) {
      Be<uint32_t> field = value;
      std::memcpy(message.data() + at, &field, 4);
    };
    put16(6, router_lifetime);
    put32(16, 0x030440c0);  // prefix information, /64, on link and autonomous
    put32(20, valid);
    put32(24, valid);
    Be<uint64_t> high = prefix_high;
    std::memcpy(message.data() + 32, &high, 8);
    put32(48, 0x05010000);
    put32(52, mtu);
    put32(56, 0x19030000);
    put32(60, valid);
    std::memcpy(message.data() + 64, &high, 8);
    message[79] = std::byte{0x53};
    return message;
  }
  std::deque<Bytes> started;
};

TEST_F(Ipv6Peer, AnnouncesItselfWhenEnabled) {
  std::vector<int> types;
  for (const Bytes& frame : started) {
    auto view = Ipv6View::parse(std::span(frame).subspan(14));
    ASSERT_TRUE(view.has_value());
    types.push_back(static_cast<int>(view->payload()[0]));
    EXPECT_EQ(frame[0], std::byte{0x33});
  }
  // Joins the group that both addresses share, asks for each whether it is taken, and looks for
  // routers.
  EXPECT_EQ(types, (std::vector{143, 135, 133, 135}));
  EXPECT_TRUE(interface->find_ipv6(kOurLocal) != nullptr);
  EXPECT_FALSE(interface->find_ipv6(kOurLocal)->is_optimistic);
}

TEST_F(Ipv6Peer, AnswersSolicitations) {  // [RFC 4861] 7.2.4
  introduce6(kPeer6);
  IpAddress to;
  auto answer = take_icmp6(&to).value();
  EXPECT_EQ(to, kPeer6);
  EXPECT_EQ(answer[0], std::byte{136});
  EXPECT_EQ(answer[4], std::byte{0x60});  // solicited, override
  auto told = NeighbourInformation::parse(136, answer).value();
  EXPECT_EQ(told.target, kOurs6);
  EXPECT_EQ(told.link_address, kOurHardware);
  // From beyond the link, or for somebody else.
  send_icmp6(kPeer6, solicited_node(kOurs6), neighbour(135, kOurs6, 0, true), 254);
  EXPECT_EQ(dropped(DropReason::kNdpOffLink), 1u);
  send_icmp6(kPeer6, kOurs6, neighbour(135, kPeer6, 0, true));
  send_icmp6(kPeer6, solicited_node(IpAddress::v6(0, 0x999999)), neighbour(135, kOurs6, 0, true));
  EXPECT_EQ(dropped(DropReason::kGroupNotJoined), 1u);
  expect_silence();
}

TEST_F(Ipv6Peer, ResolvesAndHoldsPackets) {
  auto socket = stack->create_udp_socket(IpAddress::v6(0, 0)).value();
  IpAddress stranger = IpAddress::v6(0xfd00ull << 48, 9);
  EXPECT_EQ(socket->send(data(10), Endpoint{stranger, 99}).value(), 10u);
  IpAddress to;
  auto asked = take_icmp6(&to).value();
  EXPECT_EQ(to, solicited_node(stranger));
  EXPECT_EQ(asked[0], std::byte{135});
  send_icmp6(stranger, kOurs6, neighbour(136, stranger, NeighbourMessage::kSolicited, true, 9));
  auto frame = take_frame().value();
  EXPECT_EQ(frame[5], std::byte{9});
  // An unasked advertisement adds nobody, and without "override" changes nothing.
  send_icmp6(
      kPeer6, kOurs6,
      neighbour(136, IpAddress::v6(0xfd00ull << 48, 10), NeighbourMessage::kSolicited, true));
  send_icmp6(stranger, kOurs6, neighbour(136, stranger, NeighbourMessage::kSolicited, true, 66));
  (void)socket->send(data(10), Endpoint{stranger, 99});
  while (auto next = take_frame()) EXPECT_EQ((*next)[5], std::byte{9});
  socket->close();
}

TEST_F(Ipv6Peer, GivesUpADuplicateAddress) {  // [RFC 4862] 5.4
  IpAddress wanted = IpAddress::v6(0xfd00ull << 48, 77);
  stack->ip().add_ipv6_address(*interface, {.address = wanted, .prefix_length = 64}).value();
  send_icmp6(wanted, kAllNodes, neighbour(136, wanted, NeighbourMessage::kOverride, true));
  EXPECT_EQ(interface->find_ipv6(wanted), nullptr);
  // Later the same is only a nuisance.
  send_icmp6(kPeer6, kAllNodes, neighbour(136, kOurs6, NeighbourMessage::kOverride, true));
  EXPECT_NE(interface->find_ipv6(kOurs6), nullptr);
  // Somebody else's probe for ours is answered to everyone.
  sink.frames.clear();
  send_icmp6(IpAddress::v6(0, 0), solicited_node(kOurs6), neighbour(135, kOurs6, 0, false));
  IpAddress to;
  EXPECT_EQ(take_icmp6(&to).value()[0], std::byte{136});
  EXPECT_EQ(to, kAllNodes);
}

TEST_F(Ipv6Peer, ConfiguresItselfFromAdvertisements) {
  constexpr uint64_t kPrefix = 0x20010db800010000;
  send_icmp6(kPeerLocal, kAllNodes, advertisement(1800, kPrefix, 7200, 1400));
  IpAddress own = IpAddress::v6(kPrefix, kOurLocal.low());
  ASSERT_NE(interface->find_ipv6(own), nullptr);
  EXPECT_EQ(interface->ipv6_mtu(), 1400u);
  EXPECT_EQ(interface->hop_limit(), 32);
  ASSERT_EQ(interface->name_servers().size(), 1u);
  auto far = stack->ip().route(IpAddress::v6(0x20010db800990000, 1)).value();
  EXPECT_EQ(far.next_hop, kPeerLocal);
  EXPECT_EQ(far.source, own);
  EXPECT_EQ(stack->ip().route(kPeer6).value().source, kOurs6);
  auto near = stack->ip().route(IpAddress::v6(kPrefix, 5)).value();
  EXPECT_EQ(near.next_hop, IpAddress::v6(kPrefix, 5));
  // A forged end of the prefix leaves two hours [RFC 4862] 5.5.3 (e).
  send_icmp6(kPeerLocal, kAllNodes, advertisement(0, kPrefix, 1, 1400));
  EXPECT_FALSE(stack->ip().route(IpAddress::v6(0x20010db800990000, 1)).has_value());
  elapse(Duration::seconds(7000));
  EXPECT_NE(interface->find_ipv6(own), nullptr);
  elapse(Duration::seconds(400));
  EXPECT_EQ(interface->find_ipv6(own), nullptr);
  EXPECT_TRUE(interface->name_servers().empty());
  EXPECT_FALSE(stack->ip().route(IpAddress::v6(kPrefix, 5)).has_value());
}

TEST_F(Ipv6Peer, DoesNotBelieveAnyAdvertisement) {
  size_t routes = stack->ip().routes().size();
  send_icmp6(kPeer6, kAllNodes, advertisement(1800, 0x20010db800010000, 7200, 1400));
  send_icmp6(kPeerLocal, kAllNodes, advertisement(1800, 0x20010db800010000, 7200, 1400), 64);
  Bytes cut = advertisement(1800, 0x20010db800010000, 7200, 1400);
  cut.resize(cut.size() - 8);
  send_icmp6(kPeerLocal, kAllNodes, cut);
  EXPECT_EQ(stack->ip().routes().size(), routes);
  // A flood of routers and prefixes stays within bounds, and leaves room for others.
  for (uint64_t i = 0; i < 500; ++i)
    send_icmp6(IpAddress::v6(0xfe80ull << 48, 100 + i), kAllNodes,
               advertisement(1800, 0x20010db800000000 + (i << 16), ~0u, 100));
  EXPECT_EQ(interface->ipv6_mtu(), 1500u);
  EXPECT_LE(interface->ipv6_addresses().size(), Interface::kMaxIpv6Addresses);
  EXPECT_LE(stack->ip().routes().size(), routes + IpLayer::kMaxAdvertisedRoutes);
  EXPECT_LE(interface->name_servers().size(), Interface::kMaxNameServers);
  EXPECT_GT(dropped(DropReason::kRouterLimit), 0u);
  elapse(Duration::seconds(2000));
}

TEST_F(Ipv6Peer, AnswersEcho) {
  Bytes ping(8 + 40, std::byte{0x5a});
  ping[0] = std::byte{128};
  ping[1] = ping[2] = ping[3] = std::byte{0};
  for (IpAddress to : {kOurs6, kOurLocal, kAllNodes}) {
    IpAddress from = to == kOurs6 ? kPeer6 : kPeerLocal;
    send_icmp6(from, to, ping, 64);
    IpAddress back;
    auto pong = take_icmp6(&back).value();
    EXPECT_EQ(back, from);
    EXPECT_EQ(pong[0], std::byte{129});
    EXPECT_TRUE(std::ranges::equal(std::span(pong).subspan(4), std::span(ping).subspan(4)));
  }
  Bytes bad = ping;
  send6(kPeer6, kOurs6, kIcmpv6, bad);
  EXPECT_EQ(dropped(DropReason::kBadIcmpv6), 1u);
  expect_silence();
}

TEST_F(Ipv6Peer, ReportsWhatItCannotTake) {
  send6(kPeer6, kOurs6, 17, udp6(2000, 4));
  auto error = take_icmp6().value();
  EXPECT_EQ(error[0], std::byte{1});
  EXPECT_EQ(error[1], std::byte{4});
  send6(kPeer6, kOurs6, 200, data(16));  // unknown protocol
  error = take_icmp6().value();
  EXPECT_EQ(error[0], std::byte{4});
  EXPECT_EQ(error[1], std::byte{1});
  EXPECT_EQ(error[7], std::byte{6});
  Bytes routing(8 + 8);
  routing[0] = std::byte{59};
  routing[3] = std::byte{1};
  send6(kPeer6, kOurs6, 43, routing);
  EXPECT_EQ(take_icmp6().value()[7], std::byte{42});
  EXPECT_EQ(dropped(DropReason::kIpv6RoutingHeader), 1u);
  // Never about an error, nor to a group.
  Bytes unreachable(8 + 48);
  unreachable[0] = std::byte{1};
  send_icmp6(kPeer6, kOurs6, unreachable);
  send6(kPeer6, kAllNodes, 200, data(16));
  // IPv6 has no UDP without checksum.
  Bytes unchecked = udp6(2000, 4);
  unchecked[6] = unchecked[7] = std::byte{0};
  send6(kPeer6, kOurs6, 17, unchecked);
  EXPECT_EQ(dropped(DropReason::kBadUdpChecksum), 1u);
  expect_silence();
}

TEST_F(Ipv6Peer, HeedsPacketTooBig) {  // [RFC 8201]
  auto socket = stack->create_udp_socket(IpAddress::v6(0, 0)).value();
  EXPECT_TRUE(socket->send(data(1400), Endpoint{kPeer6, 99}).has_value());
  auto frame = take_frame().value();
  EXPECT_EQ(frame.size(), 14u + 40 + 8 + 1400);
  Bytes too_big(8);
  too_big[0] = std::byte{2};
  too_big[7] = std::byte{100};  // below the minimum: 1280 is meant
  too_big.insert(too_big.end(), frame.begin() + 14, frame.begin() + 14 + 48);
  send_icmp6(kPeer6, kOurs6, too_big);
  auto route = stack->ip().route(kPeer6).value();
  EXPECT_EQ(stack->ip().path_mtu(route, kPeer6), 1280u);
  EXPECT_TRUE(socket->send(data(1400), Endpoint{kPeer6, 99}).has_value());
  ASSERT_EQ(sink.frames.size(), 2u);
  EXPECT_LE(sink.frames[0].size(), 14u + 1280);
  EXPECT_EQ(sink.frames[0][20], std::byte{44});
  elapse(Duration::seconds(601));
  EXPECT_EQ(stack->ip().path_mtu(route, kPeer6), 1500u);
  socket->close();
}

class Ipv6Fragments : public Ipv6Peer {
 protected:
  Ipv6Fragments() {
    socket = stack->create_udp_socket(IpAddress::v6(0, 0)).value();
    EXPECT_TRUE(socket->bind({IpAddress::v6(0, 0), 2000}).has_value());
    whole = udp6(2000, 4000);
  }
  ~Ipv6Fragments() override { socket->close(); }
  void send_part(size_t start, size_t end, uint32_t id = 7) {
    Ipv6FragmentHeader header{
        .next_header = 17,
        .reserved = 0,
        .offset_and_flags = static_cast<uint16_t>(start | (end < whole.size() ? 1 : 0)),
        .identification = id};
    Bytes body(sizeof header);
    std::memcpy(body.data(), &header, sizeof header);
    body.insert(body.end(), whole.begin() + static_cast<long>(start),
                whole.begin() + static_cast<long>(end));
    send6(kPeer6, kOurs6, 44, body);
  }
  RefPtr<UdpSocket> socket;
  Bytes whole;
};

TEST_F(Ipv6Fragments, AreJoinedInAnyOrder) {
  send_part(2400, 4008);
  send_part(0, 800);
  send_part(800, 2400);
  auto datagram = socket->receive().value();
  EXPECT_TRUE(std::ranges::equal(datagram.payload(), std::span(whole).subspan(8)));
  EXPECT_EQ(datagram.from, (Endpoint{kPeer6, 1000}));
}

TEST_F(Ipv6Fragments, OverlapsEndTheDatagram) {  // [RFC 5722]
  send_part(0, 800);
  send_part(792, 2400);
  EXPECT_EQ(dropped(DropReason::kFragmentOverlap), 1u);
  send_part(800, 4008);
  EXPECT_EQ(socket->receive().error(), Errno::kAgain);
}

TEST_F(Ipv6Fragments, AtomicOnesAreWhole) {  // [RFC 6946]
  send_part(0, 800);
  send_part(0, 4008);
  EXPECT_TRUE(socket->receive().has_value());
  send_part(800, 4008);
  EXPECT_TRUE(socket->receive().has_value());
}

TEST_F(Ipv6Fragments, CannotNest) {
  Bytes inner(8 + 8);
  inner[0] = std::byte{17};
  inner[3] = std::byte{1};
  whole = inner;
  Bytes body(8);
  body[0] = std::byte{44};
  body[3] = std::byte{1};
  Bytes first = body, last = body;
  first.insert(first.end(), inner.begin(), inner.begin() + 8);
  last[2] = std::byte{0};
  last[3] = std::byte{8};
  last.insert(last.end(), inner.begin() + 8, inner.end());
  send6(kPeer6, kOurs6, 44, first);
  send6(kPeer6, kOurs6, 44, last);
  EXPECT_EQ(dropped(DropReason::kFragmentInvalid), 1u);
}

}  // namespace
}  // namespace aril::net::test
