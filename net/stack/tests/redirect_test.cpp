// Redirects [RFC 1122] 3.2.2.2, [RFC 4861] 8: which are followed, and for how long.
#include "net/wire/ndp.hpp"
#include "scripted_peer.hpp"

namespace aril::net::test {
namespace {

constexpr IpAddress kFar = IpAddress::v4(192, 168, 7, 7);
constexpr IpAddress kBetter = IpAddress::v4(10, 0, 0, 3), kBest = IpAddress::v4(10, 0, 0, 4);

class Redirected : public ScriptedStack {
 protected:
  Redirected() {
    introduce(3, kBetter);
    introduce(4, kBest);
    socket = stack->create_udp_socket().value();
    EXPECT_TRUE(socket->connect({kFar, 99}).has_value());
    sink.frames.clear();
  }
  ~Redirected() override { socket->close(); }

  void introduce(uint8_t last, IpAddress address) {
    auto arp = ArpPacket::make(ArpPacket::kRequest, {2, 0, 0, 0, 0, last}, address.v4_value(), {},
                               kOurs.v4_value());
    send_frame(kEtherTypeArp, std::as_bytes(std::span(&arp, 1)));
    sink.frames.clear();
  }
  /// Sends a datagram; the last byte of the station that it went to.
  int sends_to() {
    EXPECT_TRUE(socket->send(data(10), std::nullopt).has_value());
    auto frame = take_frame();
    if (!frame) return -1;
    sent = *frame;
    return std::to_integer<int>(sent[5]);
  }
  void redirect(IpAddress hop, IpAddress from = kPeer, uint8_t code = 1) {
    auto quoted = std::span<const std::byte>(sent).subspan(14, 28);
    IcmpHeader header{.type = IcmpHeader::kRedirect, .code = code, .rest = hop.v4_value()};
    Bytes message(sizeof header);
    std::memcpy(message.data(), &header, sizeof header);
    message.insert(message.end(), quoted.begin(), quoted.end());
    Checksum sum;
    sum.add(message);
    Be<uint16_t> value = sum.finish();
    std::memcpy(message.data() + 2, &value, 2);
    send_ip({.source = from, .destination = kOurs, .protocol = IpProtocol::kIcmp}, message);
  }
  uint64_t refused() { return dropped(DropReason::kRedirectRefused); }

  RefPtr<UdpSocket> socket;
  Bytes sent;
};

TEST_F(Redirected, GoesByTheBetterRouterForAWhile) {
  EXPECT_EQ(sends_to(), 2);
  redirect(kBetter);
  EXPECT_EQ(sends_to(), 3);
  EXPECT_EQ(stack->counters().get(Counter::kIcmpInRedirects), 1u);
  auto other = stack->create_udp_socket().value();
  ASSERT_TRUE(other->connect({IpAddress::v4(192, 168, 7, 8), 99}).has_value());
  ASSERT_TRUE(other->send(data(10), std::nullopt).has_value());
  EXPECT_EQ(take_frame().value()[5], std::byte{2});  // of this destination alone
  other->close();
  elapse(Duration::seconds(301));
  introduce_peer();
  introduce(3, kBetter);
  sink.frames.clear();
  EXPECT_EQ(sends_to(), 2);
}

TEST_F(Redirected, FollowsTheNextRouterToo) {
  EXPECT_EQ(sends_to(), 2);
  redirect(kBetter);
  EXPECT_EQ(sends_to(), 3);
  redirect(kBest);  // the first has no say any more
  EXPECT_EQ(sends_to(), 3);
  EXPECT_EQ(refused(), 1u);
  redirect(kBest, kBetter);
  EXPECT_EQ(sends_to(), 4);
}

TEST_F(Redirected, IgnoresWhoIsNotTheRouter) {
  EXPECT_EQ(sends_to(), 2);
  redirect(kBest, kBetter);
  EXPECT_EQ(sends_to(), 2);
  EXPECT_EQ(refused(), 1u);
}

TEST_F(Redirected, IgnoresHopsThatAreNone) {
  EXPECT_EQ(sends_to(), 2);
  for (IpAddress hop : {IpAddress::v4(10, 1, 0, 3), kOurs, kPeer, IpAddress::v4(224, 0, 0, 1),
                        IpAddress::v4(10, 0, 0, 255), IpAddress::v4(0xffffffff), IpAddress()})
    redirect(hop);
  EXPECT_EQ(refused(), 7u);
  redirect(kBetter, kPeer, 4);
  EXPECT_EQ(dropped(DropReason::kBadIcmp), 1u);
  EXPECT_EQ(sends_to(), 2);
}

TEST_F(Redirected, IgnoresWhatNobodySent) {
  EXPECT_EQ(sends_to(), 2);
  sent[14 + 20 + 1] ^= std::byte{1};  // another source port
  redirect(kBetter);
  EXPECT_EQ(sends_to(), 2);
}

TEST_F(Redirected, IsForHostsThatWantIt) {
  EXPECT_EQ(sends_to(), 2);
  stack->ip().set_accept_redirects(false, false);
  redirect(kBetter);
  EXPECT_EQ(sends_to(), 2);
  stack->ip().set_accept_redirects(true, true);
  stack->ip().set_forwarding(true, false);
  redirect(kBetter);
  EXPECT_EQ(sends_to(), 2);
  EXPECT_EQ(refused(), 2u);
}

TEST_F(Redirected, GoesBackWhenNobodyAnswersThere) {
  EXPECT_EQ(sends_to(), 2);
  redirect(IpAddress::v4(10, 0, 0, 77));
  EXPECT_TRUE(socket->send(data(10), std::nullopt).has_value());
  elapse(Duration::seconds(5));
  (void)socket->take_error();
  sink.frames.clear();
  EXPECT_EQ(sends_to(), 2);
}

TEST_F(Redirected, ConnectionsFollowWhenItIsAboutTheirData) {
  auto client = stack->create_tcp_socket().value();
  EXPECT_EQ(client->connect({kFar, 80}).error(), Errno::kInProgress);
  sent = take_frame().value();
  Bytes forged = sent;
  forged[14 + 20 + 4] ^= std::byte{0x40};  // a sequence number that was not sent
  std::swap(sent, forged);
  redirect(kBetter);
  std::swap(sent, forged);
  elapse(Duration::milliseconds(1100));
  EXPECT_EQ(take_frame().value()[5], std::byte{2});
  redirect(kBetter);
  elapse(Duration::milliseconds(2100));
  EXPECT_EQ(take_frame().value()[5], std::byte{3});
  client->abort();
}

TEST_F(Redirected, IsBounded) {
  Redirects table;
  auto destination = [](uint32_t i) { return IpAddress::v4(0xc0a80000 + i); };
  for (uint32_t i = 0; i < 3 * Redirects::kCapacity; ++i)
    table.add({interface, kPeer, destination(i), kBetter}, kPeer, Instant{int64_t{i}});
  Instant then{1000};
  EXPECT_EQ(table.find(*interface, destination(0), kPeer, then), kPeer);
  EXPECT_EQ(table.find(*interface, destination(3 * Redirects::kCapacity - 1), kPeer, then),
            kBetter);
  EXPECT_EQ(table.find(*interface, destination(3 * Redirects::kCapacity - 1), kBest, then), kBest);
}

class Redirected6 : public ScriptedStack {
 protected:
  static constexpr IpAddress kOurs6 = IpAddress::v6(0xfd00ull << 48, 1);
  static constexpr IpAddress kOurLocal = IpAddress::v6(0xfe80ull << 48, 0x000000fffe000001);
  static constexpr IpAddress kRouter = IpAddress::v6(0xfe80ull << 48, 2);
  static constexpr IpAddress kBetter6 = IpAddress::v6(0xfe80ull << 48, 3);
  static constexpr IpAddress kFar6 = IpAddress::v6(0x2001ull << 48, 7);

  Redirected6() {
    stack->ip().enable_ipv6(*interface).value();
    stack->ip().add_ipv6_address(*interface, {.address = kOurs6, .prefix_length = 64}).value();
    stack->ip()
        .add_route({.network = IpAddress::v6(0, 0),
                    .gateway = kRouter,
                    .interface = interface,
                    .source = IpAddress::v6(0, 0)})
        .value();
    elapse(Duration::seconds(2));
    introduce(kRouter, 2);
    socket = stack->create_udp_socket(IpAddress::v6(0, 0)).value();
    EXPECT_TRUE(socket->connect({kFar6, 99}).has_value());
    sink.frames.clear();
  }
  ~Redirected6() override { socket->close(); }

  void send_icmp6(IpAddress from, Bytes message, uint8_t hops = 255) {
    Checksum sum;
    sum.add_pseudo_header(from, kOurs6, 58, static_cast<uint32_t>(message.size()));
    sum.add(message);
    Be<uint16_t> value = sum.finish();
    std::memcpy(message.data() + 2, &value, 2);
    Ipv6Header header = make_ipv6_header(from, kOurs6, 58, hops, 0, message.size());
    Bytes packet(sizeof header);
    std::memcpy(packet.data(), &header, sizeof header);
    packet.insert(packet.end(), message.begin(), message.end());
    send_frame(kEtherTypeIpv6, packet);
  }
  void introduce(IpAddress from, uint8_t last) {
    Bytes message(32);
    message[0] = std::byte{135};
    auto target = Ipv6Bytes::of(kOurs6);
    std::memcpy(message.data() + 8, &target, 16);
    LinkAddressOption option{.type = 1, .address = {2, 0, 0, 0, 0, last}};
    std::memcpy(message.data() + 24, &option, sizeof option);
    send_icmp6(from, message);
    sink.frames.clear();
  }
  void redirect(IpAddress target, IpAddress destination = kFar6, IpAddress from = kRouter,
                uint8_t hops = 255) {
    Bytes message(48);
    message[0] = std::byte{137};
    struct {
      Ipv6Bytes target, destination;
      LinkAddressOption option;
    } body{Ipv6Bytes::of(target),
           Ipv6Bytes::of(destination),
           {.type = LinkAddressOption::kTarget, .address = {2, 0, 0, 0, 0, 3}}};
    std::memcpy(message.data() + 8, &body, sizeof body);
    send_icmp6(from, message, hops);
  }
  int sends_to() {
    EXPECT_TRUE(socket->send(data(10), std::nullopt).has_value());
    auto frame = take_frame();
    return frame ? std::to_integer<int>((*frame)[5]) : -1;
  }

  RefPtr<UdpSocket> socket;
};

TEST_F(Redirected6, GoesByTheBetterRouter) {
  EXPECT_EQ(sends_to(), 2);
  redirect(kBetter6);
  EXPECT_EQ(sends_to(), 3);  // its hardware address came along
  EXPECT_EQ(stack->counters().get(Counter::kIcmp6InRedirects), 1u);
}

TEST_F(Redirected6, ReachesWhatIsOnTheLinkItself) {
  redirect(kFar6);
  EXPECT_EQ(sends_to(), 3);
}

TEST_F(Redirected6, IgnoresWhatIsNotSound) {
  redirect(kBetter6, kFar6, kRouter, 64);                 // from beyond the link
  redirect(kBetter6, kFar6, kBetter6);                    // not the router
  redirect(IpAddress::v6(0xfd00ull << 48, 9));            // neither link-local nor the destination
  redirect(kBetter6, kAllNodes);                          // of a group
  redirect(kOurLocal);                                    // ourselves
  redirect(kBetter6, IpAddress::v6(0xfd00ull << 48, 9));  // of what is on the link
  send_icmp6(kRouter, Bytes(20, std::byte{137}));
  EXPECT_EQ(sends_to(), 2);
  EXPECT_EQ(dropped(DropReason::kRedirectRefused), 3u);
  stack->ip().set_forwarding(false, true);
  redirect(kBetter6);
  EXPECT_EQ(sends_to(), 2);
}

}  // namespace
}  // namespace aril::net::test
