#pragma once
#include <array>
#include <cstdint>

#include "buffer_cache.hpp"
#include "format.hpp"

namespace aril::ext4 {

class Node;
class Volume;

/// What a piece of a file is.
struct Mapping {
  enum class Kind : uint8_t {
    kHole,
    kWritten,
    kUnwritten,  ///< has blocks, reads as zeroes
  };
  Kind kind = Kind::kHole;
  uint64_t start = 0;   ///< the first disk block, unless a hole
  uint32_t length = 0;  ///< blocks that are alike from the one asked for on; at least 1
};

/// An inode's extents [ifork.rst]: a B+ tree whose root lies in the inode. A view, made for one
/// call; under the volume's lock, changes inside an Operation. Block numbers in a file are 32 bits.
/// Every node that is read is checked; what makes no sense gives kIo.
class ExtentTree {
 public:
  explicit ExtentTree(Node& node);

  /// An empty tree in a new inode.
  void initialize();
  /// What block `at` of the file is. kIo; kOpNotSupp for a file without extents.
  Result<Mapping> find(uint32_t at);
  /// Maps [at, at+length), which is a hole. kNoSpc, kIo.
  Result<void> insert(uint32_t at, uint64_t start, uint32_t length, Mapping::Kind kind);
  /// [at, at+length), all of one unwritten mapping, has been written.
  Result<void> mark_written(uint32_t at, uint32_t length);
  /// Frees blocks of the file at or after `from` and before `end`, from the end on, one extent a
  /// call. True when there are none left.
  Result<bool> remove_last(uint32_t from, uint64_t end);
  /// Blocks that the next insert may need at most.
  static constexpr unsigned kInsertCredits = 2 * format::kMaxExtentDepth + 8;

  struct Extent {
    uint32_t at = 0;
    uint32_t length = 0;
    uint64_t start = 0;
    bool unwritten = false;
    [[nodiscard]] uint64_t end() const { return uint64_t{at} + length; }
  };

 private:
  /// One level of the way from the root to a leaf.
  struct Level {
    BufferRef buffer;       ///< none for the root
    unsigned position = 0;  ///< of the entry that leads on
  };
  struct Way {
    std::array<Level, format::kMaxExtentDepth + 1> levels;
    unsigned depth = 0;  ///< of the leaf
  };

  [[nodiscard]] const std::byte* data(const Level& level) const;
  [[nodiscard]] format::ExtentHeader header(const Level& level) const;
  [[nodiscard]] unsigned capacity(const Level& level) const;
  Result<std::byte*> change(const Level& level);
  Result<void> check_root() const;
  Result<BufferRef> read_node(uint64_t block, unsigned depth, uint32_t first);
  Result<Way> walk(uint32_t at);
  [[nodiscard]] Extent extent_at(const Level& leaf, unsigned position) const;
  [[nodiscard]] uint64_t child_of(const Level& level, unsigned position) const;
  [[nodiscard]] uint32_t key_of(const Level& level, unsigned position) const;
  Result<void> set_extent(const Level& leaf, unsigned position, const Extent& extent);
  Result<void> insert_extent(const Extent& extent);
  Result<bool> merge(Way& way, const Extent& extent);
  Result<void> insert_entry(Level& level, unsigned position, std::span<const std::byte, 12> entry);
  Result<void> make_room(Way& way);
  Result<void> grow(Way& way);
  Result<void> split(Way& way, unsigned depth);
  Result<void> remove_entry(Way& way, unsigned depth);
  Result<void> fix_keys(Way& way, unsigned depth);

  Node& node_;
  Volume& volume_;
};

/// The checksum at the end of a block of extents.
void seal_extent_block(uint32_t seed, std::byte* data);

}  // namespace aril::ext4
