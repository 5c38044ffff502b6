#include "net/runtime/runtime.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <vector>

#include "arch/host.hpp"
#include "arch/page_table.hpp"
#include "kernel/memory/page_allocator.hpp"
#include "kernel/random/random.hpp"
#include "kernel/sched/scheduler.hpp"
#include "net/wire/checksum.hpp"
#include "net/wire/dhcp.hpp"
#include "net/wire/ethernet.hpp"
#include "net/wire/ipv4.hpp"
#include "net/wire/tcp.hpp"

namespace aril::net {
namespace {

using Bytes = std::vector<std::byte>;

/// A device whose wire is two queues in the test's hands.
class FakeDevice final : public NetDevice {
 public:
  ~FakeDevice() override { complete(); }
  [[nodiscard]] MacAddress mac() const override { return {2, 0, 0, 0, 0, 1}; }
  [[nodiscard]] uint32_t mtu() const override { return 1500; }
  [[nodiscard]] NetOffload offloads() const override { return offered; }
  [[nodiscard]] bool link_up() const override { return true; }
  [[nodiscard]] unsigned queue_count() const override { return queue_total; }

  Result<void> transmit(const TxFrame& frame, void (*release)(void*), void* context) override {
    if (room == 0 || frame.queue == full_queue) return fail(Errno::kAgain);
    --room;
    sent_by.push_back(frame.queue);
    Bytes bytes;
    for (const TxFrame::Piece& piece : frame.pieces)
      bytes.insert(bytes.end(), piece.data, piece.data + piece.length);
    queued.push_back(std::move(bytes));
    segment_sizes.push_back(frame.segment_size);
    if (release != nullptr) releases.push_back({release, context});
    return {};
  }
  void flush_transmit(unsigned) override {
    ++flushes;
    for (Bytes& bytes : queued) sent.push_back(std::move(bytes));
    queued.clear();
  }
  unsigned poll_receive(unsigned queue, unsigned budget, Sink sink, void* context) override {
    if (queue != 0) return 0;
    unsigned count = 0;
    for (; count < budget && !arriving.empty(); ++count) {
      Bytes frame = std::move(arriving.front());
      arriving.pop_front();
      const RxFrame arrived{frame.data(), static_cast<uint32_t>(frame.size()),
                            RxChecksum::kUnknown};
      sink(context, {&arrived, 1});
    }
    return count;
  }
  bool arm_interrupt(unsigned) override { return arriving.empty(); }
  void set_callback(unsigned, void (*)(void*), void*) override {}

  /// The device is done with everything that it was given.
  void complete() {
    for (auto [release, context] : std::exchange(releases, {})) release(context);
  }

  NetOffload offered = NetOffload::kNone;
  unsigned queue_total = 1, full_queue = ~0u;
  size_t room = 1000, flushes = 0;
  std::vector<unsigned> sent_by;  ///< the queue of each frame
  std::deque<Bytes> arriving, queued, sent;
  std::vector<uint16_t> segment_sizes;
  std::vector<std::pair<void (*)(void*), void*>> releases;
};

constexpr IpAddress kOurs = IpAddress::v4(10, 0, 0, 1), kPeer = IpAddress::v4(10, 0, 0, 2);
constexpr EthernetAddress kPeerHardware = {2, 0, 0, 0, 0, 2};

class RuntimeTest : public testing::Test {
 protected:
  void SetUp() override {
    static bool initialized = false;
    if (!std::exchange(initialized, true)) {
      const PhysicalRange usable[] = {{1 * kMiB, 64 * kMiB}};
      page_allocator::initialize(usable, {});
      arch::PageTable::set_kernel_root(arch::allocate_table_page().value());
      random::initialize();
      Scheduler::start_boot_cpu();
    }
    arch::host_set_time(Instant{1'000'000'000});
    // Runtimes live as long as the machine, hence never destroyed.
    static auto& runtimes = *new std::vector<std::unique_ptr<Runtime>>;
    static auto& devices = *new std::vector<std::unique_ptr<FakeDevice>>;
    runtimes.push_back(Runtime::create().value());
    devices.push_back(std::make_unique<FakeDevice>());
    runtime = runtimes.back().get();
    device = devices.back().get();
  }

  void start_static() {
    index = runtime->attach(*device).value();
    runtime
        ->configure_static(index, {.address = kOurs,
                                   .prefix_length = 24,
                                   .gateway = kPeer,
                                   .nameservers = {IpAddress::v4(9, 9, 9, 9)}})
        .value();
    auto arp =
        ArpPacket::make(ArpPacket::kRequest, kPeerHardware, kPeer.v4_value(), {}, kOurs.v4_value());
    arrive(kEtherTypeArp, std::as_bytes(std::span(&arp, 1)));
    runtime->poll();
    device->sent.clear();
    device->flushes = 0;
  }

  void arrive(uint16_t type, std::span<const std::byte> body) {
    EthernetHeader header{device->mac(), kPeerHardware, type};
    Bytes frame(sizeof header);
    std::memcpy(frame.data(), &header, sizeof header);
    frame.insert(frame.end(), body.begin(), body.end());
    device->arriving.push_back(std::move(frame));
  }
  void arrive_udp(uint16_t from, uint16_t to, std::span<const std::byte> payload,
                  IpAddress source = kPeer, IpAddress destination = kOurs) {
    UdpHeader header{.source_port = from,
                     .destination_port = to,
                     .length = static_cast<uint16_t>(sizeof(UdpHeader) + payload.size())};
    Ipv4Header ip = make_ipv4_header(
        {.source = source, .destination = destination, .protocol = IpProtocol::kUdp},
        header.length);
    Bytes packet(sizeof ip + sizeof header);
    std::memcpy(packet.data(), &ip, sizeof ip);
    std::memcpy(packet.data() + sizeof ip, &header, sizeof header);
    packet.insert(packet.end(), payload.begin(), payload.end());
    arrive(kEtherTypeIpv4, packet);
  }

  RefPtr<UdpSocket> udp_socket() {
    Runtime::Guard guard(*runtime);
    return guard->create_udp_socket().value();
  }
  void close(RefPtr<UdpSocket>& socket) {
    Runtime::Guard guard(*runtime);
    socket->close();
    socket.reset();
  }

  Runtime* runtime = nullptr;
  FakeDevice* device = nullptr;
  uint32_t index = 0;
};

TEST_F(RuntimeTest, AnswersInBatches) {
  start_static();
  for (int i = 0; i < 5; ++i) {
    auto arp =
        ArpPacket::make(ArpPacket::kRequest, kPeerHardware, kPeer.v4_value(), {}, kOurs.v4_value());
    arrive(kEtherTypeArp, std::as_bytes(std::span(&arp, 1)));
  }
  EXPECT_TRUE(runtime->poll());
  EXPECT_EQ(device->sent.size(), 5u);
  EXPECT_EQ(device->flushes, 1u);
  EXPECT_FALSE(runtime->poll());
}

TEST_F(RuntimeTest, StaticConfigurationIsKnownAtOnce) {
  start_static();
  EXPECT_TRUE(runtime->wait_configured(Instant{}).has_value());
  EXPECT_EQ(runtime->resolver_configuration(), "nameserver 9.9.9.9\n");
  EXPECT_EQ(runtime->configure_static(77, Ipv4Configuration{}).error(), Errno::kNoDev);
}

TEST_F(RuntimeTest, LoopbackWorksWithoutADevice) {
  auto from = udp_socket(), to = udp_socket();
  {
    Runtime::Guard guard(*runtime);
    ASSERT_TRUE(to->bind({IpAddress::v4(127, 0, 0, 1), 0}).has_value());
    Bytes hello(5, std::byte{'h'});
    EXPECT_EQ(from->send(hello, to->local()).value(), 5u);
    EXPECT_EQ(to->receive().error(), Errno::kAgain);
  }  // delivered here
  {
    Runtime::Guard guard(*runtime);
    EXPECT_EQ(to->receive().value().payload().size(), 5u);
  }
  close(from);
  close(to);
}

TEST_F(RuntimeTest, KeepsFramesWhileTheRingIsFull) {
  start_static();
  auto socket = udp_socket();
  device->room = 2;
  {
    Runtime::Guard guard(*runtime);
    for (size_t i = 0; i < 10; ++i) {
      Bytes payload(100 + i, std::byte{1});
      EXPECT_TRUE(socket->send(payload, Endpoint{kPeer, 9}).has_value());
    }
  }
  EXPECT_EQ(device->sent.size(), 2u);
  device->complete();
  device->room = 100;
  runtime->poll();
  ASSERT_EQ(device->sent.size(), 10u);
  for (size_t i = 0; i < 10; ++i) EXPECT_EQ(device->sent[i].size(), 42 + 100 + i);  // in order
  device->complete();
  // Without end it does not keep them.
  device->room = 0;
  {
    Runtime::Guard guard(*runtime);
    for (int i = 0; i < 1500; ++i) {
      Bytes payload(100);
      (void)socket->send(payload, Endpoint{kPeer, 9});
    }
    EXPECT_EQ(guard->counters().get(DropReason::kDeviceFull), 500u);
  }
  device->room = 2000;
  runtime->poll();
  device->complete();
  close(socket);
}

TEST_F(RuntimeTest, AFlowKeepsItsQueue) {
  device->queue_total = 4;
  start_static();
  auto socket = udp_socket();
  const Bytes payload(10, std::byte{1});
  auto send = [&](uint16_t port) {
    Runtime::Guard guard(*runtime);
    EXPECT_TRUE(socket->send(payload, Endpoint{kPeer, port}).has_value());
  };
  device->sent_by.clear();
  for (int round = 0; round < 3; ++round)
    for (uint16_t port = 1; port <= 100; ++port) send(port);
  ASSERT_EQ(device->sent_by.size(), 300u);
  std::vector<unsigned> frames(4);
  for (size_t i = 0; i < 300; ++i) {
    EXPECT_EQ(device->sent_by[i], device->sent_by[i % 100]);
    ++frames[device->sent_by[i]];
  }
  for (unsigned count : frames) EXPECT_GT(count, 15u);
  close(socket);
}

TEST_F(RuntimeTest, AFullQueueHoldsUpNoOther) {
  device->queue_total = 4;
  start_static();
  auto socket = udp_socket();
  auto send = [&](uint16_t port, std::byte number) {
    Runtime::Guard guard(*runtime);
    EXPECT_TRUE(socket->send(Bytes(1, number), Endpoint{kPeer, port}).has_value());
  };
  send(1, std::byte{0});
  device->full_queue = device->sent_by.back();
  device->sent.clear();
  device->sent_by.clear();
  for (uint8_t i = 1; i < 200; ++i) send(i % 50 + 1, std::byte{i});
  const size_t others = device->sent.size();
  EXPECT_GT(others, 100u);
  EXPECT_LT(others, 199u);
  device->full_queue = ~0u;
  runtime->poll();
  ASSERT_EQ(device->sent.size(), 199u);
  for (size_t i = others + 1; i < 199; ++i)  // in order
    EXPECT_LT(device->sent[i - 1][42], device->sent[i][42]);
  close(socket);
}

TEST_F(RuntimeTest, SharesBlocksWithTheDeviceUntilItIsDone) {
  device->offered = NetOffload::kTxChecksum | NetOffload::kTsoIpv4;
  start_static();
  RefPtr<TcpSocket> socket;
  static int released = 0;
  static Bytes page(8000, std::byte{7});
  {
    Runtime::Guard guard(*runtime);
    socket = guard->create_tcp_socket().value();
    EXPECT_EQ(socket->connect({kPeer, 80}).error(), Errno::kInProgress);
  }
  ASSERT_EQ(device->sent.size(), 1u);
  TcpHeader syn;
  std::memcpy(&syn, device->sent[0].data() + 34, sizeof syn);
  auto answer = [&](TcpFlags flags, uint32_t sequence, uint32_t acknowledgment) {
    TcpHeader header{.source_port = 80,
                     .destination_port = syn.source_port,
                     .sequence = sequence,
                     .acknowledgment = acknowledgment,
                     .data_offset = 0x50,
                     .flags = flags,
                     .window = 60000};
    Checksum sum;
    sum.add_pseudo_header(kPeer, kOurs, 6, sizeof header);
    sum.add(std::as_bytes(std::span(&header, 1)));
    header.checksum = sum.finish();
    Ipv4Header ip = make_ipv4_header(
        {.source = kPeer, .destination = kOurs, .protocol = IpProtocol::kTcp}, sizeof header);
    Bytes packet(sizeof ip + sizeof header);
    std::memcpy(packet.data(), &ip, sizeof ip);
    std::memcpy(packet.data() + sizeof ip, &header, sizeof header);
    arrive(kEtherTypeIpv4, packet);
    runtime->poll();
  };
  answer(TcpFlags::kSyn | TcpFlags::kAck, 500, syn.sequence + 1);
  device->complete();
  device->segment_sizes.clear();
  {
    Runtime::Guard guard(*runtime);
    EXPECT_EQ(socket->state(), TcpState::kEstablished);
    auto block = Block::wrap(page, [](void*, auto) { ++released; }, nullptr).value();
    std::byte* data = block->data();
    BlockChain chain;
    ASSERT_TRUE(chain.append({std::move(block), data, 8000}).has_value());
    // The peer's MSS is 536 by default: ten segments are the first window.
    EXPECT_EQ(socket->send(chain).value(), 8000u);
  }
  ASSERT_EQ(device->segment_sizes.size(), 1u);
  EXPECT_EQ(device->segment_sizes[0], 536);
  answer(TcpFlags::kAck, 501, syn.sequence + 1 + 5360);
  answer(TcpFlags::kAck, 501, syn.sequence + 1 + 8000);
  EXPECT_EQ(released, 0);  // acknowledged, but the device still reads it
  device->complete();
  EXPECT_EQ(released, 1);
  Runtime::Guard guard(*runtime);
  socket->abort();
}

TEST_F(RuntimeTest, ConfiguresByDhcp) {
  index = runtime->attach(*device).value();
  ASSERT_TRUE(runtime->configure_dhcp(index, "web").has_value());
  EXPECT_EQ(runtime->resolver_configuration(), "");
  auto reply = [&](DhcpMessageType type) {
    DhcpHeader header;
    std::memcpy(&header, device->sent.back().data() + 42, sizeof header);
    header.operation = DhcpHeader::kReply;
    header.your = kOurs.v4_value();
    Bytes bytes(sizeof header);
    std::memcpy(bytes.data(), &header, sizeof header);
    for (int value : {53,  1,   static_cast<int>(type),
                      54,  4,   10,
                      0,   0,   2,
                      1,   4,   255,
                      255, 255, 0,
                      3,   4,   10,
                      0,   0,   2,
                      6,   4,   10,
                      0,   0,   3,
                      51,  4,   0,
                      0,   14,  16,
                      255})
      bytes.push_back(static_cast<std::byte>(value));
    arrive_udp(67, 68, bytes, kPeer,
               type == DhcpMessageType::kOffer ? kOurs : IpAddress::v4(0xffffffff));
    runtime->poll();
  };
  ASSERT_EQ(device->sent.size(), 1u);
  EXPECT_EQ(device->sent[0][0], std::byte{0xff});
  reply(DhcpMessageType::kOffer);
  reply(DhcpMessageType::kAck);
  EXPECT_TRUE(runtime->wait_configured(Instant{}).has_value());
  EXPECT_EQ(runtime->resolver_configuration(), "nameserver 10.0.0.3\n");
  Runtime::Guard guard(*runtime);
  EXPECT_TRUE(guard->ip().is_local(kOurs));
  EXPECT_EQ(guard->ip().route(IpAddress::v4(1, 1, 1, 1)).value().next_hop, kPeer);
}

}  // namespace
}  // namespace aril::net
