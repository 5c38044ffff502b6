#include "../src/virtqueue.hpp"

#include <gtest/gtest.h>

#include "fake_device.hpp"

namespace aril::virtio {
namespace {

using testing::DeviceQueue;
using testing::FakeDevice;
using testing::FakeTransport;

class VirtqueueTest : public ::testing::TestWithParam<uint64_t> {
 protected:
  void SetUp() override {
    testing::initialize_memory();
    device_.accepted = GetParam();
    auto queue = Virtqueue::create(transport_, 0, 8, GetParam());
    ASSERT_TRUE(queue.has_value());
    queue_ = std::move(*queue);
  }
  uint16_t add_writable(uint32_t length = 64) {
    Virtqueue::Buffer buffer{0x200000, length};
    std::optional<uint16_t> head = queue_->add({}, {&buffer, 1});
    EXPECT_TRUE(head.has_value());
    return head.value_or(0);
  }
  DeviceQueue& other_side() { return device_.queues[0]; }

  FakeDevice device_;
  FakeTransport transport_{device_};
  std::unique_ptr<Virtqueue> queue_;
};
INSTANTIATE_TEST_SUITE_P(Suppression, VirtqueueTest,
                         ::testing::Values(uint64_t{0}, kFeatureEventIndex));

TEST_P(VirtqueueTest, ChainsArriveInOrderAndComeBack) {
  Virtqueue::Buffer readable[] = {{0x1000, 10}, {0x2000, 20}};
  Virtqueue::Buffer writable[] = {{0x3000, 30}};
  std::optional<uint16_t> head = queue_->add(readable, writable);
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(queue_->free_descriptors(), 5);
  EXPECT_EQ(other_side().waiting(), 0);  // not published
  EXPECT_TRUE(queue_->publish());
  auto chain = other_side().pop();
  ASSERT_TRUE(chain.has_value());
  ASSERT_EQ(chain->pieces.size(), 3u);
  EXPECT_EQ(chain->pieces[0].length, 10u);
  EXPECT_EQ(chain->pieces[1].data, arch::physical_to_virtual(0x2000));
  EXPECT_FALSE(chain->pieces[1].writable);
  EXPECT_TRUE(chain->pieces[2].writable);
  EXPECT_FALSE(queue_->take_used().has_value());
  other_side().push(chain->head, 30);
  auto used = queue_->take_used();
  ASSERT_TRUE(used.has_value());
  EXPECT_EQ(used->head, *head);
  EXPECT_EQ(used->length, 30u);
  EXPECT_EQ(queue_->free_descriptors(), 8);
}

TEST_P(VirtqueueTest, IndicesWrap) {
  for (int i = 0; i < 70'000; ++i) {
    uint16_t head = add_writable();
    static_cast<void>(queue_->publish());
    auto chain = other_side().pop();
    ASSERT_TRUE(chain.has_value());
    other_side().push(chain->head, 1);
    auto used = queue_->take_used();
    ASSERT_TRUE(used.has_value());
    ASSERT_EQ(used->head, head);
  }
  EXPECT_FALSE(queue_->is_broken());
}

TEST_P(VirtqueueTest, FullQueueRefuses) {
  for (int i = 0; i < 8; ++i) add_writable();
  Virtqueue::Buffer buffer{0x1000, 1};
  EXPECT_FALSE(queue_->add({}, {&buffer, 1}).has_value());
  EXPECT_EQ(queue_->outstanding(), 8);
}

TEST_P(VirtqueueTest, NotifiesOnlyOnRequest) {
  add_writable();
  EXPECT_TRUE(queue_->publish());
  EXPECT_FALSE(queue_->publish());  // nothing new
  other_side().pop();
  other_side().suppress_notifications();
  add_writable();
  EXPECT_FALSE(queue_->publish());
}

TEST_P(VirtqueueTest, InterruptsOnlyWhenArmed) {
  queue_->disarm_interrupt();
  for (int i = 0; i < 4; ++i) add_writable();
  static_cast<void>(queue_->publish());
  auto use_one = [&] { other_side().push(other_side().pop()->head, 0); };
  use_one();
  EXPECT_FALSE(other_side().interrupt_wanted());
  EXPECT_FALSE(queue_->arm_interrupt());  // one is there already
  queue_->take_used();
  EXPECT_TRUE(queue_->arm_interrupt());
  use_one();
  EXPECT_TRUE(other_side().interrupt_wanted());
}

TEST(VirtqueueEventIndex, BatchesInterrupts) {
  testing::initialize_memory();
  FakeDevice device;
  device.accepted = kFeatureEventIndex;
  FakeTransport transport(device);
  auto queue = Virtqueue::create(transport, 0, 8, kFeatureEventIndex);
  ASSERT_TRUE(queue.has_value());
  Virtqueue::Buffer buffer{0x1000, 1};
  for (int i = 0; i < 6; ++i) (*queue)->add({}, {&buffer, 1});
  static_cast<void>((*queue)->publish());
  EXPECT_TRUE((*queue)->arm_interrupt(2));
  for (int used = 1; used <= 4; ++used) {
    device.queues[0].push(device.queues[0].pop()->head, 0);
    EXPECT_EQ(device.queues[0].interrupt_wanted(), used == 3);
  }
}

TEST_P(VirtqueueTest, IndirectTakesOneDescriptor) {
  std::array<Descriptor, 4> table;
  Virtqueue::Buffer readable[] = {{0x1000, 10}};
  Virtqueue::Buffer writable[] = {{0x2000, 20}, {0x3000, 30}};
  auto head =
      queue_->add_indirect({table, arch::virtual_to_physical(table.data())}, readable, writable);
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(queue_->free_descriptors(), 7);
  static_cast<void>(queue_->publish());
  auto chain = other_side().pop();
  ASSERT_EQ(chain->pieces.size(), 3u);
  EXPECT_EQ(chain->pieces[2].length, 30u);
  other_side().push(chain->head, 51);  // one more than fits
  EXPECT_EQ(queue_->take_used()->length, 0u);
  EXPECT_EQ(queue_->violations().length, 1u);
}

TEST_P(VirtqueueTest, HostileIdBreaksTheQueue) {
  for (uint32_t id : {8u, 0xffffffffu, 5u}) {
    SetUp();
    add_writable();
    static_cast<void>(queue_->publish());
    other_side().push(id, 0);
    EXPECT_FALSE(queue_->take_used().has_value());
    EXPECT_TRUE(queue_->is_broken());
    EXPECT_EQ(queue_->violations().id, 1u);
  }
}

TEST_P(VirtqueueTest, SameIdTwiceBreaksTheQueue) {
  uint16_t head = add_writable();
  add_writable();
  static_cast<void>(queue_->publish());
  other_side().push(head, 0);
  other_side().push(head, 0);
  EXPECT_TRUE(queue_->take_used().has_value());
  EXPECT_FALSE(queue_->take_used().has_value());
  EXPECT_TRUE(queue_->is_broken());
}

TEST_P(VirtqueueTest, IndexJumpBreaksTheQueue) {
  for (uint16_t jump : {2, 9, 0x8000, 0xffff}) {
    SetUp();
    add_writable();
    static_cast<void>(queue_->publish());
    other_side().advance(jump);
    EXPECT_FALSE(queue_->take_used().has_value());
    EXPECT_TRUE(queue_->is_broken());
    EXPECT_EQ(queue_->violations().index, 1u);
    Virtqueue::Buffer buffer{0x1000, 1};
    EXPECT_FALSE(queue_->add({}, {&buffer, 1}).has_value());
  }
}

TEST(VirtqueueCreate, TakesTheSmallerSizeRoundedDown) {
  testing::initialize_memory();
  FakeDevice device;
  FakeTransport transport(device);
  device.queue_limit = 100;
  EXPECT_EQ((*Virtqueue::create(transport, 0, 256, 0))->size(), 64);
  device.queue_limit = 0;
  EXPECT_EQ(Virtqueue::create(transport, 0, 256, 0).error(), Errno::kNoDev);
}

}  // namespace
}  // namespace aril::virtio
