#pragma once
#include <gtest/gtest.h>

#include <optional>
#include <ostream>

#include "simulated_link.hpp"

namespace aril::net::test {

inline constexpr TcpFlags kFin = TcpFlags::kFin, kSyn = TcpFlags::kSyn, kRst = TcpFlags::kRst,
                          kPsh = TcpFlags::kPsh, kAck = TcpFlags::kAck;

/// A segment that a script sends. Ports and addresses are the peer's unless given.
struct Script {
  TcpFlags flags = TcpFlags::kNone;
  uint32_t sequence = 0, acknowledgment = 0;
  uint16_t window = 65535;
  size_t payload = 0;  ///< bytes of pattern()
  TcpSegmentOptions options = {};
  uint16_t source_port = 40000;
};

/// What a script expects of the next segment; what is not given is not compared.
struct Expected {
  std::optional<TcpFlags> flags;
  std::optional<uint32_t> sequence, acknowledgment;
  std::optional<size_t> payload;
  std::optional<uint16_t> window;
};

/// A stack at 10.0.0.1 and, in place of another host, a script at 10.0.0.2 that sees and forges
/// every byte.
class ScriptedStack : public testing::Test {
 protected:
  static constexpr EthernetAddress kOurHardware = {2, 0, 0, 0, 0, 1};
  static constexpr EthernetAddress kPeerHardware = {2, 0, 0, 0, 0, 2};
  static constexpr IpAddress kOurs = IpAddress::v4(10, 0, 0, 1);
  static constexpr IpAddress kPeer = IpAddress::v4(10, 0, 0, 2);

  ScriptedStack() {
    stack = Stack::create({.secret = {1, 2}, .seed = 3, .now = now}).value();
    interface = stack->add_interface({.name = "eth0", .hardware = kOurHardware}, sink).value();
    stack->ip().add_address(*interface, {kOurs, 24}).value();
    stack->ip().add_route({.gateway = IpAddress::v4(10, 0, 0, 2), .interface = interface}).value();
    introduce_peer();
    sink.frames.clear();
  }

  /// An ARP request from the peer puts it into our cache.
  void introduce_peer() {
    auto arp =
        ArpPacket::make(ArpPacket::kRequest, kPeerHardware, kPeer.v4_value(), {}, kOurs.v4_value());
    send_frame(kEtherTypeArp, std::as_bytes(std::span(&arp, 1)));
  }

  void send_frame(uint16_t type, std::span<const std::byte> body,
                  const EthernetAddress& to = kOurHardware) {
    EthernetHeader header{to, kPeerHardware, type};
    Bytes frame(sizeof header);
    std::memcpy(frame.data(), &header, sizeof header);
    frame.insert(frame.end(), body.begin(), body.end());
    stack->receive(*interface, frame, ChecksumState::kUnknown);
  }

  void send_ip(Ipv4Fields fields, std::span<const std::byte> body) {
    Ipv4Header header = make_ipv4_header(fields, body.size());
    Bytes packet(sizeof header);
    std::memcpy(packet.data(), &header, sizeof header);
    packet.insert(packet.end(), body.begin(), body.end());
    send_frame(kEtherTypeIpv4, packet);
  }

  void send(const Script& script) {
    std::byte options[40];
    size_t option_length = script.options.write(options);
    TcpHeader header{.source_port = script.source_port,
                     .destination_port = port,
                     .sequence = script.sequence,
                     .acknowledgment = script.acknowledgment,
                     .data_offset = static_cast<uint8_t>((20 + option_length) / 4 << 4),
                     .flags = script.flags,
                     .window = script.window};
    Bytes bytes(20 + option_length + script.payload);
    std::memcpy(bytes.data(), &header, 20);
    std::memcpy(bytes.data() + 20, options, option_length);
    for (size_t i = 0; i < script.payload; ++i)
      bytes[20 + option_length + i] = pattern(script.sequence + i);
    Checksum sum;
    sum.add_pseudo_header(kPeer, kOurs, 6, static_cast<uint32_t>(bytes.size()));
    sum.add(bytes);
    header.checksum = sum.finish();
    std::memcpy(bytes.data(), &header, 20);
    send_ip({.source = kPeer, .destination = kOurs, .protocol = IpProtocol::kTcp}, bytes);
  }

  /// The next frame that the stack sent, if any.
  std::optional<Bytes> take_frame() {
    if (sink.frames.empty()) return std::nullopt;
    Bytes frame = std::move(sink.frames.front());
    sink.frames.pop_front();
    return frame;
  }

  /// The next TCP segment that the stack sent; its payload points into `last_frame`.
  std::optional<TcpSegment> take() {
    auto frame = take_frame();
    if (!frame) return std::nullopt;
    last_frame = std::move(*frame);
    auto ip = Ipv4View::parse(std::span(last_frame).subspan(14));
    EXPECT_TRUE(ip.has_value());
    if (!ip) return std::nullopt;
    auto segment =
        TcpSegment::parse(ip->payload(), ip->source(), ip->destination(), ChecksumState::kUnknown);
    EXPECT_TRUE(segment.has_value()) << "the stack sent a segment with a wrong checksum";
    return segment ? std::optional(*segment) : std::nullopt;
  }

  TcpSegment expect(const Expected& expected) {
    auto segment = take();
    EXPECT_TRUE(segment.has_value()) << "the stack sent nothing";
    if (!segment) return {};
    if (expected.flags)
      EXPECT_EQ(static_cast<int>(segment->flags & ~kPsh), static_cast<int>(*expected.flags));
    if (expected.sequence) EXPECT_EQ(segment->sequence, *expected.sequence);
    if (expected.acknowledgment) EXPECT_EQ(segment->acknowledgment, *expected.acknowledgment);
    if (expected.payload) EXPECT_EQ(segment->payload.size(), *expected.payload);
    if (expected.window) EXPECT_EQ(segment->window, *expected.window);
    return *segment;
  }
  void expect_silence() { EXPECT_TRUE(sink.frames.empty()); }

  /// Answers ARP requests for the peer and takes them out of what the script sees.
  void answer_arp() {
    auto is_arp = [](const Bytes& frame) {
      return frame[12] == std::byte{8} && frame[13] == std::byte{6};
    };
    if (std::erase_if(sink.frames, is_arp) != 0) introduce_peer();
    std::erase_if(sink.frames, is_arp);
  }

  void elapse(Duration time) {
    Instant end = now + time;
    while (stack->next_deadline() <= end) {
      now = std::max(now, stack->next_deadline());
      stack->advance(now);
      stack->poll_timers();
      answer_arp();
    }
    now = end;
    stack->advance(now);
    stack->poll_timers();
    answer_arp();
  }

  RefPtr<TcpSocket> listen(uint16_t on, unsigned backlog = 8, TcpOptions options = {}) {
    port = on;
    auto socket = stack->create_tcp_socket().value();
    EXPECT_TRUE(socket->set_options(options).has_value());
    EXPECT_TRUE(socket->bind({IpAddress(), on}).has_value());
    EXPECT_TRUE(socket->listen(backlog).has_value());
    return socket;
  }

  /// An established connection to a listener: the peer's next number is 1001, ours `iss + 1`.
  RefPtr<TcpSocket> establish(TcpSegmentOptions offered = {.max_segment = 1000},
                              TcpOptions options = {}, uint16_t window = 65535) {
    auto listener = listen(80, 8, options);
    send({.flags = kSyn, .sequence = 1000, .window = window, .options = offered});
    TcpSegment answer = expect({.flags = kSyn | kAck, .acknowledgment = 1001});
    iss = answer.sequence;
    send({.flags = kAck,
          .sequence = 1001,
          .acknowledgment = iss + 1,
          .window = window,
          .options = echo(offered, answer)});
    expect_silence();
    auto socket = listener->accept().value();
    EXPECT_EQ(socket->state(), TcpState::kEstablished);
    listener->close();
    return socket;
  }
  static TcpSegmentOptions echo(const TcpSegmentOptions& offered, const TcpSegment& answer) {
    TcpSegmentOptions options;
    if (offered.timestamps)
      options.timestamps =
          TcpTimestamps{offered.timestamps->value + 1, answer.options.timestamps->value};
    return options;
  }

  static Bytes data(size_t size) {
    Bytes bytes(size);
    for (size_t i = 0; i < size; ++i) bytes[i] = pattern(i);
    return bytes;
  }
  uint64_t dropped(DropReason reason) { return stack->counters().get(reason); }

  Instant now{1'000'000'000};
  CapturingSink sink;
  std::unique_ptr<Stack> stack;
  Interface* interface = nullptr;
  uint16_t port = 80;
  uint32_t iss = 0;
  Bytes last_frame;
};

}  // namespace aril::net::test
