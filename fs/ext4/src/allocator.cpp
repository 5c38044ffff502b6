#include <algorithm>
#include <bit>
#include <cstring>

#include "checksum.hpp"
#include "kernel/random/random.hpp"
#include "volume.hpp"

// Who gets which blocks and inodes. A group's `map` is its bitmap as far as giving out goes: beside
// what the disk's bitmap says, it has the bits of blocks that were claimed for data that is still
// being written, and of blocks that were freed by a transaction that is not yet on the disk.
namespace aril::ext4 {
namespace {

/// Free blocks that only metadata may take, so that delayed data always finds its extents' blocks.
constexpr uint64_t kMetadataReserve = 16;
/// One extent block serves at least this many pages, however scattered.
constexpr uint64_t kBlocksPerExtentBlock = 64;

bool is_set(const std::byte* bits, uint32_t i) {
  return (bits[i / 8] & std::byte(1u << i % 8)) != std::byte{};
}
void set_bits(std::byte* bits, uint32_t first, uint32_t count) {
  for (uint32_t i = first; i < first + count; ++i) bits[i / 8] |= std::byte(1u << i % 8);
}
void clear_bits(std::byte* bits, uint32_t first, uint32_t count) {
  for (uint32_t i = first; i < first + count; ++i) bits[i / 8] &= ~std::byte(1u << i % 8);
}
bool any_in(const std::byte* bits, uint32_t first, uint32_t count, bool value) {
  for (uint32_t i = first; i < first + count; ++i) {
    if (is_set(bits, i) == value) return true;
  }
  return false;
}

/// The first zero bit in [from, end); `end` when there is none.
uint32_t find_zero(const std::byte* bits, uint32_t from, uint32_t end) {
  while (from < end) {
    if (from % 64 == 0 && from + 64 <= end) {
      uint64_t word;
      std::memcpy(&word, bits + from / 8, 8);
      if (word == ~uint64_t{0}) {
        from += 64;
        continue;
      }
      return from + static_cast<uint32_t>(std::countr_one(word));
    }
    if (!is_set(bits, from)) return from;
    ++from;
  }
  return end;
}

uint32_t zeros_at(const std::byte* bits, uint32_t from, uint32_t limit) {
  uint32_t count = 0;
  while (count < limit && !is_set(bits, from + count)) ++count;
  return count;
}

}  // namespace

/// [bitmaps.rst] What the bitmap of a group that was never used would say.
void Volume::make_block_bitmap(uint32_t index, std::byte* bits) const {
  std::memset(bits, 0, block_size());
  const Group& group = groups_[index];
  uint64_t start = first_block_of(index);
  uint32_t count = blocks_in_group(index);
  auto mark = [&](uint64_t block, uint64_t length) {
    for (uint64_t at = block; at < block + length; ++at) {
      if (at >= start && at - start < count) set_bits(bits, static_cast<uint32_t>(at - start), 1);
    }
  };
  bool meta_bg = has_feature(format::kIncompatMetaBg);
  if (group_has_superblock(index)) {
    uint64_t descriptors = (group_count_ + descriptors_per_block() - 1) / descriptors_per_block();
    if (meta_bg) descriptors = std::min<uint64_t>(descriptors, superblock_.first_meta_bg);
    mark(start, 1 + descriptors + (meta_bg ? 0 : uint32_t{superblock_.reserved_gdt_blocks}));
  }
  if (meta_bg) {
    uint32_t in_meta_group = index % descriptors_per_block();
    if (in_meta_group <= 1 || in_meta_group == descriptors_per_block() - 1)
      mark(start + (group_has_superblock(index) ? 1 : 0), 1);
  }
  mark(group.block_bitmap, 1);
  mark(group.inode_bitmap, 1);
  mark(group.inode_table, uint64_t{inodes_per_group_} * inode_size_ / block_size());
  set_bits(bits, count, block_size() * 8 - count);
}

Result<BufferRef> Volume::block_bitmap(uint32_t index) {
  Group& group = groups_[index];
  if ((group.flags & format::kGroupBlockUninit) != 0) {
    BufferRef buffer = ARIL_TRY(buffers_.get_fresh(group.block_bitmap));
    make_block_bitmap(index, ARIL_TRY(journal_.modify(buffer)));
    buffer->is_verified = true;
    group.flags &= ~format::kGroupBlockUninit;
    ARIL_TRY(touch_group(index, Bitmaps::kBlocks));
    return buffer;
  }
  BufferRef buffer = ARIL_TRY(buffers_.get(group.block_bitmap));
  if (!buffer->is_verified && has_checksums_) {
    BufferRef table = ARIL_TRY(buffers_.get(descriptor_block(index)));
    format::GroupDescriptor d{};
    std::memcpy(&d, table->data() + index % descriptors_per_block() * descriptor_size_,
                std::min<size_t>(descriptor_size_, sizeof d));
    uint32_t crc = crc32c(seed_, {buffer->data(), blocks_per_group_ / 8});
    uint32_t stored = d.block_bitmap_csum_lo | uint32_t{d.block_bitmap_csum_hi} << 16;
    uint32_t mask = descriptor_size_ >= 64 ? ~0u : 0xffffu;
    if ((crc & mask) != (stored & mask)) {
      report_corruption("a block bitmap has a wrong checksum", index);
      return fail(Errno::kIo);
    }
  }
  buffer->is_verified = true;
  return buffer;
}

Result<BufferRef> Volume::inode_bitmap(uint32_t index) {
  Group& group = groups_[index];
  if ((group.flags & format::kGroupInodeUninit) != 0) {
    BufferRef buffer = ARIL_TRY(buffers_.get_fresh(group.inode_bitmap));
    std::byte* bits = ARIL_TRY(journal_.modify(buffer));
    set_bits(bits, inodes_per_group_, block_size() * 8 - inodes_per_group_);
    buffer->is_verified = true;
    group.flags &= ~format::kGroupInodeUninit;
    ARIL_TRY(touch_group(index, Bitmaps::kInodes));
    return buffer;
  }
  BufferRef buffer = ARIL_TRY(buffers_.get(group.inode_bitmap));
  if (!buffer->is_verified && has_checksums_) {
    BufferRef table = ARIL_TRY(buffers_.get(descriptor_block(index)));
    format::GroupDescriptor d{};
    std::memcpy(&d, table->data() + index % descriptors_per_block() * descriptor_size_,
                std::min<size_t>(descriptor_size_, sizeof d));
    uint32_t crc = crc32c(seed_, {buffer->data(), inodes_per_group_ / 8});
    uint32_t stored = d.inode_bitmap_csum_lo | uint32_t{d.inode_bitmap_csum_hi} << 16;
    uint32_t mask = descriptor_size_ >= 64 ? ~0u : 0xffffu;
    if ((crc & mask) != (stored & mask)) {
      report_corruption("an inode bitmap has a wrong checksum", index);
      return fail(Errno::kIo);
    }
  }
  buffer->is_verified = true;
  return buffer;
}

Result<void> Volume::load_map(uint32_t index) {
  Group& group = groups_[index];
  if (group.map) return {};
  PageRef map = ARIL_TRY(page_allocator::allocate(page_allocator::Fill::kNone));
  if ((group.flags & format::kGroupBlockUninit) != 0) {
    make_block_bitmap(index, map->data());
  } else {
    BufferRef bitmap = ARIL_TRY(block_bitmap(index));
    std::memcpy(map->data(), bitmap->data(), block_size());
    // Padding is set, whatever the disk says.
    uint32_t count = blocks_in_group(index);
    set_bits(map->data(), count, block_size() * 8 - count);
  }
  // What is pending was marked in a map that may be gone since only when nothing was pending.
  group.map = std::move(map);
  return {};
}

std::optional<Run> Volume::claim_in_group(uint32_t index, uint32_t from, uint32_t want) {
  Group& group = groups_[index];
  uint32_t end = blocks_in_group(index);
  const std::byte* bits = group.map->data();
  // The first piece that is long enough, else the longest.
  uint32_t best = 0, best_length = 0;
  for (uint32_t pass = 0; pass < 2 && best_length < want; ++pass) {
    uint32_t at = pass == 0 ? std::min(from, end) : 0;
    uint32_t stop = pass == 0 ? end : std::min(from, end);
    while ((at = find_zero(bits, at, stop)) < stop) {
      uint32_t length = zeros_at(bits, at, std::min(want, end - at));
      if (length > best_length) best = at, best_length = length;
      if (length == want) break;
      at += length + 1;
    }
  }
  if (best_length == 0) return std::nullopt;
  set_bits(group.map->data(), best, best_length);
  group.available -= std::min(group.available, best_length);
  group.pending += best_length;
  group.hint = best + best_length < end ? best + best_length : 0;
  available_ -= std::min<uint64_t>(available_, best_length);
  return Run{first_block_of(index) + best, best_length};
}

Result<Run> Volume::claim_locked(uint64_t goal, uint32_t want) {
  if (goal < first_block_ || goal >= block_count_) goal = first_block_;
  uint32_t first = group_of(goal);
  // First a group with much room, then any.
  for (bool picky : {true, false}) {
    for (uint32_t i = 0; i < group_count_; ++i) {
      uint32_t index = (first + i) % group_count_;
      Group& group = groups_[index];
      if (group.available == 0 || (picky && i != 0 && group.available < want)) continue;
      if (Result<void> loaded = load_map(index); !loaded) {
        if (loaded.error() == Errno::kNoMem) return fail(Errno::kNoMem);
        group.available = 0;  // a broken bitmap: nothing is given out of it
        continue;
      }
      auto from = i == 0 ? static_cast<uint32_t>(goal - first_block_of(index)) : 0;
      if (auto run = claim_in_group(index, from, want)) return *run;
      group.available = 0;
    }
  }
  return fail(Errno::kNoSpc);
}

void Volume::unclaim_locked(Run run) {
  uint32_t index = group_of(run.start);
  Group& group = groups_[index];
  clear_bits(group.map->data(), static_cast<uint32_t>(run.start - first_block_of(index)),
             run.length);
  group.available += run.length;
  group.pending -= run.length;
  available_ += run.length;
}

Result<void> Volume::settle_locked(Run run) {
  uint32_t index = group_of(run.start);
  Group& group = groups_[index];
  auto bit = static_cast<uint32_t>(run.start - first_block_of(index));
  BufferRef bitmap = ARIL_TRY(block_bitmap(index));
  if (any_in(bitmap->data(), bit, run.length, true)) return fail(Errno::kIo);
  ARIL_TRY(touch_group(index, Bitmaps::kBlocks));
  set_bits(ARIL_TRY(journal_.modify(bitmap)), bit, run.length);
  group.pending -= run.length;
  group.free_blocks -= std::min(group.free_blocks, run.length);
  free_blocks_ -= std::min<uint64_t>(free_blocks_, run.length);
  return {};
}

Result<BufferRef> Volume::allocate_metadata_locked(uint64_t goal, uint64_t& block) {
  Run run = ARIL_TRY(claim_locked(goal, 1));
  ARIL_TRY(settle_locked(run));
  block = run.start;
  BufferRef buffer = ARIL_TRY(buffers_.get_fresh(block));
  ARIL_TRY(journal_.modify(buffer));
  return buffer;
}

Result<void> Volume::free_locked(uint64_t start, uint64_t length, BlockUse use) {
  if (!is_valid_run(start, length)) {
    report_corruption("blocks outside of the disk are freed", start);
    return fail(Errno::kIo);
  }
  while (length > 0) {
    uint32_t index = group_of(start);
    Group& group = groups_[index];
    auto bit = static_cast<uint32_t>(start - first_block_of(index));
    auto count = static_cast<uint32_t>(std::min<uint64_t>(length, blocks_in_group(index) - bit));
    ARIL_TRY(load_map(index));
    BufferRef bitmap = ARIL_TRY(block_bitmap(index));
    if (any_in(bitmap->data(), bit, count, false)) {
      report_corruption("blocks are freed that are free", start);
      return fail(Errno::kIo);
    }
    ARIL_TRY(touch_group(index, Bitmaps::kBlocks));
    clear_bits(ARIL_TRY(journal_.modify(bitmap)), bit, count);
    group.free_blocks += count;
    free_blocks_ += count;
    group.pending += count;
    pending_frees_ += count;
    freed_running_.push_back({start, count});
    if (use == BlockUse::kMetadata) {
      for (uint32_t i = 0; i < count; ++i) ARIL_TRY(journal_.revoke(start + i));
    }
    start += count;
    length -= count;
  }
  return {};
}

Result<void> Volume::reserve_locked(uint64_t blocks) {
  uint64_t promised = reserved_ + blocks;
  if (available_ < promised + promised / kBlocksPerExtentBlock + kMetadataReserve)
    return fail(Errno::kNoSpc);
  reserved_ = promised;
  return {};
}

Result<void> Volume::require_space_locked() const {
  constexpr uint64_t kOneChange = 8;
  uint64_t promised = reserved_ + reserved_ / kBlocksPerExtentBlock;
  if (available_ < promised + kOneChange) return fail(Errno::kNoSpc);
  return {};
}

uint32_t Volume::choose_inode_group(uint32_t parent_group, bool is_directory) const {
  auto has_room = [this](uint32_t index) { return groups_[index].free_inodes != 0; };
  if (!is_directory) {
    for (uint32_t i = 0; i < group_count_; ++i) {
      uint32_t index = (parent_group + i) % group_count_;
      if (has_room(index)) return index;
    }
    return group_count_;
  }
  // Directories go near their parent while that has room above average, else where there is most.
  uint32_t average = free_inodes_ / group_count_;
  auto average_blocks = static_cast<uint32_t>(available_ / group_count_);
  for (uint32_t i = 0; i < group_count_; ++i) {
    uint32_t index = (parent_group + i) % group_count_;
    const Group& group = groups_[index];
    if (has_room(index) && group.free_inodes >= average && group.available >= average_blocks)
      return index;
  }
  for (uint32_t i = 0; i < group_count_; ++i) {
    uint32_t index = (parent_group + i) % group_count_;
    if (has_room(index)) return index;
  }
  return group_count_;
}

Result<uint32_t> Volume::allocate_inode(uint32_t parent, bool is_directory) {
  uint32_t parent_group = (parent - 1) / inodes_per_group_;
  for (uint32_t attempts = 0; attempts < group_count_; ++attempts) {
    uint32_t index = choose_inode_group(parent_group, is_directory);
    if (index >= group_count_) return fail(Errno::kNoSpc);
    Group& group = groups_[index];
    BufferRef bitmap = ARIL_TRY(inode_bitmap(index));
    // Always the lowest: what lies above the used part of the table was perhaps never written.
    uint32_t from = index == 0 ? superblock_.first_inode - 1 : 0;
    uint32_t bit = find_zero(bitmap->data(), from, inodes_per_group_);
    if (bit >= inodes_per_group_) {
      // The count promises more than the bitmap has.
      report_corruption("a group has fewer free inodes than it says", index);
      group.free_inodes = 0;
      continue;
    }
    ARIL_TRY(touch_group(index, Bitmaps::kInodes));
    set_bits(ARIL_TRY(journal_.modify(bitmap)), bit, 1);
    --group.free_inodes;
    --free_inodes_;
    if (is_directory) ++group.used_dirs;
    if (has_checksums_)
      group.unused_inodes = std::min(group.unused_inodes, inodes_per_group_ - bit - 1);
    return index * inodes_per_group_ + bit + 1;
  }
  return fail(Errno::kNoSpc);
}

Result<void> Volume::free_inode(Node& node) {
  uint32_t index = (node.number() - 1) / inodes_per_group_;
  uint32_t bit = (node.number() - 1) % inodes_per_group_;
  Group& group = groups_[index];
  BufferRef bitmap = ARIL_TRY(inode_bitmap(index));
  if (!is_set(bitmap->data(), bit)) {
    report_corruption("an inode is freed that is free", node.number());
    return fail(Errno::kIo);
  }
  ARIL_TRY(touch_group(index, Bitmaps::kInodes));
  clear_bits(ARIL_TRY(journal_.modify(bitmap)), bit, 1);
  ++group.free_inodes;
  ++free_inodes_;
  if (node.is_directory() && group.used_dirs != 0) --group.used_dirs;
  return {};
}

}  // namespace aril::ext4
