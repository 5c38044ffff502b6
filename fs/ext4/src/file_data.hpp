#pragma once
#include <cstdint>
#include <span>

#include "kernel/vm/page_cache.hpp"
#include "node.hpp"

namespace aril::ext4 {

/// A regular file's contents as its page cache wants them.
///
/// Blocks are given out when data is written back, not before ("delayed"): a page that becomes
/// dirty over a hole only has its room reserved. Writing back then claims blocks in memory, writes
/// the data, and only when that is done puts the new extents and size into a transaction. So
/// whatever the disk holds after a crash, no file shows blocks that its data has not reached.
class FileBacking final : public PageBacking {
 public:
  explicit FileBacking(RefPtr<Node> node) : node_(std::move(node)) {}
  ~FileBacking() override;
  /// Its cache is the node's now. Under the volume's lock.
  void attach(PageCache& cache) { cache_ = &cache; }

  Result<void> read_pages(uint64_t index, std::span<PageRef> pages) override;
  Result<void> prepare_write(uint64_t index) override;
  Result<void> write_pages(uint64_t index, std::span<PageRef> pages, uint64_t size) override;
  Result<void> make_durable() override;
  [[nodiscard]] unsigned read_ahead_pages() const override { return 32; }

 private:
  struct Piece;
  Result<size_t> plan(uint32_t at, uint32_t end, std::span<Piece> pieces);
  Result<void> write_piece(const Piece& piece, uint32_t first, std::span<PageRef> pages) const;
  Result<void> enter_pieces(std::span<Piece> pieces, uint64_t size);

  const RefPtr<Node> node_;
  PageCache* cache_ = nullptr;
};

/// Stores through mappings, if there were any since the last call, make the file modified. Not
/// under the volume's lock.
Result<void> note_mapped_stores(Node& node, PageCache& cache);

// What changes a file's blocks beside writing. None under the volume's lock; for a file with pages,
// under its cache's write_back_mutex.

/// Sets the size on the disk and frees the blocks beyond it, in as many transactions as it takes; a
/// crash in between is made good at the next mount.
Result<void> truncate_blocks(Node& node, uint64_t size);
/// The second half of truncate_blocks alone.
Result<void> free_blocks_beyond_size(Node& node);
/// Of a file whose inode is about to be freed.
Result<void> free_all_blocks(Node& node);
/// Frees the blocks [from, end) of the file.
Result<void> free_range(Node& node, uint32_t from, uint64_t end);
/// Gives every hole in [from, end) blocks that read as zeroes. kNoSpc; what was done stays.
Result<void> allocate_unwritten(Node& node, uint32_t from, uint64_t end);
/// Pages in [first, end) no longer wait for blocks.
void forget_delayed_locked(Node& node, uint64_t first, uint64_t end);

}  // namespace aril::ext4
