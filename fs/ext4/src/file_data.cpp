#include "file_data.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "extents.hpp"
#include "fs/vfs/inode.hpp"
#include "volume.hpp"

namespace aril::ext4 {
namespace {

constexpr uint64_t kFileEnd = uint64_t{1} << 32;
constexpr size_t kMaxPages = 64;
/// Extents that one operation removes: each may lie in groups of its own.
constexpr int kRemovalsPerOperation = 4;

/// The page ranges, in order; neighbours are joined.
void add_delayed(std::vector<Node::PageRange>& ranges, uint64_t page) {
  auto after = std::ranges::upper_bound(ranges, page, {}, &Node::PageRange::first);
  bool joins_left = after != ranges.begin() && (after - 1)->end >= page;
  bool joins_right = after != ranges.end() && after->first == page + 1;
  if (joins_left && joins_right) {
    (after - 1)->end = after->end;
    ranges.erase(after);
  } else if (joins_left) {
    (after - 1)->end = std::max((after - 1)->end, page + 1);
  } else if (joins_right) {
    after->first = page;
  } else {
    ranges.insert(after, {page, page + 1});
  }
}

bool is_delayed(const std::vector<Node::PageRange>& ranges, uint64_t page) {
  auto after = std::ranges::upper_bound(ranges, page, {}, &Node::PageRange::first);
  return after != ranges.begin() && (after - 1)->end > page;
}

/// Removes [first, end); how many pages were in it.
uint64_t remove_delayed(std::vector<Node::PageRange>& ranges, uint64_t first, uint64_t end) {
  uint64_t removed = 0;
  auto at = std::ranges::upper_bound(ranges, first, {}, &Node::PageRange::first);
  if (at != ranges.begin() && (at - 1)->end > first) --at;
  while (at != ranges.end() && at->first < end) {
    uint64_t cut_first = std::max(at->first, first), cut_end = std::min(at->end, end);
    removed += cut_end - cut_first;
    Node::PageRange right{cut_end, at->end};
    at->end = cut_first;
    if (at->first == at->end) {
      at = right.first < right.end ? (*at = right, at + 1) : ranges.erase(at);
    } else if (right.first < right.end) {
      ranges.insert(at + 1, right);
      break;
    } else {
      ++at;
    }
  }
  return removed;
}

void release_delayed_locked(Node& node, uint64_t blocks) {
  blocks = std::min(blocks, node.delayed_blocks);
  // Parts of pages are counted roughly; in the end it comes out even.
  if (node.delayed.empty()) blocks = node.delayed_blocks;
  node.delayed_blocks -= blocks;
  node.volume().release_reservation_locked(blocks);
}

}  // namespace

void forget_delayed_locked(Node& node, uint64_t first, uint64_t end) {
  uint64_t pages = remove_delayed(node.delayed, first, end);
  release_delayed_locked(node, pages * node.volume().blocks_per_page());
}

FileBacking::~FileBacking() {
  LockGuard hold(node_->volume().lock());
  if (cache_ != nullptr && node_->cache == cache_) node_->cache = nullptr;
}

namespace {

/// The pieces of memory that hold blocks [at, at+count) of a file, whose block `first` is at the
/// start of pages[0].
size_t segments_of(const Volume& volume, std::span<PageRef> pages, uint32_t first, uint32_t at,
                   uint32_t count, std::span<BlockDevice::Segment> segments) {
  size_t used = 0;
  uint64_t offset = uint64_t{at - first} << volume.block_shift();
  uint64_t end = offset + (uint64_t{count} << volume.block_shift());
  while (offset < end) {
    size_t in_page = offset % kPageSize;
    auto length = static_cast<uint32_t>(std::min<uint64_t>(kPageSize - in_page, end - offset));
    segments[used++] = {pages[offset / kPageSize]->physical() + in_page, length};
    offset += length;
  }
  return used;
}

void zero_blocks(const Volume& volume, std::span<PageRef> pages, uint32_t first, uint32_t at,
                 uint32_t count) {
  uint64_t offset = uint64_t{at - first} << volume.block_shift();
  uint64_t end = offset + (uint64_t{count} << volume.block_shift());
  while (offset < end) {
    size_t in_page = offset % kPageSize;
    size_t length = std::min<uint64_t>(kPageSize - in_page, end - offset);
    std::memset(pages[offset / kPageSize]->data() + in_page, 0, length);
    offset += length;
  }
}

}  // namespace

Result<void> FileBacking::read_pages(uint64_t index, std::span<PageRef> pages) {
  Volume& volume = node_->volume();
  uint64_t first64 = index * volume.blocks_per_page();
  if (pages.size() > kMaxPages || first64 >= kFileEnd) return fail(Errno::kIo);
  auto first = static_cast<uint32_t>(first64);
  auto end = static_cast<uint32_t>(
      std::min<uint64_t>(first64 + pages.size() * volume.blocks_per_page(), kFileEnd - 1));
  struct Piece {
    uint32_t at, count;
    uint64_t start;
  };
  for (uint32_t at = first; at < end;) {
    std::array<Piece, 16> pieces;
    size_t count = 0;
    {
      LockGuard hold(volume.lock());
      while (at < end && count < pieces.size()) {
        Mapping mapping = ARIL_TRY(ExtentTree(*node_).find(at));
        uint32_t length = std::min(mapping.length, end - at);
        if (mapping.kind == Mapping::Kind::kWritten) {
          pieces[count++] = {at, length, mapping.start};
        } else {
          zero_blocks(volume, pages, first, at, length);
        }
        at += length;
      }
    }
    for (const Piece& piece : std::span(pieces).first(count)) {
      std::array<BlockDevice::Segment, kMaxPages + 1> segments;
      size_t used = segments_of(volume, pages, first, piece.at, piece.count, segments);
      ARIL_TRY(volume.disk().read(piece.start, std::span(segments).first(used)));
    }
  }
  // Past 2^32 blocks there is nothing.
  if (first64 + pages.size() * volume.blocks_per_page() >= kFileEnd)
    zero_blocks(volume, pages, first, end,
                static_cast<uint32_t>(first64 + pages.size() * volume.blocks_per_page() - end));
  return {};
}

Result<void> FileBacking::prepare_write(uint64_t index) {
  Volume& volume = node_->volume();
  uint64_t first = index * volume.blocks_per_page();
  if (first + volume.blocks_per_page() >= kFileEnd) return fail(Errno::kFBig);
  for (bool last_try : {false, true}) {
    {
      LockGuard hold(volume.lock());
      if (volume.is_read_only()) return fail(Errno::kRoFs);
      if (is_delayed(node_->delayed, index)) return {};
      uint32_t holes = 0;
      for (auto at = static_cast<uint32_t>(first); at < first + volume.blocks_per_page();) {
        Mapping mapping = ARIL_TRY(ExtentTree(*node_).find(at));
        auto length = static_cast<uint32_t>(
            std::min<uint64_t>(mapping.length, first + volume.blocks_per_page() - at));
        if (mapping.kind == Mapping::Kind::kHole) holes += length;
        at += length;
      }
      if (holes == 0) return {};
      Result<void> reserved = volume.reserve_locked(holes);
      if (reserved) {
        add_delayed(node_->delayed, index);
        node_->delayed_blocks += holes;
        return {};
      }
      if (last_try || !volume.has_pending_frees_locked()) return reserved;
    }
    // What was freed can be had after the next commit (or the one after, if one is under way).
    ARIL_TRY(volume.commit());
  }
  return fail(Errno::kNoSpc);
}

/// Consecutive blocks of the file that lie together on the disk.
struct FileBacking::Piece {
  uint32_t at = 0, count = 0;
  uint64_t start = 0;
  Mapping::Kind kind = Mapping::Kind::kHole;  ///< before: a hole's blocks are claimed
};

/// Where blocks [at, end) are to be written; claims blocks for holes. The number of pieces.
Result<size_t> FileBacking::plan(uint32_t at, uint32_t end, std::span<Piece> pieces) {
  Volume& volume = node_->volume();
  LockGuard hold(volume.lock());
  if (volume.is_read_only()) return fail(Errno::kRoFs);
  size_t count = 0;
  while (at < end && count < pieces.size()) {
    Mapping mapping = ARIL_TRY(ExtentTree(*node_).find(at));
    Piece piece{at, std::min(mapping.length, end - at), mapping.start, mapping.kind};
    if (mapping.kind == Mapping::Kind::kHole) {
      uint64_t goal = node_->next_goal != 0 ? node_->next_goal : volume.goal_of(node_->number());
      Result<Run> run = volume.claim_locked(goal, piece.count);
      if (!run) {
        // What is planned already is written; the rest finds its error on its own turn.
        if (count != 0) break;
        return fail(run.error());
      }
      piece.start = run->start;
      piece.count = run->length;
    }
    node_->next_goal = piece.start + piece.count;
    pieces[count++] = piece;
    at += piece.count;
  }
  return count;
}

Result<void> FileBacking::write_piece(const Piece& piece, uint32_t first,
                                      std::span<PageRef> pages) const {
  std::array<BlockDevice::Segment, kMaxPages + 1> segments;
  size_t used = segments_of(node_->volume(), pages, first, piece.at, piece.count, segments);
  return node_->volume().disk().write(piece.start, std::span(segments).first(used));
}

/// The data of the pieces is on the disk: now the file may have it.
Result<void> FileBacking::enter_pieces(std::span<Piece> pieces, uint64_t size) {
  Volume& volume = node_->volume();
  Node& node = *node_;
  Operation operation(volume);
  uint64_t end = uint64_t{pieces.back().at + pieces.back().count} << volume.block_shift();
  bool changes = std::ranges::any_of(
      pieces, [](const Piece& piece) { return piece.kind != Mapping::Kind::kWritten; });
  if (!changes) {
    LockGuard hold(volume.lock());
    if (std::min(end, size) <= node.size()) return {};
  }
  ARIL_TRY(operation.begin());
  ExtentTree tree(node);
  for (Piece& piece : pieces) {
    ARIL_TRY(operation.renew());
    if (piece.kind == Mapping::Kind::kHole) {
      ARIL_TRY(volume.settle_locked({piece.start, piece.count}));
      // It is settled: not to be given back, whatever follows.
      piece.kind = Mapping::Kind::kWritten;
      ARIL_TRY(tree.insert(piece.at, piece.start, piece.count, Mapping::Kind::kWritten));
      node.add_blocks(piece.count);
      uint32_t per_page = volume.blocks_per_page();
      uint64_t last = uint64_t{piece.at} + piece.count;
      (void)remove_delayed(node.delayed, piece.at / per_page, (last + per_page - 1) / per_page);
      release_delayed_locked(node, piece.count);
    } else if (piece.kind == Mapping::Kind::kUnwritten) {
      ARIL_TRY(tree.mark_written(piece.at, piece.count));
    }
    ARIL_TRY(volume.mark_dirty_locked(node));
    node.data_sync_id = volume.journal().running_id();
  }
  if (std::min(end, size) > node.size()) {
    node.set_size(std::min(end, size));
    ARIL_TRY(volume.mark_dirty_locked(node));
    node.data_sync_id = volume.journal().running_id();
  }
  operation.done();
  return {};
}

Result<void> note_mapped_stores(Node& node, PageCache& cache) {
  std::optional<Instant> stored = cache.take_store_time();
  if (!stored) return {};
  int64_t when = vfs::wall_clock_ns_at(*stored);
  Operation operation(node.volume());
  ARIL_TRY(operation.begin());
  // A later write or utimensat has the last word.
  if (when >= node.time(Node::Time::kChange)) {
    node.set_time(Node::Time::kModify, when);
    node.set_time(Node::Time::kChange, when);
    ARIL_TRY(node.volume().mark_dirty_locked(node));
  }
  operation.done();
  return {};
}

Result<void> FileBacking::write_pages(uint64_t index, std::span<PageRef> pages, uint64_t size) {
  static constexpr size_t kMaxPieces = 16;
  Volume& volume = node_->volume();
  // What could not be written by then is lost, and must not be held, and tried again, for ever.
  if (volume.is_abandoned()) return {};
  uint64_t first64 = index * volume.blocks_per_page();
  uint64_t end64 = std::min(first64 + pages.size() * volume.blocks_per_page(),
                            (size + volume.block_size() - 1) >> volume.block_shift());
  if (pages.size() > kMaxPages || end64 >= kFileEnd) return fail(Errno::kFBig);
  if (cache_ != nullptr) ARIL_TRY(note_mapped_stores(*node_, *cache_));
  // Cut short while it was on its way.
  if (first64 >= end64) return {};
  // What a mapping stored beyond the end does not get onto the disk.
  if (size % kPageSize != 0 && size / kPageSize - index < pages.size()) {
    auto tail = pages[size / kPageSize - index]->bytes().subspan(size % kPageSize);
    std::memset(tail.data(), 0, tail.size());
  }
  auto first = static_cast<uint32_t>(first64), end = static_cast<uint32_t>(end64);
  for (uint32_t at = first; at < end;) {
    std::array<Piece, kMaxPieces> storage;
    size_t count = ARIL_TRY(plan(at, end, storage));
    auto pieces = std::span(storage).first(count);
    Result<void> result;
    for (const Piece& piece : pieces) {
      result = write_piece(piece, first, pages);
      if (!result) break;
    }
    if (result) result = enter_pieces(pieces, size);
    if (!result) {
      LockGuard hold(volume.lock());
      for (const Piece& piece : pieces) {
        if (piece.kind == Mapping::Kind::kHole) volume.unclaim_locked({piece.start, piece.count});
      }
      return result;
    }
    at = pieces.back().at + pieces.back().count;
  }
  return {};
}

Result<void> FileBacking::make_durable() {
  Volume& volume = node_->volume();
  uint32_t id;
  {
    LockGuard hold(volume.lock());
    id = node_->sync_id;
  }
  if (id == 0 || volume.journal().is_committed(id)) return volume.disk().flush();
  return volume.commit(id);
}

namespace {

/// Frees blocks from `end` down to `from`, in steps. `between` runs in the first step's operation,
/// told whether there will be more of them.
template <typename Between>
Result<void> free_in_steps(Node& node, uint32_t from, uint64_t end, Between between) {
  Volume& volume = node.volume();
  bool done = false;
  for (bool is_first = true; !done; is_first = false) {
    Operation operation(volume);
    ARIL_TRY(operation.begin());
    ExtentTree tree(node);
    for (int i = 0; i < kRemovalsPerOperation && !done; ++i)
      done = ARIL_TRY(tree.remove_last(from, end));
    if (is_first) ARIL_TRY(between(!done));
    node.data_sync_id = volume.journal().running_id();
    operation.done();
  }
  return {};
}

uint32_t blocks_for(const Volume& volume, uint64_t size) {
  return static_cast<uint32_t>(
      std::min((size + volume.block_size() - 1) >> volume.block_shift(), kFileEnd - 1));
}

bool has_blocks(const Node& node) {
  uint32_t type = node.mode() & 0170000;
  bool is_slow_link = type == 0120000 && node.has_flag(format::kInodeExtents);
  return type == 0100000 || type == 0040000 || is_slow_link;
}

}  // namespace

Result<void> truncate_blocks(Node& node, uint64_t size) {
  Volume& volume = node.volume();
  bool protects = false;
  ARIL_TRY(free_in_steps(node, blocks_for(volume, size), kFileEnd, [&](bool more) -> Result<void> {
    node.set_size(size);
    ARIL_TRY(volume.mark_dirty_locked(node));
    if (!more || node.is_orphan) return {};
    protects = true;
    return volume.add_orphan_locked(node);
  }));
  if (!protects) return {};
  Operation operation(volume);
  ARIL_TRY(operation.begin());
  ARIL_TRY(volume.remove_orphan_locked(node));
  operation.done();
  return {};
}

Result<void> free_blocks_beyond_size(Node& node) {
  if (!has_blocks(node)) return {};
  return free_range(node, blocks_for(node.volume(), node.size()), kFileEnd);
}

Result<void> free_all_blocks(Node& node) {
  if (!has_blocks(node)) return {};
  return free_range(node, 0, kFileEnd);
}

Result<void> free_range(Node& node, uint32_t from, uint64_t end) {
  return free_in_steps(node, from, end, [](bool) -> Result<void> { return {}; });
}

Result<void> allocate_unwritten(Node& node, uint32_t from, uint64_t end) {
  Volume& volume = node.volume();
  uint64_t last = std::min(end, kFileEnd - 1);
  bool tried_commit = false;
  for (uint64_t at = from; at < last;) {
    bool wait_for_frees = false;
    {
      Operation operation(volume);
      ARIL_TRY(operation.begin());
      Mapping mapping = ARIL_TRY(ExtentTree(node).find(static_cast<uint32_t>(at)));
      auto length = static_cast<uint32_t>(std::min<uint64_t>(mapping.length, last - at));
      if (mapping.kind != Mapping::Kind::kHole) {
        at += length;
        operation.done();
        continue;
      }
      length = std::min(length, format::kMaxUnwrittenLength);
      uint32_t per_page = volume.blocks_per_page();
      // Room that delayed data was promised is not for others.
      bool delayed = is_delayed(node.delayed, at / per_page);
      Result<void> room = delayed ? volume.require_space_locked() : volume.reserve_locked(length);
      if (room && !delayed) volume.release_reservation_locked(length);
      if (!room) {
        // Perhaps a part fits.
        room = volume.require_space_locked();
        length = 1;
      }
      uint64_t goal = node.next_goal != 0 ? node.next_goal : volume.goal_of(node.number());
      Result<Run> run = room ? volume.claim_locked(goal, length) : Result<Run>(fail(room.error()));
      if (run) {
        ARIL_TRY(volume.settle_locked(*run));
        ARIL_TRY(ExtentTree(node).insert(static_cast<uint32_t>(at), run->start, run->length,
                                         Mapping::Kind::kUnwritten));
        node.add_blocks(run->length);
        node.next_goal = run->start + run->length;
        // Pages that are whole now wait no longer.
        forget_delayed_locked(node, (at + per_page - 1) / per_page, (at + run->length) / per_page);
        ARIL_TRY(volume.mark_dirty_locked(node));
        node.data_sync_id = volume.journal().running_id();
        at += run->length;
      } else if (tried_commit || !volume.has_pending_frees_locked()) {
        operation.done();
        return fail(run.error());
      } else {
        wait_for_frees = true;
      }
      operation.done();
    }
    if (wait_for_frees) {
      tried_commit = true;
      ARIL_TRY(volume.commit());
    }
  }
  return {};
}

}  // namespace aril::ext4
