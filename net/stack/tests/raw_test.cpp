// Raw, ping and packet sockets, groups, forwarding, and datagrams cut and joined.
#include <gtest/gtest.h>

#include "scripted_peer.hpp"

namespace aril::net::test {
namespace {

class Raw : public ScriptedStack {
 protected:
  ~Raw() override {
    if (socket) socket->close();
  }
  void open(RawKind kind, uint8_t protocol) {
    socket = stack->raw().create_socket(kind, protocol, IpAddress()).value();
  }
  void send_echo(uint8_t type, uint16_t identifier, size_t size = 8) {
    Bytes message(8 + size);
    IcmpHeader header{
        .type = type, .code = 0, .checksum = uint16_t{0}, .rest = identifier << 16 | 7u};
    std::memcpy(message.data(), &header, sizeof header);
    Checksum sum;
    sum.add(message);
    header.checksum = sum.finish();
    std::memcpy(message.data(), &header, sizeof header);
    send_ip({.source = kPeer, .destination = kOurs, .protocol = IpProtocol::kIcmp}, message);
  }
  static Bytes echo_request() {
    Bytes message(16);
    message[0] = std::byte{IcmpHeader::kEchoRequest};
    return message;
  }
  Ipv4View sent_packet() {
    last_frame = take_frame().value();
    return Ipv4View::parse(std::span(last_frame).subspan(14)).value();
  }
  RefPtr<RawSocket> socket;
};

TEST_F(Raw, GetsPacketsWithTheirHeader) {  // [raw(7)]
  open(RawKind::kRaw, 1);
  send_echo(IcmpHeader::kEchoReply, 5);
  Datagram datagram = socket->receive().value();
  ASSERT_GE(datagram.length, 28u);
  EXPECT_EQ(datagram.payload()[0], std::byte{0x45});
  EXPECT_EQ(datagram.from.address, kPeer);
}

TEST_F(Raw, FilterKeepsTypesAway) {  // [raw(7)] ICMP_FILTER
  open(RawKind::kRaw, 1);
  RawOptions options = socket->raw_options();
  options.icmp_filter = ~(1u << IcmpHeader::kEchoReply);
  ASSERT_TRUE(socket->set_raw_options(options).has_value());
  send_echo(IcmpHeader::kEchoRequest, 5);
  EXPECT_EQ(socket->receive().error(), Errno::kAgain);
  send_echo(IcmpHeader::kEchoReply, 5);
  EXPECT_TRUE(socket->receive().has_value());
}

TEST_F(Raw, AnUnknownProtocolWithASocketIsNotRefused) {
  send_ip({.source = kPeer, .destination = kOurs, .protocol = IpProtocol{89}}, Bytes(10));
  EXPECT_EQ(sent_packet().protocol(), 1);  // protocol unreachable
  open(RawKind::kRaw, 89);
  send_ip({.source = kPeer, .destination = kOurs, .protocol = IpProtocol{89}}, Bytes(10));
  expect_silence();
  EXPECT_EQ(socket->receive().value().length, 30u);
}

TEST_F(Raw, HeaderOfTheProgramIsCompleted) {  // [raw(7)] IP_HDRINCL
  open(RawKind::kRaw, RawSocket::kRawProtocol);
  Bytes packet(28);
  packet[0] = std::byte{0x45};
  packet[8] = std::byte{9};
  packet[9] = std::byte{17};
  EXPECT_EQ(socket->send(packet, Endpoint{kPeer, 0}).value(), 28u);
  Ipv4View sent = sent_packet();
  EXPECT_EQ(sent.source(), kOurs);
  EXPECT_EQ(sent.time_to_live(), 9);
  EXPECT_NE(sent.identification(), 0);
  packet[0] = std::byte{0x4f};  // longer than the packet
  EXPECT_EQ(socket->send(packet, Endpoint{kPeer, 0}).error(), Errno::kInval);
  EXPECT_EQ(socket->send(Bytes(1501), Endpoint{kPeer, 0}).error(), Errno::kMsgSize);
}

TEST_F(Raw, PingHasItsOwnIdentifier) {  // [icmp(7)]
  open(RawKind::kPing, 1);
  EXPECT_EQ(socket->send(echo_request(), Endpoint{kPeer, 0}).value(), 16u);
  Ipv4View sent = sent_packet();
  IcmpHeader header;
  std::memcpy(&header, sent.payload().data(), sizeof header);
  auto identifier = static_cast<uint16_t>(header.rest.get() >> 16);
  EXPECT_EQ(identifier, socket->local().port);
  send_echo(IcmpHeader::kEchoReply, static_cast<uint16_t>(identifier + 1));
  EXPECT_EQ(socket->receive().error(), Errno::kAgain);
  send_echo(IcmpHeader::kEchoReply, identifier);
  EXPECT_EQ(socket->receive().value().payload()[0], std::byte{0});
  Bytes reply = echo_request();
  reply[0] = std::byte{0};
  EXPECT_EQ(socket->send(reply, Endpoint{kPeer, 0}).error(), Errno::kInval);
}

class Packets : public ScriptedStack {
 protected:
  ~Packets() override {
    if (socket) socket->close();
  }
  RefPtr<PacketSocket> socket;
};

TEST_F(Packets, SeeBothDirections) {
  socket = stack->packets().create_socket(PacketKind::kRaw, PacketSocket::kEveryProtocol).value();
  introduce_peer();
  CapturedFrame request = socket->receive().value();
  EXPECT_EQ(request.direction, FrameDirection::kHost);
  EXPECT_EQ(request.protocol, kEtherTypeArp);
  EXPECT_EQ(request.length, 42u);
  CapturedFrame answer = socket->receive().value();
  EXPECT_EQ(answer.direction, FrameDirection::kOutgoing);
  EXPECT_EQ(socket->receive().error(), Errno::kAgain);
}

TEST_F(Packets, FilterCutsAndChooses) {
  socket = stack->packets().create_socket(PacketKind::kDatagram, kEtherTypeIpv4).value();
  // The first 20 bytes of UDP, nothing else.
  const FilterInstruction program[] = {
      {0x30, 0, 0, 9}, {0x15, 0, 1, 17}, {0x06, 0, 0, 20}, {0x06, 0, 0, 0}};
  socket->set_filter(PacketFilter::create(program, PacketFilter::Dialect::kSocket).value());
  send_ip({.source = kPeer, .destination = kOurs, .protocol = IpProtocol::kUdp}, Bytes(50));
  send_ip({.source = kPeer, .destination = kOurs, .protocol = IpProtocol::kTcp}, Bytes(50));
  CapturedFrame frame = socket->receive().value();
  EXPECT_EQ(frame.packet->size(), 20u);
  EXPECT_EQ(frame.length, 70u);
  EXPECT_EQ(socket->receive().error(), Errno::kAgain);
}

TEST_F(Packets, SendWholeFrames) {
  socket = stack->packets().create_socket(PacketKind::kDatagram, 0).value();
  ASSERT_TRUE(socket->bind(interface->index(), 0x88b5).has_value());
  EXPECT_EQ(socket->send(Bytes(50), 0, 0x88b5, kPeerHardware).value(), 50u);
  Bytes frame = take_frame().value();
  ASSERT_EQ(frame.size(), 64u);
  EXPECT_EQ(frame[12], std::byte{0x88});
  EXPECT_EQ(socket->send(Bytes(1501), 0, 0x88b5, kPeerHardware).error(), Errno::kMsgSize);
  EXPECT_EQ(socket->bind(99, 0).error(), Errno::kNoDev);
}

TEST_F(Packets, LoopbackKeepsWhatWasMade) {  // of a protocol and addresses that IP does not have
  socket = stack->packets().create_socket(PacketKind::kRaw, 0x88b5).value();
  auto sender = stack->packets().create_socket(PacketKind::kDatagram, 0).value();
  EXPECT_EQ(sender->send(Bytes(4, std::byte{0x45}), 1, 0x88b5, kPeerHardware).value(), 4u);
  while (stack->run_loopback()) {}
  CapturedFrame frame = socket->receive().value();
  EXPECT_EQ(frame.protocol, 0x88b5);
  EXPECT_EQ(frame.length, 18u);
  EXPECT_EQ(frame.packet->bytes()[5], std::byte{2});
  EXPECT_EQ(dropped(DropReason::kUnknownEtherType), 1u);
  sender->close();
}

TEST_F(Packets, QueueIsBounded) {
  socket = stack->packets().create_socket(PacketKind::kRaw, PacketSocket::kEveryProtocol).value();
  socket->set_receive_buffer(2000);
  for (int i = 0; i < 100; ++i) introduce_peer();
  auto statistics = socket->take_statistics();
  EXPECT_EQ(statistics.seen, 200u);
  EXPECT_GT(statistics.dropped, 150u);
}

using Groups = ScriptedStack;
constexpr IpAddress kGroup = IpAddress::v4(239, 1, 2, 3);

TEST_F(Groups, AreAnnouncedAndHeard) {  // [RFC 3376] 4.2, 5.1
  auto socket = stack->create_udp_socket().value();
  ASSERT_TRUE(socket->bind({IpAddress(), 5000}).has_value());
  ASSERT_TRUE(socket->join_group(kGroup, interface->index()).has_value());
  Bytes frame = take_frame().value();
  auto report = Ipv4View::parse(std::span(frame).subspan(14)).value();
  EXPECT_EQ(report.destination(), IpAddress::v4(224, 0, 0, 22));
  EXPECT_EQ(report.time_to_live(), 1);
  EXPECT_EQ(report.protocol(), 2);
  EXPECT_EQ(report.options().size(), 4u);
  EXPECT_EQ(report.payload()[0], std::byte{0x22});
  EXPECT_EQ(report.payload()[8], std::byte{4});  // change to exclude nothing
  socket->close();
  frame = take_frame().value();
  report = Ipv4View::parse(std::span(frame).subspan(14)).value();
  EXPECT_EQ(report.payload()[8], std::byte{3});
}

TEST_F(Groups, StrangersPacketsAreDropped) {
  Bytes body(8);
  send_ip({.source = kPeer, .destination = kGroup, .protocol = IpProtocol::kUdp}, body);
  EXPECT_EQ(dropped(DropReason::kGroupNotJoined), 1u);
}

TEST_F(Groups, AnswerAQueryOfVersion2) {  // [RFC 3376] 7.2.1
  auto socket = stack->create_udp_socket().value();
  ASSERT_TRUE(socket->join_group(kGroup, interface->index()).has_value());
  elapse(Duration::seconds(3));
  sink.frames.clear();
  Bytes query(8);
  query[0] = std::byte{0x11};
  query[1] = std::byte{10};
  Checksum sum;
  sum.add(query);
  Be<uint16_t> value = sum.finish();
  std::memcpy(&query[2], &value, 2);
  Ipv4Fields fields{.source = kPeer,
                    .destination = IpAddress::v4(224, 0, 0, 1),
                    .protocol = IpProtocol::kIgmp,
                    .time_to_live = 1};
  send_ip(fields, query);
  elapse(Duration::seconds(2));
  Bytes frame = take_frame().value();
  auto report = Ipv4View::parse(std::span(frame).subspan(14)).value();
  EXPECT_EQ(report.destination(), kGroup);
  EXPECT_EQ(report.payload()[0], std::byte{0x16});
  query[0] = std::byte{0x12};  // the checksum is wrong now
  send_ip(fields, query);
  EXPECT_EQ(dropped(DropReason::kBadIgmp), 1u);
  socket->close();
}

TEST_F(Groups, MembersHereHearUs) {  // [ip(7)] IP_MULTICAST_LOOP
  auto listener = stack->create_udp_socket().value();
  ASSERT_TRUE(listener->bind({IpAddress(), 5000}).has_value());
  ASSERT_TRUE(listener->join_group(kGroup, interface->index()).has_value());
  auto sender = stack->create_udp_socket().value();
  EXPECT_EQ(sender->send(data(10), Endpoint{kGroup, 5000}).value(), 10u);
  while (stack->run_loopback()) {}
  EXPECT_EQ(listener->receive().value().length, 10u);
  DatagramOptions options = sender->options();
  options.multicast_loop = false;
  ASSERT_TRUE(sender->set_options(options).has_value());
  EXPECT_EQ(sender->send(data(10), Endpoint{kGroup, 5000}).value(), 10u);
  while (stack->run_loopback()) {}
  EXPECT_EQ(listener->receive().error(), Errno::kAgain);
  listener->close();
  sender->close();
}

class Forwarding : public ScriptedStack {
 protected:
  static constexpr IpAddress kFar = IpAddress::v4(10, 0, 1, 2);
  Forwarding() {
    far =
        stack
            ->add_interface({.name = "eth1", .hardware = {2, 0, 0, 0, 1, 1}, .mtu = 1000}, far_sink)
            .value();
    stack->ip().add_address(*far, {IpAddress::v4(10, 0, 1, 1), 24}).value();
    auto arp = ArpPacket::make(ArpPacket::kRequest, {2, 0, 0, 0, 1, 2}, kFar.v4_value(), {},
                               IpAddress::v4(10, 0, 1, 1).v4_value());
    EthernetHeader header{kEthernetBroadcast, {2, 0, 0, 0, 1, 2}, kEtherTypeArp};
    Bytes frame(sizeof header + sizeof arp);
    std::memcpy(frame.data(), &header, sizeof header);
    std::memcpy(frame.data() + sizeof header, &arp, sizeof arp);
    stack->receive(*far, frame, ChecksumState::kUnknown);
    far_sink.frames.clear();
  }
  void send_to_far(size_t size, uint8_t time_to_live = 64) {
    send_ip({.source = kPeer,
             .destination = kFar,
             .protocol = IpProtocol::kUdp,
             .time_to_live = time_to_live},
            Bytes(size));
  }
  CapturingSink far_sink;
  Interface* far = nullptr;
};

TEST_F(Forwarding, IsOffByDefault) {
  send_to_far(100);
  EXPECT_TRUE(far_sink.frames.empty());
  EXPECT_EQ(dropped(DropReason::kIpNotForUs), 1u);
}

TEST_F(Forwarding, TakesAHopAway) {  // [RFC 1812] 5.3.1
  stack->ip().set_forwarding(true, false);
  send_to_far(100, 5);
  ASSERT_EQ(far_sink.frames.size(), 1u);
  auto packet = Ipv4View::parse(std::span(far_sink.frames[0]).subspan(14)).value();
  EXPECT_EQ(packet.time_to_live(), 4);
  EXPECT_EQ(packet.source(), kPeer);
  send_to_far(100, 1);
  EXPECT_EQ(dropped(DropReason::kHopsExceeded), 1u);
  Bytes frame = take_frame().value();
  auto error = Ipv4View::parse(std::span(frame).subspan(14)).value();
  EXPECT_EQ(error.payload()[0], std::byte{IcmpHeader::kTimeExceeded});
}

TEST_F(Forwarding, TellsOfTheNextLinksSize) {
  stack->ip().set_forwarding(true, false);
  send_to_far(1200);
  EXPECT_TRUE(far_sink.frames.empty());
  Bytes frame = take_frame().value();
  auto error = Ipv4View::parse(std::span(frame).subspan(14)).value();
  IcmpHeader header;
  std::memcpy(&header, error.payload().data(), sizeof header);
  EXPECT_EQ(header.code, IcmpHeader::kFragmentationNeeded);
  EXPECT_EQ(header.rest.get(), 1000u);
}

using UdpSegments = ScriptedStack;

TEST_F(UdpSegments, AreCutAndJoined) {  // [udp(7)] UDP_SEGMENT, UDP_GRO
  auto receiver = stack->create_udp_socket().value();
  ASSERT_TRUE(receiver->bind({IpAddress::v4(127, 0, 0, 1), 5000}).has_value());
  DatagramOptions options = receiver->options();
  options.join_segments = true;
  ASSERT_TRUE(receiver->set_options(options).has_value());
  auto sender = stack->create_udp_socket().value();
  Endpoint to{IpAddress::v4(127, 0, 0, 1), 5000};
  EXPECT_EQ(sender->send(data(2500), to, {.segment_size = 1000}).value(), 2500u);
  while (stack->run_loopback()) {}
  Datagram joined = receiver->receive().value();
  EXPECT_EQ(joined.length, 2500u);
  EXPECT_EQ(joined.segment_size, 1000);
  for (size_t i = 0; i < joined.length; ++i) ASSERT_EQ(joined.payload()[i], pattern(i));
  // More segments than one call may have.
  EXPECT_EQ(sender->send(data(650), to, {.segment_size = 10}).error(), Errno::kInval);
  receiver->close();
  sender->close();
}

}  // namespace
}  // namespace aril::net::test
