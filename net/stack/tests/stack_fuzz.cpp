// The whole stack against a program of hostile frames, socket calls and time, read from the input.
// Checksums are right, or declared verified, so that the fuzzer gets past them; sequence numbers
// can be relative to what the stack sent, so that it gets past those too.
#include <map>

#include "net/wire/ndp.hpp"
#include "simulated_link.hpp"

using namespace aril;
using namespace aril::net;
using namespace aril::net::test;

namespace {

constexpr IpAddress kOurs = IpAddress::v4(10, 0, 0, 1), kPeer = IpAddress::v4(10, 0, 0, 2);
constexpr IpAddress kOurs6 = IpAddress::v6(0xfd00ull << 48, 1),
                    kPeer6 = IpAddress::v6(0xfd00ull << 48, 2),
                    kPeerLocal = IpAddress::v6(0xfe80ull << 48, 2);
// Not IP: what a packet socket sends is as the program made it.
constexpr uint16_t kOwnType = 0x88b5;
constexpr EthernetAddress kOurHardware = {2, 0, 0, 0, 0, 1}, kPeerHardware = {2, 0, 0, 0, 0, 2};

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), left_(size) {}
  [[nodiscard]] bool empty() const { return left_ == 0; }
  uint8_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  uint16_t half() { return static_cast<uint16_t>(byte() << 8 | byte()); }
  uint32_t word() { return static_cast<uint32_t>(half()) << 16 | half(); }
  Bytes bytes(size_t count) {
    Bytes out(std::min(count, left_));
    for (std::byte& value : out) value = std::byte{byte()};
    return out;
  }

 private:
  const uint8_t* data_;
  size_t left_;
};

class Program {
 public:
  explicit Program(Input& input) : input_(input) {
    stack_ =
        Stack::create({.secret = {1, 2}, .seed = 3, .memory_limit = 1 << 20, .now = now_}).value();
    interface_ = stack_
                     ->add_interface({.name = "eth0",
                                      .hardware = kOurHardware,
                                      .features = input_.byte() & 1
                                                      ? LinkFeatures::kChecksum |
                                                            LinkFeatures::kTso | LinkFeatures::kUfo
                                                      : LinkFeatures::kNone},
                                     sink_)
                     .value();
    stack_->ip().add_address(*interface_, {kOurs, 24}).value();
    stack_->ip().add_route({.gateway = kPeer, .interface = interface_}).value();
    auto arp =
        ArpPacket::make(ArpPacket::kRequest, kPeerHardware, kPeer.v4_value(), {}, kOurs.v4_value());
    frame(kEtherTypeArp, std::as_bytes(std::span(&arp, 1)));
    (void)stack_->ip().enable_ipv6(*interface_);
    (void)stack_->ip().add_ipv6_address(*interface_, {.address = kOurs6, .prefix_length = 64});
    // Fast open of both sides, and without cookies, which no input would guess.
    stack_->tcp().fast_open().mode = FastOpenMode::kClient | FastOpenMode::kClientWithoutCookie |
                                     FastOpenMode::kServer | FastOpenMode::kServerWithoutCookie;
    listener_ = stack_->create_tcp_socket(IpAddress::v6(0, 0)).value();
    (void)listener_->set_options({.fast_open_queue = 3});
    (void)listener_->bind({IpAddress::v6(0, 0), 80});
    (void)listener_->listen(4);
    udp_ = stack_->create_udp_socket(IpAddress::v6(0, 0)).value();
    (void)udp_->bind({IpAddress::v6(0, 0), 53});
    stack_->tcp().set_ecn(Ecn::kRequest);
    raw_ = stack_->raw().create_socket(RawKind::kRaw, 58, IpAddress::v6(0, 0)).value();
    ping_ = stack_->raw().create_socket(RawKind::kPing, 1, IpAddress()).value();
    DatagramOptions options = ping_->options();
    options.receive_errors = true;
    (void)ping_->set_options(options);
    packets_ = stack_->packets()
                   .create_socket(PacketKind::kDatagram, PacketSocket::kEveryProtocol)
                   .value();
  }
  ~Program() {
    if (connection_) connection_->close();
    listener_->close();
    udp_->close();
    raw_->close();
    ping_->close();
    packets_->close();
  }

  void run() {
    for (unsigned steps = 0; !input_.empty() && steps < 400; ++steps) {
      step();
      while (stack_->run_loopback()) {}
      watch();
    }
  }

 private:
  void frame(uint16_t type, std::span<const std::byte> body) {
    EthernetHeader header{kOurHardware, kPeerHardware, type};
    Bytes bytes(sizeof header);
    std::memcpy(bytes.data(), &header, sizeof header);
    bytes.insert(bytes.end(), body.begin(), body.end());
    stack_->receive(*interface_, bytes, ChecksumState::kVerified);
  }
  void packet(IpProtocol protocol, std::span<const std::byte> body, uint16_t fragment = 0,
              uint16_t id = 0) {
    Ipv4Header header = make_ipv4_header({.source = kPeer,
                                          .destination = kOurs,
                                          .protocol = protocol,
                                          .identification = id,
                                          .fragment = fragment},
                                         body.size());
    Bytes bytes(sizeof header);
    std::memcpy(bytes.data(), &header, sizeof header);
    bytes.insert(bytes.end(), body.begin(), body.end());
    frame(kEtherTypeIpv4, bytes);
  }

  void packet6(uint8_t next, std::span<const std::byte> body) {
    uint8_t where = input_.byte();
    IpAddress from = where & 1 ? kPeer6 : where & 2 ? IpAddress::v6(0, 0) : kPeerLocal;
    IpAddress to = where & 4 ? kOurs6 : where & 8 ? solicited_node(kOurs6) : kAllNodes;
    Ipv6Header header = make_ipv6_header(from, to, next, where & 16 ? 1 : 255, 0, body.size());
    Bytes bytes(sizeof header);
    std::memcpy(bytes.data(), &header, sizeof header);
    bytes.insert(bytes.end(), body.begin(), body.end());
    frame(kEtherTypeIpv6, bytes);
  }

  void segment() {
    uint8_t selector = input_.byte();
    auto flags = static_cast<TcpFlags>(input_.byte());
    uint16_t window = input_.half();
    size_t payload = selector & 1 ? input_.half() % 3000 : 0;
    Bytes options = input_.bytes(selector & 2 ? input_.byte() % 40 & ~3u : 0);
    options.resize(options.size() & ~size_t{3});
    if (selector & 128) {
      // Blocks near what is in flight, which chance would not find.
      TcpSegmentOptions sack;
      for (sack.sack_count = 0; sack.sack_count < 3; ++sack.sack_count) {
        uint32_t start = sent_end_ - input_.byte() * 100u;
        sack.sack[sack.sack_count] = {start, start + input_.byte() * 100u};
      }
      options.assign(kMaxTcpHeader - sizeof(TcpHeader), std::byte{});
      options.resize(sack.write(
          std::span<std::byte, kMaxTcpHeader - sizeof(TcpHeader)>(options.data(), options.size())));
    }
    TcpHeader header{.source_port = static_cast<uint16_t>(40000 + (selector >> 2 & 3)),
                     .destination_port =
                         peer_of_connect_ != 0 && selector & 16 ? peer_of_connect_ : uint16_t{80},
                     .sequence = acknowledged_ +
                                 static_cast<int8_t>(input_.byte()) * (selector & 32 ? 1000u : 1u),
                     .acknowledgment = sent_end_ + static_cast<int8_t>(input_.byte()) *
                                                       (selector & 64 ? 1000u : 1u),
                     .data_offset = static_cast<uint8_t>((20 + options.size()) / 4 << 4),
                     .flags = flags,
                     .window = window};
    if (selector & 16 && peer_of_connect_ != 0) header.source_port = 7;
    Bytes bytes(sizeof header);
    std::memcpy(bytes.data(), &header, sizeof header);
    bytes.insert(bytes.end(), options.begin(), options.end());
    bytes.resize(bytes.size() + payload, std::byte{'x'});
    packet(IpProtocol::kTcp, bytes);
  }

  void step() {
    switch (input_.byte() % 22) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
      case 5:
        return segment();
      case 6: {
        Bytes bytes = input_.bytes(input_.byte());
        return stack_->receive(*interface_, bytes, ChecksumState::kUnknown);
      }
      case 7:
        return packet(IpProtocol::kIcmp, input_.bytes(input_.byte()));
      case 8: {
        uint16_t fragment = input_.half(), id = input_.byte() & 3;
        Bytes body(input_.half() % 2000);
        return packet(input_.byte() & 1 ? IpProtocol::kUdp : IpProtocol::kTcp, body, fragment, id);
      }
      case 9:
        return frame(kEtherTypeArp, input_.bytes(28));
      case 10: {
        now_ = now_ + Duration::milliseconds(input_.half());
        stack_->advance(now_);
        return stack_->poll_timers();
      }
      case 11:
        if (!connection_)
          if (auto accepted = listener_->accept()) connection_ = *accepted;
        return;
      case 12: {
        Bytes bytes(input_.half());
        if (connection_) (void)connection_->send(bytes, static_cast<SendFlags>(input_.byte() & 1));
        return;
      }
      case 13: {
        std::byte buffer[5000];
        if (connection_) (void)connection_->receive(std::span(buffer).first(input_.half() % 5000));
        return;
      }
      case 14:
        return control();
      case 15: {
        Bytes body = input_.bytes(input_.byte());
        packet(IpProtocol::kUdp, body);
        while (udp_->receive()) {}
        return;
      }
      case 16: {
        uint8_t next = input_.byte();
        return packet6(next, input_.bytes(input_.byte()));
      }
      case 17: {  // Neighbour Discovery and its like
        Bytes body = input_.bytes(input_.byte());
        body.resize(std::max<size_t>(body.size(), 4));
        body[0] = static_cast<std::byte>(128 + (input_.byte() & 15));
        body[1] = std::byte{0};
        return packet6(58, body);
      }
      case 18: {  // a fragment
        Ipv6FragmentHeader header{.next_header = input_.byte(),
                                  .reserved = 0,
                                  .offset_and_flags = input_.half(),
                                  .identification = input_.byte() & 3u};
        Bytes body(sizeof header);
        std::memcpy(body.data(), &header, sizeof header);
        Bytes rest = input_.bytes(input_.byte() & 0xf8);
        body.insert(body.end(), rest.begin(), rest.end());
        return packet6(44, body);
      }
      case 19:
        return groups();
      case 20:
        return below_transports();
      case 21: {  // for somebody else
        stack_->ip().set_forwarding(input_.byte() & 1, true);
        Bytes bytes = input_.bytes(input_.byte());
        if (bytes.size() > 20) bytes[19] = std::byte{99};
        return frame(input_.byte() & 1 ? kEtherTypeIpv4 : kEtherTypeIpv6, bytes);
      }
    }
  }

  void groups() {
    uint8_t what = input_.byte();
    IpAddress group = what & 1 ? IpAddress::v4(239, 0, 0, what >> 4)
                               : IpAddress::v6(0xff02ull << 48, 0x100u + (what >> 4));
    if (what & 2) return packet(IpProtocol::kIgmp, input_.bytes(input_.byte()));
    (void)(what & 4 ? udp_->leave_group(group, interface_->index())
                    : udp_->join_group(group, interface_->index()));
    Bytes body(input_.byte());
    if (what & 8) (void)udp_->send(body, Endpoint{group, 53, 2});
  }

  void below_transports() {
    uint8_t what = input_.byte();
    if (what & 1) {
      std::vector<FilterInstruction> program(1 + input_.byte() % 8u);
      for (FilterInstruction& instruction : program)
        instruction = {input_.byte(), input_.byte(), input_.byte(), input_.word()};
      if (auto filter = PacketFilter::create(program, PacketFilter::Dialect::kSocket))
        packets_->set_filter(std::move(*filter));
    }
    Bytes body = input_.bytes(input_.byte());
    if (what & 2) (void)ping_->send(body, Endpoint{what & 4 ? kPeer : kOurs, 0});
    if (what & 8) (void)packets_->send(body, what & 16 ? 1 : 2, kOwnType, kPeerHardware);
    while (packets_->receive()) {}
    while (ping_->receive()) {}
    while (raw_->receive()) {}
    while (ping_->receive_queued_error()) {}
  }

  void control() {
    uint8_t what = input_.byte();
    if (!connection_) {
      if ((what & 7) != 0) return;
      connection_ = stack_->create_tcp_socket().value();
      if ((what & 8) != 0) {
        (void)connection_->connect({kPeer, 7}, input_.bytes(what));
      } else {
        (void)connection_->connect({kPeer, 7});
      }
      return;
    }
    switch (what & 7) {
      case 0:
        connection_->close();
        connection_.reset();
        peer_of_connect_ = 0;
        return;
      case 1:
        (void)connection_->shutdown(static_cast<Shutdown>(what >> 3 & 1 ? 1 : 2));
        return;
      case 2:
        connection_->abort();
        return;
      case 3:
        (void)connection_->events();
        (void)connection_->info();
        return;
      case 4:
        (void)connection_->take_error();
        return;
      default: {
        TcpOptions options = connection_->options();
        options.cork = what & 8;
        options.no_delay = what & 16;
        options.keep_alive = what & 32;
        options.congestion = what & 64 ? CongestionControl::kReno : CongestionControl::kCubic;
        options.receive_buffer = what & 128 ? 3000 : 0;
        (void)connection_->set_options(options);
      }
    }
  }

  /// Learns sequence numbers from what the stack sends, and checks that all of it is well-formed.
  void watch() {
    for (const Bytes& sent : sink_.frames) {
      bool is_ipv6 =
          sent.size() >= 14 && sent[12] == std::byte{0x86} && sent[13] == std::byte{0xdd};
      if (is_ipv6 && !Ipv6View::parse(std::span(sent).subspan(14))) abort();
      if (sent.size() < 54 || sent[12] != std::byte{8} || sent[13] != std::byte{0}) continue;
      auto ip = Ipv4View::parse(std::span(sent).subspan(14));
      if (!ip) abort();
      if (ip->protocol() != 6 || ip->is_fragment()) continue;
      auto segment = TcpSegment::parse(ip->payload(), ip->source(), ip->destination(),
                                       ChecksumState::kUnknown);
      if (!segment) abort();
      sent_end_ = segment->end();
      if (segment->is(TcpFlags::kAck)) acknowledged_ = segment->acknowledgment;
      if (segment->destination.port == 7) peer_of_connect_ = segment->source.port;
    }
    sink_.frames.clear();
  }

  Input& input_;
  Instant now_{1'000'000'000};
  CapturingSink sink_;
  std::unique_ptr<Stack> stack_;
  Interface* interface_ = nullptr;
  RefPtr<TcpSocket> listener_, connection_;
  RefPtr<UdpSocket> udp_;
  RefPtr<RawSocket> raw_, ping_;
  RefPtr<PacketSocket> packets_;
  uint32_t sent_end_ = 0, acknowledged_ = 1000;
  uint16_t peer_of_connect_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  Program(input).run();
  return 0;
}
