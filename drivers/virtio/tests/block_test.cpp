#include "../src/block.hpp"

#include <gtest/gtest.h>

#include "fake_device.hpp"
#include "kernel/memory/page_allocator.hpp"

namespace aril::virtio {
namespace {

using testing::FakeDevice;
using testing::FakeTransport;

/// A disk of 1 MiB in a vector, which serves requests as they are notified.
struct Disk {
  std::vector<std::byte> bytes = std::vector<std::byte>(1 << 20);
  std::vector<size_t> pieces_per_request;
  std::vector<uint32_t> types;
  uint8_t status = kBlockStatusOk;
  bool hostile = false;
};
Disk* disk;

void serve(FakeDevice& device, unsigned queue) {
  auto& ring = device.queues[queue];
  while (auto chain = ring.pop()) {
    BlockHeader header;
    auto request = chain->readable();
    ASSERT_GE(request.size(), sizeof header);
    std::memcpy(&header, request.data(), sizeof header);
    disk->types.push_back(header.type);
    disk->pieces_per_request.push_back(chain->pieces.size() - 2);
    size_t at = header.sector * 512;
    uint32_t written = 1;
    if (header.type == kBlockOut) {
      ASSERT_LE(at + request.size() - sizeof header, disk->bytes.size());
      std::memcpy(disk->bytes.data() + at, request.data() + sizeof header,
                  request.size() - sizeof header);
    }
    for (size_t i = 1; header.type == kBlockIn && i + 1 < chain->pieces.size(); ++i) {
      const auto& piece = chain->pieces[i];
      ASSERT_TRUE(piece.writable);
      ASSERT_LE(at + piece.length, disk->bytes.size());
      std::memcpy(piece.data, disk->bytes.data() + at, piece.length);
      at += piece.length;
      written += piece.length;
    }
    *chain->pieces.back().data = static_cast<std::byte>(disk->status);
    ring.push(disk->hostile ? 9999 : chain->head, written);
  }
  device.interrupt(queue);
}

class BlockTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    testing::initialize_memory();
    disk = &disk_;
    for (size_t i = 0; i < disk_.bytes.size(); ++i)
      disk_.bytes[i] = static_cast<std::byte>(i / 512 * 31 + i);
    device_.id = kDeviceBlock;
    if (!GetParam()) device_.offered &= ~kFeatureIndirect;
    device_.offered |= kBlockSegmentMax | kBlockSizeMax | kBlockFlush;
    device_.on_notify = serve;
    device_.set_config<uint64_t>(kBlockConfigCapacity, disk_.bytes.size() / 512);
    device_.set_config<uint32_t>(kBlockConfigSizeMax, 1 << 20);
    device_.set_config<uint32_t>(kBlockConfigSegmentMax, 126);
    memory_ = *page_allocator::allocate_block(8);
  }
  void TearDown() override {
    if (block_ != nullptr) block_->stop();
    page_allocator::free_block(memory_, 8);
  }
  void start() {
    block_ = std::make_unique<BlockDriver>(std::make_unique<FakeTransport>(device_), 4, 0);
    ASSERT_TRUE(block_->start().has_value());
  }
  std::byte* data() { return arch::physical_to_virtual(memory_); }

  Disk disk_;
  FakeDevice device_;
  std::unique_ptr<BlockDriver> block_;
  PhysicalAddress memory_ = 0;
};
INSTANTIATE_TEST_SUITE_P(Indirect, BlockTest, ::testing::Bool());

TEST_P(BlockTest, Describes) {
  start();
  EXPECT_EQ(block_->sector_count(), 2048u);
  EXPECT_EQ(block_->name(), "vda");
  EXPECT_FALSE(block_->is_read_only());
  EXPECT_EQ(BlockDriver(std::make_unique<FakeTransport>(device_), 4, 27).name(), "vdab");
}

TEST_P(BlockTest, ReadsScatteredSegments) {
  start();
  std::vector<BlockDevice::Segment> segments;
  for (int i = 0; i < 100; ++i) segments.push_back({memory_ + i * 8192u, 4096});
  ASSERT_TRUE(block_->read(8, segments).has_value());
  for (int i = 0; i < 100; ++i)
    ASSERT_EQ(std::memcmp(data() + i * 8192, disk_.bytes.data() + 4096 + i * 4096, 4096), 0);
  EXPECT_GE(disk_.pieces_per_request.size(), 2u);  // more than one request takes
}

TEST_P(BlockTest, NeighboursBecomeOnePiece) {
  start();
  std::vector<BlockDevice::Segment> segments;
  for (int i = 0; i < 100; ++i) segments.push_back({memory_ + i * 4096u, 4096});
  ASSERT_TRUE(block_->read(0, segments).has_value());
  EXPECT_EQ(disk_.pieces_per_request, std::vector<size_t>{1});
  EXPECT_EQ(std::memcmp(data(), disk_.bytes.data(), 409'600), 0);
}

TEST_P(BlockTest, SplitsByTheDevicesLimits) {
  device_.set_config<uint32_t>(kBlockConfigSizeMax, 1500);  // two sectors
  device_.set_config<uint32_t>(kBlockConfigSegmentMax, 3);
  start();
  BlockDevice::Segment segment{memory_, 512 * 33};
  ASSERT_TRUE(block_->write(100, {&segment, 1}).has_value());
  EXPECT_EQ(std::memcmp(data(), disk_.bytes.data() + 51'200, 512 * 33), 0);
  for (size_t pieces : disk_.pieces_per_request) EXPECT_LE(pieces, 3u);
}

TEST_P(BlockTest, OneSegmentWhenNothingIsPromised) {
  device_.offered &= ~(kBlockSegmentMax | kBlockSizeMax);
  start();
  BlockDevice::Segment segments[] = {{memory_, 512}, {memory_ + 4096, 1024}};
  ASSERT_TRUE(block_->read(1, segments).has_value());
  EXPECT_EQ(disk_.pieces_per_request, (std::vector<size_t>{1, 1}));
  EXPECT_EQ(std::memcmp(data() + 4096, disk_.bytes.data() + 1024, 1024), 0);
}

TEST_P(BlockTest, RefusesWhatIsOutside) {
  start();
  BlockDevice::Segment segment{memory_, 1024};
  EXPECT_TRUE(block_->read(2046, {&segment, 1}).has_value());
  EXPECT_EQ(block_->read(2047, {&segment, 1}).error(), Errno::kInval);
  EXPECT_EQ(block_->read(~uint64_t{0}, {&segment, 1}).error(), Errno::kInval);
  segment.length = 100;
  EXPECT_EQ(block_->read(0, {&segment, 1}).error(), Errno::kInval);
}

TEST_P(BlockTest, FlushesAndReportsErrors) {
  start();
  ASSERT_TRUE(block_->flush().has_value());
  EXPECT_EQ(disk_.types, std::vector<uint32_t>{kBlockFlushRequest});
  disk_.status = 1;
  BlockDevice::Segment segment{memory_, 512};
  EXPECT_EQ(block_->read(0, {&segment, 1}).error(), Errno::kIo);
  disk_.status = kBlockStatusOk;
  EXPECT_TRUE(block_->read(0, {&segment, 1}).has_value());
}

TEST_P(BlockTest, ReadOnlyRefusesWrites) {
  device_.offered |= kBlockReadOnly;
  start();
  BlockDevice::Segment segment{memory_, 512};
  EXPECT_EQ(block_->write(0, {&segment, 1}).error(), Errno::kRoFs);
}

TEST_P(BlockTest, BrokenRingFailsRequests) {
  start();
  disk_.hostile = true;
  BlockDevice::Segment segment{memory_, 512};
  EXPECT_EQ(block_->read(0, {&segment, 1}).error(), Errno::kIo);
  EXPECT_TRUE(block_->has_failed());
  EXPECT_EQ(block_->read(0, {&segment, 1}).error(), Errno::kIo);
}

}  // namespace
}  // namespace aril::virtio
