#pragma once
#include <cstdint>
#include <memory>
#include <span>

#include "kernel/io/devices.hpp"
#include "kernel/memory/page.hpp"
#include "kernel/vm/page_cache.hpp"

namespace aril::erofs {

/// Where an image's bytes are. Any thread.
class ImageSource {
 public:
  virtual ~ImageSource() = default;
  [[nodiscard]] virtual uint64_t size() const = 0;
  /// Metadata. kIo when [offset, +size) is not all inside.
  virtual Result<void> read(uint64_t offset, std::span<std::byte> to) = 0;
  /// The frame that holds this block, when it is RAM.
  virtual PageRef in_place(uint64_t block) = 0;
  /// Fills pages with consecutive blocks. kIo.
  virtual Result<void> read_blocks(uint64_t block, std::span<PageRef> pages) = 0;
  /// Pages worth reading ahead.
  [[nodiscard]] virtual unsigned read_ahead_pages() const = 0;

  static Result<std::unique_ptr<ImageSource>> create(std::span<const std::byte> image);
  static Result<std::unique_ptr<ImageSource>> create(BlockDevice& device);
};

}  // namespace aril::erofs
