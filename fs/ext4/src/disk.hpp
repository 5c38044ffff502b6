#pragma once
#include <cstdint>
#include <span>

#include "base/units.hpp"
#include "kernel/io/devices.hpp"
#include "kernel/memory/page.hpp"

namespace aril::ext4 {

/// A block device seen as blocks of the file system's size (1 to 4 KiB). Any thread.
class Disk {
 public:
  static constexpr uint32_t kSmallestBlock = 1024;
  explicit Disk(BlockDevice& device) : device_(device) {}

  /// Once, before anything else; until then blocks are of kSmallestBlock.
  void set_block_size(uint32_t bytes) { block_size_ = bytes; }
  [[nodiscard]] uint32_t block_size() const { return block_size_; }
  [[nodiscard]] uint64_t block_count() const {
    return device_.sector_count() / (block_size_ / BlockDevice::kSectorSize);
  }
  [[nodiscard]] BlockDevice& device() const { return device_; }

  /// Consecutive blocks from `block` on. kIo, also past the end of the device.
  Result<void> read(uint64_t block, std::span<const BlockDevice::Segment> segments) const {
    return device_.read(sector_of(block), segments);
  }
  Result<void> write(uint64_t block, std::span<const BlockDevice::Segment> segments) const {
    return device_.write(sector_of(block), segments);
  }
  Result<void> flush() const { return device_.flush(); }

  /// One block, at the start of a page.
  Result<void> read_block(uint64_t block, Page& page) const {
    BlockDevice::Segment segment{page.physical(), block_size_};
    return read(block, {&segment, 1});
  }
  Result<void> write_block(uint64_t block, Page& page) const {
    BlockDevice::Segment segment{page.physical(), block_size_};
    return write(block, {&segment, 1});
  }

 private:
  [[nodiscard]] uint64_t sector_of(uint64_t block) const {
    uint64_t sector;
    // What overflows is past the end too.
    if (__builtin_mul_overflow(block, block_size_ / BlockDevice::kSectorSize, &sector))
      return ~uint64_t{0};
    return sector;
  }

  BlockDevice& device_;
  uint32_t block_size_ = kSmallestBlock;
};

}  // namespace aril::ext4
