#include <gtest/gtest.h>

#include "../src/net.hpp"
#include "arch/host.hpp"
#include "fake_device.hpp"

namespace aril::virtio {
namespace {

using testing::FakeDevice;
using testing::FakeTransport;

/// What the device does with the command that sets the number of pairs.
enum class Answer { kOk, kError, kNone, kImpossible };
Answer answer_given;
std::vector<NetSetPairs> commands;

void answer_command(FakeDevice& device, unsigned queue) {
  if ((device.accepted & kNetMultiqueue) == 0) return;
  if (queue != 2u * *reinterpret_cast<const uint8_t*>(&device.config[kNetConfigMaxPairs])) return;
  auto chain = device.queues[queue].pop();
  ASSERT_TRUE(chain.has_value());
  const std::vector<std::byte> command = chain->readable();
  ASSERT_EQ(command.size(), sizeof(NetSetPairs));
  std::memcpy(&commands.emplace_back(), command.data(), command.size());
  const auto answer = static_cast<std::byte>(answer_given == Answer::kError ? 1 : 0);
  chain->fill({&answer, 1});
  if (answer_given == Answer::kNone) {
    arch::host_advance_time(Duration::seconds(60));
  } else {
    device.queues[queue].push(answer_given == Answer::kImpossible ? 77 : chain->head, 1);
  }
}

class NetMultiqueueTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::initialize_memory();
    commands.clear();
    answer_given = Answer::kOk;
    device_.id = kDeviceNet;
    device_.offered |= kNetMultiqueue | kNetControlQueue;
    device_.on_notify = answer_command;
    set_pairs(4);
  }
  void TearDown() override {
    if (net_ != nullptr) net_->stop();
    arch::host_release_time();
  }
  void set_pairs(uint16_t pairs) { device_.set_config<uint16_t>(kNetConfigMaxPairs, pairs); }
  void start(unsigned most) {
    net_ = std::make_unique<NetDriver>(std::make_unique<FakeTransport>(device_),
                                       NetDriver::Sizes{16, 4, false, most});
    ASSERT_TRUE(net_->start().has_value());
    for (unsigned i = 0; i < net_->queue_count(); ++i)
      net_->set_callback(i, [](void* count) { ++*static_cast<unsigned*>(count); }, &wakes_[i]);
  }
  /// The device works with its first pair alone, after `errors` found on the way.
  void expect_one_pair(uint64_t errors) {
    EXPECT_EQ(net_->queue_count(), 1u);
    EXPECT_EQ(net_->counters().multiqueue_errors, errors);
    EXPECT_FALSE(net_->has_failed());
    EXPECT_TRUE(device_.is_live());
    if (errors != 0) {
      EXPECT_EQ(device_.accepted & (kNetMultiqueue | kNetControlQueue), 0u);
    }
    EXPECT_EQ(device_.queues[2].size(), 0u);
    deliver(0);
    EXPECT_EQ(poll(0), 1u);
    EXPECT_TRUE(send(0));
    EXPECT_TRUE(device_.queues[1].pop().has_value());
  }

  void deliver(unsigned pair) {
    auto chain = device_.queues[2 * pair].pop();
    ASSERT_TRUE(chain.has_value());
    std::array<std::byte, sizeof(NetHeader) + 60> bytes{};
    device_.queues[2 * pair].push(chain->head, chain->fill(bytes));
  }
  unsigned poll(unsigned pair) {
    unsigned frames = 0;
    net_->poll_receive(
        pair, 64,
        [](void* count, std::span<const RxFrame> batch) {
          *static_cast<unsigned*>(count) += static_cast<unsigned>(batch.size());
        },
        &frames);
    return frames;
  }
  bool send(uint8_t pair) {
    const std::array<std::byte, 60> bytes{};
    const TxFrame::Piece piece{bytes.data(), bytes.size()};
    const bool sent =
        net_->transmit({.pieces = {&piece, 1}, .queue = pair}, nullptr, nullptr).has_value();
    net_->flush_transmit(pair);
    return sent;
  }

  FakeDevice device_;
  std::unique_ptr<NetDriver> net_;
  std::array<unsigned, NetDevice::kMaxQueues> wakes_{};
};

TEST_F(NetMultiqueueTest, TakesAPairForEachCpu) {
  start(2);
  EXPECT_EQ(net_->queue_count(), 2u);
  EXPECT_EQ(net_->counters().multiqueue_errors, 0u);
  ASSERT_EQ(commands.size(), 1u);  // [virtio-1.2] 5.1.6.5.5
  EXPECT_EQ(commands[0].command_class, 4);
  EXPECT_EQ(commands[0].command, 0);
  EXPECT_EQ(commands[0].pairs, 2);
  EXPECT_EQ(device_.queues[8].size(), 2);  // behind the four pairs that there are
  EXPECT_EQ(device_.queues[0].waiting(), 16);
  EXPECT_EQ(device_.queues[2].waiting(), 16);
  for (unsigned queue : {4, 5, 6, 7}) EXPECT_EQ(device_.queues[queue].size(), 0u);
  for (unsigned queue : {0, 1}) EXPECT_EQ(device_.sink->cpu_of_queue(queue), 0u);
  for (unsigned queue : {2, 3}) EXPECT_EQ(device_.sink->cpu_of_queue(queue), 1u);
}

TEST_F(NetMultiqueueTest, PairsWorkByThemselves) {
  start(2);
  deliver(1);
  EXPECT_EQ(poll(0), 0u);
  EXPECT_EQ(poll(1), 1u);
  EXPECT_EQ(device_.queues[2].waiting(), 16);
  EXPECT_TRUE(send(1));
  EXPECT_FALSE(device_.queues[1].pop().has_value());
  EXPECT_TRUE(device_.queues[3].pop().has_value());
  // A full ring is that pair's own matter.
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(send(1));
  EXPECT_FALSE(send(1));
  EXPECT_TRUE(send(0));
  EXPECT_EQ(net_->queue_counters(0).sent, 1u);
  EXPECT_EQ(net_->queue_counters(1).sent, 4u);
  EXPECT_EQ(net_->queue_counters(0).received, 0u);
  EXPECT_EQ(net_->queue_counters(1).received, 1u);
}

TEST_F(NetMultiqueueTest, AnInterruptWakesItsPair) {
  start(2);
  EXPECT_TRUE(net_->arm_interrupt(0));
  EXPECT_TRUE(net_->arm_interrupt(1));
  deliver(1);
  // As a transport with one interrupt for all does it.
  for (unsigned queue = 0; queue < 4; ++queue) device_.sink->on_queue_interrupt(queue);
  EXPECT_EQ(wakes_[0], 0u);
  EXPECT_EQ(wakes_[1], 1u);
  device_.sink->on_queue_interrupt(30);  // none of ours
}

TEST_F(NetMultiqueueTest, FailureEndsEveryPair) {
  start(2);
  device_.queues[2].push(77, 100);
  EXPECT_EQ(poll(1), 0u);
  EXPECT_TRUE(net_->has_failed());
  EXPECT_EQ(wakes_[0], 1u);
  EXPECT_EQ(wakes_[1], 1u);
  EXPECT_EQ(poll(0), 0u);
  EXPECT_FALSE(send(0));
}

TEST_F(NetMultiqueueTest, TakesNoMorePairsThanThereAre) {
  start(8);
  EXPECT_EQ(net_->queue_count(), 4u);
  net_->stop();
  set_pairs(1);
  start(8);
  expect_one_pair(0);
}

TEST_F(NetMultiqueueTest, OneCpuTakesOnePair) {
  start(1);
  EXPECT_EQ(device_.accepted & (kNetMultiqueue | kNetControlQueue), 0u);
  EXPECT_TRUE(commands.empty());
  expect_one_pair(0);
}

TEST_F(NetMultiqueueTest, ADeviceWithOnePairIsNoError) {
  device_.offered &= ~(kNetMultiqueue | kNetControlQueue);
  start(2);
  expect_one_pair(0);
}

TEST_F(NetMultiqueueTest, NonsenseLeavesOnePair) {
  for (uint16_t pairs : {uint16_t{0}, uint16_t{0x8001}, uint16_t{0xffff}}) {
    set_pairs(pairs);
    start(2);
    expect_one_pair(1);
    EXPECT_TRUE(commands.empty());
    net_->stop();
  }
}

TEST_F(NetMultiqueueTest, SeveralPairsWithoutAControlQueueAreOne) {
  device_.offered &= ~kNetControlQueue;
  start(2);
  expect_one_pair(1);
}

TEST_F(NetMultiqueueTest, TooFewQueuesLeaveOnePair) {
  for (unsigned count : {2, 3, 4, 8}) {  // the last: all but the control queue
    device_.queue_count = count;
    start(2);
    expect_one_pair(1);
    net_->stop();
  }
}

TEST_F(NetMultiqueueTest, ARefusedCommandLeavesOnePair) {
  for (Answer answer : {Answer::kError, Answer::kNone, Answer::kImpossible}) {
    answer_given = answer;
    commands.clear();
    start(2);
    EXPECT_EQ(commands.size(), 1u);
    expect_one_pair(1);
    net_->stop();
  }
}

}  // namespace
}  // namespace aril::virtio
