#include "../src/balloon.hpp"

#include <gtest/gtest.h>

#include "fake_device.hpp"

namespace aril::virtio {
namespace {

using testing::FakeDevice;
using testing::FakeTransport;

constexpr unsigned kReportingQueue = 3;  // behind inflate, deflate, statistics

class BalloonTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::initialize_memory();
    device_.id = kDeviceBalloon;
    device_.offered |= kBalloonStatistics | kBalloonReporting;
    driver_ = std::make_unique<BalloonDriver>(std::make_unique<FakeTransport>(device_));
    ASSERT_TRUE(driver_->start());
    while (driver_->report()) answer();
  }
  void TearDown() override { driver_->stop(); }

  /// The host has discarded what is in the queue: bytes.
  size_t answer() {
    size_t bytes = 0;
    auto& ring = device_.queues[kReportingQueue];
    while (auto chain = ring.pop()) {
      for (const auto& piece : chain->pieces) {
        EXPECT_TRUE(piece.writable);
        bytes += piece.length;
      }
      ring.push(chain->head, 0);
    }
    device_.interrupt(kReportingQueue);
    return bytes;
  }

  static size_t free_pages() { return page_allocator::statistics().free_pages; }

  FakeDevice device_;
  std::unique_ptr<BalloonDriver> driver_;
};

TEST_F(BalloonTest, ReportsWhatBecameFreeOnce) {
  ASSERT_TRUE(device_.is_live());
  EXPECT_FALSE(driver_->report()) << "all was reported";
  size_t before = free_pages();
  auto block = page_allocator::allocate_block(page_allocator::kReportedOrder);
  ASSERT_TRUE(block);
  page_allocator::free_block(*block, page_allocator::kReportedOrder);
  ASSERT_TRUE(driver_->report());
  EXPECT_LT(free_pages(), before) << "nobody gets memory that the host is about to discard";
  EXPECT_FALSE(driver_->report()) << "one batch at a time";
  EXPECT_GE(answer(), kPageSize << page_allocator::kReportedOrder);
  while (driver_->report()) answer();
  EXPECT_EQ(free_pages(), before);
  EXPECT_FALSE(driver_->report());
}

TEST_F(BalloonTest, SmallBlocksStay) {
  auto page = page_allocator::allocate_block(0);
  ASSERT_TRUE(page);
  auto neighbour = page_allocator::allocate_block(0);
  ASSERT_TRUE(neighbour);
  page_allocator::free_block(*page, 0);
  EXPECT_FALSE(driver_->report());
  page_allocator::free_block(*neighbour, 0);
}

TEST_F(BalloonTest, GetsMemoryBackFromAFailedDevice) {
  size_t before = free_pages();
  auto block = page_allocator::allocate_block(page_allocator::kReportedOrder);
  ASSERT_TRUE(block);
  page_allocator::free_block(*block, page_allocator::kReportedOrder);
  ASSERT_TRUE(driver_->report());
  device_.status |= kStatusNeedsReset;
  device_.sink->on_config_interrupt();
  EXPECT_TRUE(driver_->has_failed());
  EXPECT_EQ(free_pages(), before);
  EXPECT_FALSE(driver_->report());
}

}  // namespace
}  // namespace aril::virtio
