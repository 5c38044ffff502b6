#include "../src/net.hpp"

#include <gtest/gtest.h>

#include "fake_device.hpp"

namespace aril::virtio {
namespace {

using testing::bytes_of;
using testing::DeviceQueue;
using testing::FakeDevice;
using testing::FakeTransport;

constexpr uint64_t kAllFeatures = kNetChecksum | kNetGuestChecksum | kNetMtu | kNetMac |
                                  kNetGuestTso4 | kNetGuestTso6 | kNetHostTso4 | kNetHostTso6 |
                                  kNetHostUfo | kNetMergeBuffers | kNetStatus;

class NetTest : public ::testing::Test {
 protected:
  struct Frame {
    std::vector<std::byte> bytes;
    RxChecksum checksum;
  };

  void SetUp() override {
    testing::initialize_memory();
    device_.id = kDeviceNet;
    device_.offered |= kAllFeatures;
    const uint8_t mac[] = {0x52, 0x54, 0, 1, 2, 3};
    std::memcpy(device_.config.data(), mac, sizeof mac);
    device_.set_config<uint16_t>(kNetConfigStatus, kNetStatusLinkUp);
    device_.set_config<uint16_t>(kNetConfigMtu, 1500);
  }
  void TearDown() override {
    if (net_ != nullptr) net_->stop();
  }
  void start(NetDriver::Sizes sizes = {16, 4, true}) {
    net_ = std::make_unique<NetDriver>(std::make_unique<FakeTransport>(device_), sizes);
    ASSERT_TRUE(net_->start().has_value());
    net_->set_callback(0, [](void* self) { ++static_cast<NetTest*>(self)->wakes_; }, this);
  }

  DeviceQueue& receive() { return device_.queues[0]; }
  DeviceQueue& transmitted() { return device_.queues[1]; }

  static std::vector<std::byte> with_header(NetHeader header, std::span<const std::byte> frame) {
    std::vector<std::byte> bytes(sizeof header);
    std::memcpy(bytes.data(), &header, sizeof header);
    bytes.insert(bytes.end(), frame.begin(), frame.end());
    return bytes;
  }
  void deliver(std::span<const std::byte> bytes) {
    auto chain = receive().pop();
    ASSERT_TRUE(chain.has_value());
    receive().push(chain->head, chain->fill(bytes));
  }
  std::vector<Frame> poll(unsigned budget = 64) {
    std::vector<Frame> frames;
    net_->poll_receive(
        0, budget,
        [](void* context, std::span<const RxFrame> batch) {
          for (const RxFrame& frame : batch)
            static_cast<std::vector<Frame>*>(context)->push_back(
                {{frame.data, frame.data + frame.length}, frame.checksum});
        },
        &frames);
    return frames;
  }
  static std::vector<std::byte> frame_of(size_t length) {
    std::vector<std::byte> frame(length);
    for (size_t i = 0; i < length; ++i) frame[i] = static_cast<std::byte>(i * 7);
    return frame;
  }
  Result<void> send(std::span<const std::byte> frame, void (*release)(void*) = nullptr) {
    TxFrame::Piece pieces[2] = {{frame.data(), 14},
                                {frame.data() + 14, static_cast<uint32_t>(frame.size() - 14)}};
    return net_->transmit({.pieces = pieces}, release, this);
  }
  static void count_release(void* self) { ++static_cast<NetTest*>(self)->releases_; }
  std::vector<std::byte> sent() {
    auto chain = transmitted().pop();
    if (!chain) return {};
    last_sent_ = chain->head;
    std::vector<std::byte> bytes = chain->readable();
    std::memcpy(&sent_header_, bytes.data(), sizeof sent_header_);
    bytes.erase(bytes.begin(), bytes.begin() + sizeof(NetHeader));
    return bytes;
  }

  FakeDevice device_;
  std::unique_ptr<NetDriver> net_;
  unsigned wakes_ = 0, releases_ = 0;
  uint16_t last_sent_ = 0;
  NetHeader sent_header_{};
};

TEST_F(NetTest, StartsWithWhatIsOffered) {
  start();
  EXPECT_TRUE(device_.is_live());
  EXPECT_EQ(net_->mac(), (MacAddress{0x52, 0x54, 0, 1, 2, 3}));
  EXPECT_TRUE(net_->link_up());
  EXPECT_TRUE(has(net_->offloads(), NetOffload::kTsoIpv4));
  EXPECT_TRUE(has(net_->offloads(), NetOffload::kRxGro));
  EXPECT_EQ(receive().waiting(), 16);
  EXPECT_EQ(device_.notifications[0], 1u);
}

TEST_F(NetTest, WithoutOffersThereIsNoOffload) {
  device_.offered = kFeatureVersion1;
  start();
  EXPECT_EQ(net_->offloads(), NetOffload::kNone);
  EXPECT_EQ(net_->mac()[0] & 3, 2);  // made up: locally administered, not a group
  auto frame = frame_of(100);
  TxFrame::Piece piece{frame.data(), 100};
  EXPECT_EQ(net_->transmit({.pieces = {&piece, 1}, .checksum_start = 34, .checksum_offset = 16},
                           nullptr, nullptr)
                .error(),
            Errno::kInval);
}

TEST_F(NetTest, LegacyOrStubbornDeviceIsRefused) {
  device_.offered &= ~kFeatureVersion1;
  NetDriver old(std::make_unique<FakeTransport>(device_), {16, 4, true});
  EXPECT_EQ(old.start().error(), Errno::kNoDev);
  device_.offered |= kFeatureVersion1;
  device_.refuses_features = true;
  NetDriver stubborn(std::make_unique<FakeTransport>(device_), {16, 4, true});
  EXPECT_EQ(stubborn.start().error(), Errno::kNoDev);
}

TEST_F(NetTest, ReceivesAndRefills) {
  start();
  auto frame = frame_of(600);
  for (int i = 0; i < 100; ++i) {
    deliver(with_header({.flags = kNetDataValid, .buffer_count = 1}, frame));
    auto frames = poll();
    ASSERT_EQ(frames.size(), 1u);
    EXPECT_EQ(frames[0].bytes, frame);
    EXPECT_EQ(frames[0].checksum, RxChecksum::kVerified);
    EXPECT_EQ(receive().waiting(), 16);
  }
}

TEST_F(NetTest, BudgetIsKept) {
  start();
  for (int i = 0; i < 5; ++i) deliver(with_header({.buffer_count = 1}, frame_of(60)));
  EXPECT_EQ(poll(3).size(), 3u);
  EXPECT_EQ(poll(3).size(), 2u);
}

TEST_F(NetTest, MergesBuffers) {
  start();
  auto frame = frame_of(5000);
  auto bytes = with_header({.gso_type = kGsoTcp4, .gso_size = 1448, .buffer_count = 3}, frame);
  auto rest = std::span<const std::byte>(bytes);
  for (int i = 0; i < 3; ++i) {
    auto chain = receive().pop();
    uint32_t written = chain->fill(rest);
    rest = rest.subspan(written);
    receive().push(chain->head, written);
  }
  auto frames = poll();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].bytes, frame);
  EXPECT_EQ(receive().waiting(), 16);
}

TEST_F(NetTest, ImpossibleFramesAreDroppedAndCounted) {
  start();
  deliver(with_header({.buffer_count = 1}, frame_of(13)));  // runt
  deliver(bytes_of("short"));                               // not even a header
  deliver(with_header({.buffer_count = 0}, frame_of(60)));  // no buffers
  EXPECT_TRUE(poll().empty());
  EXPECT_EQ(net_->counters().receive_errors, 3u);
  deliver(with_header({.buffer_count = 9}, frame_of(60)));  // buffers that never came
  EXPECT_TRUE(poll().empty());
  EXPECT_EQ(net_->counters().receive_errors, 4u);
  auto chain = receive().pop();
  receive().push(chain->head, 1u << 30);  // more than fits
  EXPECT_TRUE(poll().empty());
  EXPECT_EQ(net_->counters().receive_errors, 5u);
  EXPECT_EQ(receive().waiting(), 16);
  EXPECT_FALSE(net_->has_failed());
}

TEST_F(NetTest, BrokenRingResetsTheDevice) {
  start();
  unsigned resets = device_.resets;
  receive().push(77, 100);
  EXPECT_TRUE(poll().empty());
  EXPECT_TRUE(net_->has_failed());
  EXPECT_FALSE(net_->link_up());
  EXPECT_EQ(device_.resets, resets + 1);
  EXPECT_EQ(send(frame_of(60)).error(), Errno::kIo);
}

TEST_F(NetTest, InterruptsOncePerArming) {
  start();
  auto frame = with_header({.buffer_count = 1}, frame_of(60));
  deliver(frame);
  EXPECT_FALSE(device_.interrupt(0));
  EXPECT_FALSE(net_->arm_interrupt(0));  // a frame is there
  poll();
  EXPECT_TRUE(net_->arm_interrupt(0));
  deliver(frame);
  EXPECT_TRUE(device_.interrupt(0));
  deliver(frame);
  device_.interrupt(0);
  device_.sink->on_queue_interrupt(0);  // a shared line
  EXPECT_EQ(wakes_, 1u);
}

TEST_F(NetTest, SmallFramesAreCopied) {
  start();
  {
    auto frame = frame_of(100);
    ASSERT_TRUE(send(frame, count_release).has_value());
    std::ranges::fill(frame, std::byte{0});
  }
  EXPECT_EQ(releases_, 1u);
  EXPECT_EQ(device_.notifications[1], 0u);
  net_->flush_transmit(0);
  EXPECT_EQ(device_.notifications[1], 1u);
  EXPECT_EQ(sent(), frame_of(100));
}

TEST_F(NetTest, HalfARingIsSentWithoutAFlush) {
  start();
  auto frame = frame_of(100);
  ASSERT_TRUE(send(frame).has_value());
  EXPECT_EQ(transmitted().waiting(), 0);
  ASSERT_TRUE(send(frame).has_value());
  EXPECT_EQ(transmitted().waiting(), 2);
  EXPECT_EQ(device_.notifications[1], 1u);
}

TEST_F(NetTest, LargeFramesAreSentInPlaceAndReleased) {
  start();
  auto frame = frame_of(30'000);
  ASSERT_TRUE(send(frame, count_release).has_value());
  net_->flush_transmit(0);
  EXPECT_EQ(sent(), frame);
  EXPECT_EQ(releases_, 0u);
  transmitted().push(last_sent_, 0);
  poll();
  EXPECT_EQ(releases_, 1u);
}

TEST_F(NetTest, LargeFramesWithoutReleaseAreCopied) {
  start();
  {
    auto frame = frame_of(30'000);
    ASSERT_TRUE(send(frame).has_value());
  }
  net_->flush_transmit(0);
  EXPECT_EQ(sent(), frame_of(30'000));
  transmitted().push(last_sent_, 0);
  poll();
}

TEST_F(NetTest, OffloadHeader) {
  start();
  auto frame = frame_of(4000);
  TxFrame::Piece piece{frame.data(), 4000};
  TxFrame whole{.pieces = {&piece, 1},
                .checksum_start = 34,
                .checksum_offset = 16,
                .segment_size = 1448,
                .header_length = 66};
  ASSERT_TRUE(net_->transmit(whole, nullptr, nullptr).has_value());
  net_->flush_transmit(0);
  sent();
  EXPECT_EQ(sent_header_.flags, kNetNeedsChecksum);
  EXPECT_EQ(sent_header_.gso_type, kGsoTcp4);
  EXPECT_EQ(sent_header_.gso_size, 1448);
  EXPECT_EQ(sent_header_.header_length, 66);
  EXPECT_EQ(sent_header_.checksum_start, 34);
  whole.is_datagram = true;
  ASSERT_TRUE(net_->transmit(whole, nullptr, nullptr).has_value());
  net_->flush_transmit(0);
  sent();
  EXPECT_EQ(sent_header_.gso_type, kGsoUdp);
  whole.checksum_offset = 4000;
  EXPECT_EQ(net_->transmit(whole, nullptr, nullptr).error(), Errno::kInval);
}

TEST_F(NetTest, FullRingInterruptsWhenThereIsRoom) {
  start();
  auto frame = frame_of(60);
  int queued = 0;
  while (send(frame).has_value()) ++queued;
  EXPECT_EQ(queued, 4);
  EXPECT_EQ(device_.notifications[1], 1u);  // what is queued is on its way
  poll();
  EXPECT_TRUE(net_->arm_interrupt(0));
  for (int used = 1; used <= 4; ++used) {
    sent();
    transmitted().push(last_sent_, 0);
    device_.interrupt(1);
    EXPECT_EQ(wakes_, used >= 3 ? 1u : 0u) << used;
  }
  EXPECT_TRUE(send(frame).has_value());
}

TEST_F(NetTest, RoomMadeByPollingWaitsForItsBatch) {
  start();
  auto frame = frame_of(60);
  while (send(frame).has_value()) {}
  for (int used = 1; used <= 3; ++used) {
    sent();
    transmitted().push(last_sent_, 0);
    poll();
    EXPECT_TRUE(net_->arm_interrupt(0));
    device_.interrupt(1);
    EXPECT_EQ(wakes_, used == 3 ? 1u : 0u) << used;
  }
}

TEST_F(NetTest, SleepsWhenDescriptorsRunOut) {
  start();
  auto frame = frame_of(9 * 700);
  std::array<TxFrame::Piece, 9> pieces;
  for (size_t i = 0; i < pieces.size(); ++i) pieces[i] = {frame.data() + i * 700, 700};
  auto send_pieces = [&] { return net_->transmit({.pieces = pieces}, [](void*) {}, nullptr); };
  // Each takes a slot, of four, and ten descriptors, of sixteen.
  ASSERT_TRUE(send_pieces().has_value());
  EXPECT_EQ(send_pieces().error(), Errno::kAgain);
  poll();
  EXPECT_TRUE(net_->arm_interrupt(0));
  EXPECT_EQ(sent(), frame);
  transmitted().push(last_sent_, 0);
  device_.interrupt(1);
  EXPECT_EQ(wakes_, 1u);
  EXPECT_TRUE(send_pieces().has_value());
}

TEST_F(NetTest, FailureReleasesFramesUnderWay) {
  start();
  auto frame = frame_of(3000);
  ASSERT_TRUE(send(frame, count_release).has_value());
  device_.status |= kStatusNeedsReset;
  device_.sink->on_config_interrupt();
  EXPECT_TRUE(net_->has_failed());
  EXPECT_EQ(wakes_, 1u);
  poll();
  EXPECT_EQ(releases_, 1u);
}

TEST_F(NetTest, LinkChangeIsSeen) {
  start();
  device_.set_config<uint16_t>(kNetConfigStatus, 0);
  device_.sink->on_config_interrupt();
  EXPECT_FALSE(net_->link_up());
  EXPECT_EQ(wakes_, 1u);
}

TEST_F(NetTest, LongRunKeepsBooks) {
  start();
  auto small = frame_of(200), large = frame_of(9000);
  unsigned with_release = 0;
  for (int i = 0; i < 3000; ++i) {
    bool big = i % 3 == 0;
    if (!send(big ? large : small, count_release)) {
      net_->flush_transmit(0);
    } else {
      ++with_release;
    }
    if (i % 2 == 0) net_->flush_transmit(0);
    if (i % 5 == 0) {
      while (transmitted().waiting() != 0) {
        sent();
        transmitted().push(last_sent_, 0);
      }
    }
  }
  net_->flush_transmit(0);
  while (transmitted().waiting() != 0) {
    sent();
    transmitted().push(last_sent_, 0);
  }
  poll();
  EXPECT_EQ(releases_, with_release);
  EXPECT_FALSE(net_->has_failed());
}

}  // namespace
}  // namespace aril::virtio
