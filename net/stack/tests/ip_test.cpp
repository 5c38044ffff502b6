// Ethernet, ARP, IPv4, ICMP, fragments, UDP.
#include <algorithm>

#include "scripted_peer.hpp"

namespace aril::net::test {
namespace {

using Arp = ScriptedStack;
using Ipv4 = ScriptedStack;
using Icmp = ScriptedStack;
using Udp = ScriptedStack;

Bytes udp_datagram(uint16_t from, uint16_t to, size_t size, IpAddress source,
                   IpAddress destination) {
  UdpHeader header{
      .source_port = from, .destination_port = to, .length = static_cast<uint16_t>(8 + size)};
  Bytes bytes(8 + size);
  std::memcpy(bytes.data(), &header, 8);
  for (size_t i = 0; i < size; ++i) bytes[8 + i] = pattern(i);
  Checksum sum;
  sum.add_pseudo_header(source, destination, 17, static_cast<uint32_t>(bytes.size()));
  sum.add(bytes);
  header.checksum = sum.finish();
  std::memcpy(bytes.data(), &header, 8);
  return bytes;
}

TEST_F(Arp, AnswersForItsAddressOnly) {  // [RFC 826]
  introduce_peer();
  auto frame = take_frame().value();
  auto reply = ArpPacket::parse(std::span(frame).subspan(14)).value();
  EXPECT_EQ(reply.operation, ArpPacket::kReply);
  EXPECT_EQ(reply.sender_hardware, kOurHardware);
  EXPECT_EQ(reply.sender_protocol, kOurs.v4_value());
  auto other = ArpPacket::make(ArpPacket::kRequest, kPeerHardware, kPeer.v4_value(), {},
                               IpAddress::v4(10, 0, 0, 77).v4_value());
  send_frame(kEtherTypeArp, std::as_bytes(std::span(&other, 1)));
  expect_silence();
}

TEST_F(Arp, QueuesWhileResolvingAndReportsFailure) {
  auto socket = stack->create_udp_socket().value();
  IpAddress stranger = IpAddress::v4(10, 0, 0, 9);
  ASSERT_TRUE(socket->connect({stranger, 99}).has_value());
  EXPECT_EQ(socket->send(data(10), std::nullopt).value(), 10u);
  EXPECT_EQ(socket->send(data(20), std::nullopt).value(), 20u);
  ASSERT_EQ(sink.frames.size(), 1u);
  sink.frames.clear();
  auto reply = ArpPacket::make(ArpPacket::kReply, {2, 0, 0, 0, 0, 9}, stranger.v4_value(),
                               kOurHardware, kOurs.v4_value());
  send_frame(kEtherTypeArp, std::as_bytes(std::span(&reply, 1)));
  EXPECT_EQ(sink.frames.size(), 2u);
  EXPECT_EQ(sink.frames[0][5], std::byte{9});
  socket->close();

  auto lost = stack->create_tcp_socket().value();
  (void)lost->connect({IpAddress::v4(10, 0, 0, 10), 99});
  elapse(Duration::seconds(5));
  EXPECT_EQ(lost->take_error().error(), Errno::kHostUnreach);
}

/// Writes down what it is told, a letter each: capital when it is there, small when it is gone.
struct Witness final : ChangeObserver {
  std::string told;
  void note(char letter, Presence presence) {
    told += static_cast<char>(presence == Presence::kThere ? letter : letter + 32);
  }
  void link_changed(const Interface&) override { note('L', Presence::kThere); }
  void address_changed(const Interface&, const InterfaceAddress&, Presence presence) override {
    note('A', presence);
  }
  void address_changed(const Interface&, const Ipv6InterfaceAddress&, Presence presence) override {
    note('B', presence);
  }
  void route_changed(const RouteEntry&, Presence presence) override { note('R', presence); }
  void neighbour_changed(const NeighbourView&, Presence presence) override { note('N', presence); }
};

TEST_F(Arp, TellsWhatChanges) {
  Witness witness;
  stack->ip().add_observer(witness);
  auto socket = stack->create_udp_socket().value();
  IpAddress stranger = IpAddress::v4(10, 0, 0, 9);
  EXPECT_EQ(socket->send(data(1), Endpoint{stranger, 9}).value(), 1u);
  EXPECT_EQ(witness.told, "");
  for (uint8_t station : {9, 9, 8}) {
    auto reply = ArpPacket::make(ArpPacket::kReply, {2, 0, 0, 0, 0, station}, stranger.v4_value(),
                                 kOurHardware, kOurs.v4_value());
    send_frame(kEtherTypeArp, std::as_bytes(std::span(&reply, 1)));
  }
  EXPECT_EQ(witness.told, "NN");  // the second said what was known
  EXPECT_EQ(socket->send(data(1), Endpoint{IpAddress::v4(10, 0, 0, 10), 9}).value(), 1u);
  elapse(Duration::seconds(5));
  EXPECT_EQ(witness.told, "NNn");  // nobody there
  witness.told.clear();
  stack->ip().set_carrier(*interface, false);
  stack->ip().set_carrier(*interface, false);
  stack->ip().set_mtu(*interface, 1400);
  EXPECT_EQ(witness.told, "LL");
  witness.told.clear();
  IpAddress second = IpAddress::v4(10, 7, 0, 1);
  ASSERT_TRUE(stack->ip().add_address(*interface, {second, 24}).has_value());
  stack->ip().remove_address(*interface, second);
  EXPECT_EQ(witness.told, "RAar");
  stack->ip().remove_observer(witness);
  socket->close();
}

TEST_F(Arp, IsNotTakenInByUnaskedRepliesOrForgeries) {
  auto unasked =
      ArpPacket::make(ArpPacket::kReply, {2, 0, 0, 0, 0, 66},
                      IpAddress::v4(10, 0, 0, 50).v4_value(), kOurHardware, kOurs.v4_value());
  send_frame(kEtherTypeArp, std::as_bytes(std::span(&unasked, 1)));
  size_t known = 0;
  stack->ip().neighbours().for_each([&](const Neighbours::View&) { ++known; });
  EXPECT_EQ(known, 1u);
  auto ours = ArpPacket::make(ArpPacket::kRequest, {2, 0, 0, 0, 0, 66}, kOurs.v4_value(), {},
                              kOurs.v4_value());
  send_frame(kEtherTypeArp, std::as_bytes(std::span(&ours, 1)));
  expect_silence();
}

TEST_F(Ipv4, DropsAndCountsWhatIsWrong) {
  Ipv4Fields fields{.source = kPeer, .destination = kOurs, .protocol = IpProtocol::kUdp};
  Ipv4Header good = make_ipv4_header(fields, 0);
  auto send_header = [&](auto change) {
    Ipv4Header header = good;
    change(header);
    send_frame(kEtherTypeIpv4, std::as_bytes(std::span(&header, 1)));
  };
  send_header([](Ipv4Header& h) { h.checksum = h.checksum + 1; });
  EXPECT_EQ(dropped(DropReason::kBadIpChecksum), 1u);
  send_header([](Ipv4Header& h) { h.version_and_length = 0x65; });
  send_header([](Ipv4Header& h) { h.version_and_length = 0x44; });
  send_header([](Ipv4Header& h) { h.version_and_length = 0x4f; });
  send_header([](Ipv4Header& h) { h.total_length = 21; });
  send_header([](Ipv4Header& h) { h.total_length = 19; });
  EXPECT_EQ(dropped(DropReason::kBadIpHeader), 5u);
  send_frame(kEtherTypeIpv4, {});
  send_frame(0x1234, {});
  EXPECT_EQ(dropped(DropReason::kUnknownEtherType), 1u);
  for (IpAddress source :
       {IpAddress::v4(127, 0, 0, 1), IpAddress::v4(224, 0, 0, 1), IpAddress::v4(0xffffffff), kOurs})
    send_ip({.source = source, .destination = kOurs, .protocol = IpProtocol::kUdp}, {});
  EXPECT_EQ(dropped(DropReason::kIpMartianSource), 4u);
  send_ip(
      {.source = kPeer, .destination = IpAddress::v4(10, 0, 0, 3), .protocol = IpProtocol::kUdp},
      {});
  EXPECT_EQ(dropped(DropReason::kIpNotForUs), 1u);
  expect_silence();
}

TEST_F(Icmp, AnswersEcho) {  // [RFC 792]
  Bytes message(8 + 56, std::byte{0x5a});
  message[0] = std::byte{8};
  message[1] = message[2] = message[3] = std::byte{0};
  Checksum sum;
  sum.add(message);
  Be<uint16_t> value = sum.finish();
  std::memcpy(message.data() + 2, &value, 2);
  send_ip({.source = kPeer, .destination = kOurs, .protocol = IpProtocol::kIcmp}, message);
  auto frame = take_frame().value();
  auto ip = Ipv4View::parse(std::span(frame).subspan(14)).value();
  EXPECT_EQ(ip.source(), kOurs);
  EXPECT_EQ(ip.destination(), kPeer);
  EXPECT_EQ(ip.payload()[0], std::byte{0});
  EXPECT_TRUE(std::ranges::equal(ip.payload().subspan(4), std::span(message).subspan(4)));
  Checksum check;
  check.add(ip.payload());
  EXPECT_EQ(check.finish(), 0);
  // Not to everyone.
  send_ip(
      {.source = kPeer, .destination = IpAddress::v4(10, 0, 0, 255), .protocol = IpProtocol::kIcmp},
      message);
  expect_silence();
}

TEST_F(Icmp, ReportsUnreachablePortsAtALimitedRate) {  // [RFC 1812] 4.3.2.8
  for (int i = 0; i < 100; ++i)
    send_ip({.source = kPeer, .destination = kOurs, .protocol = IpProtocol::kUdp},
            udp_datagram(1000, 2000, 10, kPeer, kOurs));
  EXPECT_EQ(sink.frames.size(), 50u);
  auto frame = take_frame().value();
  auto ip = Ipv4View::parse(std::span(frame).subspan(14)).value();
  EXPECT_EQ(ip.payload()[0], std::byte{3});
  EXPECT_EQ(ip.payload()[1], std::byte{3});
}

TEST_F(Icmp, RefusesConnectedUdp) {
  auto socket = stack->create_udp_socket().value();
  ASSERT_TRUE(socket->connect({kPeer, 53}).has_value());
  EXPECT_TRUE(socket->send(data(4), std::nullopt).has_value());
  auto frame = take_frame().value();
  Bytes message(8);
  message[0] = message[1] = std::byte{3};
  message.insert(message.end(), frame.begin() + 14, frame.begin() + 14 + 28);
  Checksum sum;
  sum.add(message);
  Be<uint16_t> value = sum.finish();
  std::memcpy(message.data() + 2, &value, 2);
  send_ip({.source = kPeer, .destination = kOurs, .protocol = IpProtocol::kIcmp}, message);
  EXPECT_TRUE(has(socket->events(), PollEvents::kErr));
  EXPECT_EQ(socket->receive().error(), Errno::kConnRefused);
  EXPECT_EQ(socket->receive().error(), Errno::kAgain);
  socket->close();
}

class FragmentSender : public ScriptedStack {
 protected:
  FragmentSender() {
    socket = stack->create_udp_socket().value();
    EXPECT_TRUE(socket->bind({IpAddress(), 2000}).has_value());
    whole = udp_datagram(1000, 2000, 4000, kPeer, kOurs);
  }
  ~FragmentSender() override { socket->close(); }
  void send_part(size_t start, size_t end, uint16_t id = 7) {
    auto part = std::span<const std::byte>(whole).subspan(start, end - start);
    auto fragment = static_cast<uint16_t>(start / 8);
    if (end < whole.size()) fragment |= Ipv4Header::kMoreFragments;
    send_ip({.source = kPeer,
             .destination = kOurs,
             .protocol = IpProtocol::kUdp,
             .identification = id,
             .fragment = fragment},
            part);
  }
  RefPtr<UdpSocket> socket;
  Bytes whole;
};

TEST_F(FragmentSender, AreJoinedInAnyOrder) {  // [RFC 791] 3.2
  send_part(2400, 4008);
  send_part(0, 800);
  send_part(800, 2400);
  auto datagram = socket->receive().value();
  EXPECT_EQ(datagram.payload().size(), 4000u);
  EXPECT_TRUE(std::ranges::equal(datagram.payload(), std::span(whole).subspan(8)));
  EXPECT_EQ(datagram.from, (Endpoint{kPeer, 1000}));
}

TEST_F(FragmentSender, OverlapsAreRefused) {
  send_part(0, 800);
  send_part(792, 2400);
  EXPECT_EQ(dropped(DropReason::kFragmentOverlap), 1u);
  send_part(0, 800, 8);
  send_part(0, 800, 8);  // a duplicate is harmless
  send_part(800, 4008, 8);
  EXPECT_TRUE(socket->receive().has_value());
}

TEST_F(FragmentSender, TimeOutWithAMessage) {
  send_part(0, 800);
  elapse(Duration::seconds(31));
  EXPECT_EQ(dropped(DropReason::kFragmentTimeout), 1u);
  auto frame = take_frame();
  ASSERT_TRUE(frame);
  EXPECT_EQ((*frame)[34], std::byte{IcmpHeader::kTimeExceeded});
  send_part(800, 4008);
  EXPECT_EQ(socket->receive().error(), Errno::kAgain);
}

TEST_F(FragmentSender, AreBoundedInNumber) {
  for (uint16_t id = 0; id < 500; ++id) send_part(0, 800, static_cast<uint16_t>(100 + id));
  EXPECT_EQ(dropped(DropReason::kFragmentLimit), 500 - Reassembly::kMaxDatagrams);
  send_part(0, 800, 9);
  send_part(800, 4008, 9);
  EXPECT_TRUE(socket->receive().has_value());
}

TEST_F(Udp, SendsFragmentsThatJoin) {
  TwoStacks net;
  auto from = net.stack(0).create_udp_socket().value();
  auto to = net.stack(1).create_udp_socket().value();
  ASSERT_TRUE(to->bind({IpAddress(), 5000}).has_value());
  Bytes big = data(20'000);
  EXPECT_EQ(from->send(big, Endpoint{TwoStacks::address(1), 5000}).value(), big.size());
  EXPECT_EQ(from->send(data(65'508), Endpoint{TwoStacks::address(1), 5000}).error(),
            Errno::kMsgSize);
  ASSERT_TRUE(net.run([&] { return has(to->events(), PollEvents::kIn); }));
  auto datagram = to->receive().value();
  EXPECT_TRUE(std::ranges::equal(datagram.payload(), big));
  EXPECT_EQ(to->receive().error(), Errno::kAgain);
  from->close();
  to->close();
}

TEST_F(Udp, LongDatagramsAreLeftToTheLink) {
  TwoStacks net({}, 1, LinkFeatures::kChecksum | LinkFeatures::kUfo);
  net.enable_ipv6();
  auto from = net.stack(0).create_udp_socket().value();
  auto to = net.stack(1).create_udp_socket().value();
  ASSERT_TRUE(to->bind({IpAddress::v6(0, 0), 5000}).has_value());
  auto arrives = [&](const Endpoint& where, const Bytes& big) {
    EXPECT_EQ(from->send(big, where).value(), big.size());
    ASSERT_TRUE(net.run([&] { return has(to->events(), PollEvents::kIn); }));
    EXPECT_TRUE(std::ranges::equal(to->receive().value().payload(), big));
  };
  const Bytes big = data(20'000);
  for (Counter made : {Counter::kIpFragCreates, Counter::kIp6FragCreates}) {
    const Endpoint where{
        made == Counter::kIpFragCreates ? TwoStacks::address(1) : TwoStacks::address6(1), 5000};
    // Until the neighbour has answered, its fragments wait.
    arrives(where, big);
    EXPECT_EQ(net.stack(0).counters().get(made), 14u);
    arrives(where, big);
    EXPECT_EQ(net.stack(0).counters().get(made), 14u);
  }
  from->close();
  to->close();
}

TEST_F(Udp, BoundsItsQueue) {
  auto socket = stack->create_udp_socket().value();
  DatagramOptions options;
  options.receive_buffer = 5000;
  ASSERT_TRUE(socket->set_options(options).has_value());
  ASSERT_TRUE(socket->bind({kOurs, 2000}).has_value());
  for (int i = 0; i < 50; ++i)
    send_ip({.source = kPeer, .destination = kOurs, .protocol = IpProtocol::kUdp},
            udp_datagram(1000, 2000, 500, kPeer, kOurs));
  EXPECT_GT(socket->dropped(), 40u);
  EXPECT_EQ(stack->counters().get(Counter::kUdpRcvbufErrors), socket->dropped());
  socket->close();
}

TEST_F(Udp, ConnectedSocketHearsOnlyItsPeer) {
  auto connected = stack->create_udp_socket().value();
  auto any = stack->create_udp_socket().value();
  DatagramOptions options;
  options.reuse_address = true;
  ASSERT_TRUE(connected->set_options(options).has_value());
  ASSERT_TRUE(any->set_options(options).has_value());
  ASSERT_TRUE(connected->bind({IpAddress(), 2000}).has_value());
  ASSERT_TRUE(any->bind({IpAddress(), 2000}).has_value());
  ASSERT_TRUE(connected->connect({kPeer, 1000}).has_value());
  for (uint16_t from : {uint16_t{1000}, uint16_t{1001}})
    send_ip({.source = kPeer, .destination = kOurs, .protocol = IpProtocol::kUdp},
            udp_datagram(from, 2000, 5, kPeer, kOurs));
  EXPECT_EQ(connected->receive().value().from.port, 1000);
  EXPECT_EQ(connected->receive().error(), Errno::kAgain);
  EXPECT_EQ(any->receive().value().from.port, 1001);
  connected->close();
  any->close();
}

TEST_F(Udp, NeedsLeaveToBroadcast) {
  auto socket = stack->create_udp_socket().value();
  Endpoint everyone{IpAddress::v4(10, 0, 0, 255), 9};
  EXPECT_EQ(socket->send(data(1), everyone).error(), Errno::kAcces);
  DatagramOptions options;
  options.broadcast = true;
  ASSERT_TRUE(socket->set_options(options).has_value());
  EXPECT_TRUE(socket->send(data(1), everyone).has_value());
  EXPECT_EQ(sink.frames.back()[0], std::byte{0xff});
  EXPECT_EQ(socket->send(data(1), Endpoint{{}, 0}).error(), Errno::kInval);
  socket->close();
}

}  // namespace
}  // namespace aril::net::test
