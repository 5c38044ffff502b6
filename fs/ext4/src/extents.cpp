#include "extents.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "checksum.hpp"
#include "volume.hpp"

namespace aril::ext4 {
namespace {

constexpr size_t kEntrySize = 12;
constexpr uint64_t kFileEnd = uint64_t{1} << 32;
using EntryBytes = std::span<const std::byte, kEntrySize>;

template <typename T>
T load(const std::byte* node, unsigned position) {
  T entry;
  std::memcpy(&entry, node + sizeof(format::ExtentHeader) + position * kEntrySize, sizeof entry);
  return entry;
}
template <typename T>
void store(std::byte* node, unsigned position, const T& entry) {
  std::memcpy(node + sizeof(format::ExtentHeader) + position * kEntrySize, &entry, sizeof entry);
}
format::ExtentHeader load_header(const std::byte* node) {
  format::ExtentHeader header;
  std::memcpy(&header, node, sizeof header);
  return header;
}
void store_header(std::byte* node, const format::ExtentHeader& header) {
  std::memcpy(node, &header, sizeof header);
}
void set_entries(std::byte* node, unsigned entries) {
  format::ExtentHeader header = load_header(node);
  header.entries = static_cast<uint16_t>(entries);
  store_header(node, header);
}

ExtentTree::Extent decode(const format::ExtentLeaf& leaf) {
  ExtentTree::Extent extent{.at = leaf.block, .length = leaf.length};
  extent.start = leaf.start_lo | uint64_t{leaf.start_hi} << 32;
  if (extent.length > format::kMaxWrittenLength) {
    extent.length -= format::kMaxWrittenLength;
    extent.unwritten = true;
  }
  return extent;
}
format::ExtentLeaf encode(const ExtentTree::Extent& extent) {
  format::ExtentLeaf leaf{};
  leaf.block = extent.at;
  leaf.length =
      static_cast<uint16_t>(extent.length + (extent.unwritten ? format::kMaxWrittenLength : 0));
  leaf.start_lo = static_cast<uint32_t>(extent.start);
  leaf.start_hi = static_cast<uint16_t>(extent.start >> 32);
  return leaf;
}
format::ExtentIndex encode_index(uint32_t key, uint64_t block) {
  format::ExtentIndex index{};
  index.block = key;
  index.leaf_lo = static_cast<uint32_t>(block);
  index.leaf_hi = static_cast<uint16_t>(block >> 32);
  return index;
}

uint32_t longest(bool unwritten) {
  return unwritten ? format::kMaxUnwrittenLength : format::kMaxWrittenLength;
}
bool continues(const ExtentTree::Extent& left, const ExtentTree::Extent& right) {
  return left.end() == right.at && left.start + left.length == right.start &&
         left.unwritten == right.unwritten && left.length + right.length <= longest(left.unwritten);
}

/// Entries in order, inside the disk, not before `first`.
bool are_entries_valid(const Volume& volume, const std::byte* node, uint32_t first) {
  format::ExtentHeader header = load_header(node);
  uint64_t end = first;
  for (unsigned i = 0; i < header.entries; ++i) {
    if (header.depth == 0) {
      ExtentTree::Extent extent = decode(load<format::ExtentLeaf>(node, i));
      if (extent.at < end || extent.length == 0 || extent.end() > kFileEnd ||
          !volume.is_valid_run(extent.start, extent.length))
        return false;
      end = extent.end();
    } else {
      auto index = load<format::ExtentIndex>(node, i);
      if (index.block < end ||
          !volume.is_valid_run(index.leaf_lo | uint64_t{index.leaf_hi} << 32, 1))
        return false;
      end = uint64_t{index.block} + 1;
    }
  }
  return true;
}

}  // namespace

void seal_extent_block(uint32_t seed, std::byte* data) {
  size_t tail = sizeof(format::ExtentHeader) + kEntrySize * load_header(data).max;
  format::Le32 crc = crc32c(seed, {data, tail});
  std::memcpy(data + tail, &crc, sizeof crc);
}

ExtentTree::ExtentTree(Node& node) : node_(node), volume_(node.volume()) {}

void ExtentTree::initialize() {
  format::ExtentHeader header{};
  header.magic = format::kExtentMagic;
  header.max = (sizeof node_.raw.block - sizeof header) / kEntrySize;
  std::memset(node_.raw.block, 0, sizeof node_.raw.block);
  std::memcpy(node_.raw.block, &header, sizeof header);
  node_.raw.flags = node_.raw.flags | format::kInodeExtents;
}

const std::byte* ExtentTree::data(const Level& level) const {
  // The inode's bytes, as bytes.
  return level.buffer ? level.buffer->data() : reinterpret_cast<const std::byte*>(node_.raw.block);
}
format::ExtentHeader ExtentTree::header(const Level& level) const {
  return load_header(data(level));
}
unsigned ExtentTree::capacity(const Level& level) const {
  size_t size = level.buffer ? volume_.block_size() : sizeof node_.raw.block;
  return static_cast<unsigned>((size - sizeof(format::ExtentHeader)) / kEntrySize);
}

Result<std::byte*> ExtentTree::change(const Level& level) {
  if (level.buffer) return volume_.journal().modify(level.buffer);
  ARIL_TRY(volume_.mark_dirty_locked(node_));
  return reinterpret_cast<std::byte*>(node_.raw.block);
}

Result<void> ExtentTree::check_root() const {
  if (!node_.has_flag(format::kInodeExtents)) {
    Volume::report_corruption("a file without extents, as of ext3, is not served", node_.number());
    return fail(Errno::kOpNotSupp);
  }
  const auto* root = reinterpret_cast<const std::byte*>(node_.raw.block);
  format::ExtentHeader header = load_header(root);
  if (header.magic == format::kExtentMagic && header.entries <= header.max && header.max <= 4 &&
      header.depth <= format::kMaxExtentDepth && (header.depth == 0 || header.entries != 0) &&
      are_entries_valid(volume_, root, 0))
    return {};
  Volume::report_corruption("an inode's extents make no sense", node_.number());
  return fail(Errno::kIo);
}

Result<BufferRef> ExtentTree::read_node(uint64_t block, unsigned depth, uint32_t first) {
  BufferRef buffer = ARIL_TRY(volume_.buffers().get(block));
  if (buffer->is_verified && buffer->seal == Seal::kExtents && buffer->seal_seed == node_.seed() &&
      load_header(buffer->data()).depth == depth)
    return buffer;
  format::ExtentHeader header = load_header(buffer->data());
  size_t capacity = (volume_.block_size() - sizeof header) / kEntrySize;
  bool valid = header.magic == format::kExtentMagic && header.depth == depth &&
               header.max <= capacity && header.entries <= header.max && header.entries != 0 &&
               are_entries_valid(volume_, buffer->data(), first);
  if (valid && volume_.has_checksums()) {
    size_t tail = sizeof header + kEntrySize * header.max;
    format::Le32 stored;
    valid = tail + sizeof stored <= volume_.block_size();
    if (valid) {
      std::memcpy(&stored, buffer->data() + tail, sizeof stored);
      valid = crc32c(node_.seed(), {buffer->data(), tail}) == stored;
    }
  }
  if (!valid) {
    Volume::report_corruption("an extent block is broken", block);
    return fail(Errno::kIo);
  }
  buffer->is_verified = true;
  buffer->seal = Seal::kExtents;
  buffer->seal_seed = node_.seed();
  return buffer;
}

ExtentTree::Extent ExtentTree::extent_at(const Level& leaf, unsigned position) const {
  return decode(load<format::ExtentLeaf>(data(leaf), position));
}
uint64_t ExtentTree::child_of(const Level& level, unsigned position) const {
  auto index = load<format::ExtentIndex>(data(level), position);
  return index.leaf_lo | uint64_t{index.leaf_hi} << 32;
}
uint32_t ExtentTree::key_of(const Level& level, unsigned position) const {
  // Both kinds of entry start with it.
  return load<format::ExtentLeaf>(data(level), position).block;
}

/// The way to where `at` is or would be. In the leaf, `position` is the number of extents that
/// start at or before it.
Result<ExtentTree::Way> ExtentTree::walk(uint32_t at) {
  ARIL_TRY(check_root());
  Way way;
  way.depth = header(way.levels[0]).depth;
  for (unsigned depth = 0;; ++depth) {
    Level& level = way.levels[depth];
    unsigned low = 0, high = header(level).entries;
    while (low < high) {
      unsigned middle = (low + high) / 2;
      if (key_of(level, middle) <= at) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    if (depth == way.depth) {
      level.position = low;
      return way;
    }
    level.position = low != 0 ? low - 1 : 0;
    way.levels[depth + 1].buffer = ARIL_TRY(read_node(
        child_of(level, level.position), way.depth - depth - 1, key_of(level, level.position)));
  }
}

Result<Mapping> ExtentTree::find(uint32_t at) {
  Way way = ARIL_TRY(walk(at));
  const Level& leaf = way.levels[way.depth];
  Mapping mapping;
  if (leaf.position != 0) {
    Extent extent = extent_at(leaf, leaf.position - 1);
    if (at < extent.end()) {
      mapping.kind = extent.unwritten ? Mapping::Kind::kUnwritten : Mapping::Kind::kWritten;
      mapping.start = extent.start + (at - extent.at);
      mapping.length = static_cast<uint32_t>(extent.end() - at);
      return mapping;
    }
  }
  uint64_t next = kFileEnd;
  if (leaf.position < header(leaf).entries) {
    next = key_of(leaf, leaf.position);
  } else {
    for (unsigned depth = way.depth; depth-- > 0;) {
      const Level& level = way.levels[depth];
      if (level.position + 1 >= header(level).entries) continue;
      next = key_of(level, level.position + 1);
      break;
    }
  }
  // A broken tree may have keys out of order between its levels.
  mapping.length = next > at ? static_cast<uint32_t>(std::min<uint64_t>(next - at, ~0u)) : 1;
  return mapping;
}

Result<void> ExtentTree::set_extent(const Level& leaf, unsigned position, const Extent& extent) {
  store(ARIL_TRY(change(leaf)), position, encode(extent));
  return {};
}

Result<void> ExtentTree::insert(uint32_t at, uint64_t start, uint32_t length, Mapping::Kind kind) {
  bool unwritten = kind == Mapping::Kind::kUnwritten;
  while (length > 0) {
    uint32_t count = std::min(length, longest(unwritten));
    ARIL_TRY(insert_extent({at, count, start, unwritten}));
    at += count;
    start += count;
    length -= count;
  }
  return {};
}

Result<void> ExtentTree::insert_extent(const Extent& extent) {
  Way way = ARIL_TRY(walk(extent.at));
  if (ARIL_TRY(merge(way, extent))) return {};
  while (header(way.levels[way.depth]).entries >= header(way.levels[way.depth]).max) {
    ARIL_TRY(make_room(way));
    way = ARIL_TRY(walk(extent.at));
  }
  Level& leaf = way.levels[way.depth];
  format::ExtentLeaf entry = encode(extent);
  unsigned position = leaf.position;
  ARIL_TRY(
      insert_entry(leaf, position, EntryBytes(reinterpret_cast<std::byte*>(&entry), kEntrySize)));
  if (position == 0) ARIL_TRY(fix_keys(way, way.depth));
  return {};
}

Result<bool> ExtentTree::merge(Way& way, const Extent& extent) {
  Level& leaf = way.levels[way.depth];
  unsigned count = header(leaf).entries;
  unsigned after = leaf.position;
  if (after != 0) {
    Extent left = extent_at(leaf, after - 1);
    if (continues(left, extent)) {
      left.length += extent.length;
      ARIL_TRY(set_extent(leaf, after - 1, left));
      if (after < count && continues(left, extent_at(leaf, after))) {
        left.length += extent_at(leaf, after).length;
        ARIL_TRY(set_extent(leaf, after - 1, left));
        ARIL_TRY(remove_entry(way, way.depth));
      }
      return true;
    }
  }
  if (after < count) {
    Extent right = extent_at(leaf, after);
    if (continues(extent, right)) {
      right.at = extent.at;
      right.start = extent.start;
      right.length += extent.length;
      ARIL_TRY(set_extent(leaf, after, right));
      if (after == 0) ARIL_TRY(fix_keys(way, way.depth));
      return true;
    }
  }
  return false;
}

Result<void> ExtentTree::insert_entry(Level& level, unsigned position, EntryBytes entry) {
  std::byte* node = ARIL_TRY(change(level));
  unsigned entries = load_header(node).entries;
  std::byte* at = node + sizeof(format::ExtentHeader) + position * kEntrySize;
  std::memmove(at + kEntrySize, at, (entries - position) * kEntrySize);
  std::memcpy(at, entry.data(), kEntrySize);
  set_entries(node, entries + 1);
  return {};
}

/// The full leaf of `way` comes closer to having room; then the caller walks again.
Result<void> ExtentTree::make_room(Way& way) {
  unsigned depth = way.depth;
  while (depth > 0) {
    const Level& parent = way.levels[depth - 1];
    if (header(parent).entries < header(parent).max) return split(way, depth);
    --depth;
  }
  return grow(way);
}

/// The root's entries move to a block of their own, one level down.
Result<void> ExtentTree::grow(Way& way) {
  Level& root = way.levels[0];
  format::ExtentHeader old = header(root);
  if (old.depth >= format::kMaxExtentDepth) return fail(Errno::kFBig);
  uint32_t first_key = key_of(root, 0);
  uint64_t block;
  Level child;
  child.buffer = ARIL_TRY(volume_.allocate_metadata_locked(volume_.goal_of(node_.number()), block));
  child.buffer->is_verified = true;
  child.buffer->seal = Seal::kExtents;
  child.buffer->seal_seed = node_.seed();
  std::byte* to = ARIL_TRY(change(child));
  std::memcpy(to, data(root), sizeof old + old.entries * kEntrySize);
  format::ExtentHeader moved = old;
  moved.max = static_cast<uint16_t>(capacity(child));
  store_header(to, moved);
  std::byte* from = ARIL_TRY(change(root));
  old.depth = old.depth + 1;
  old.entries = 1;
  store_header(from, old);
  store(from, 0, encode_index(first_key, block));
  node_.add_blocks(1);
  return {};
}

/// The node at `depth` gives its upper entries to a new one beside it. Its parent has room.
Result<void> ExtentTree::split(Way& way, unsigned depth) {
  Level& level = way.levels[depth];
  unsigned entries = header(level).entries;
  // Who appends leaves full nodes behind.
  unsigned keep = level.position + 1 >= entries ? entries - 1 : entries / 2;
  if (keep == 0) keep = 1;
  if (entries < 2) return fail(Errno::kIo);
  uint64_t block;
  Level fresh;
  fresh.buffer = ARIL_TRY(volume_.allocate_metadata_locked(level.buffer->block(), block));
  fresh.buffer->is_verified = true;
  fresh.buffer->seal = Seal::kExtents;
  fresh.buffer->seal_seed = node_.seed();
  std::byte* to = ARIL_TRY(change(fresh));
  format::ExtentHeader moved = header(level);
  moved.entries = static_cast<uint16_t>(entries - keep);
  moved.max = static_cast<uint16_t>(capacity(fresh));
  store_header(to, moved);
  std::memcpy(to + sizeof moved, data(level) + sizeof moved + keep * kEntrySize,
              (entries - keep) * kEntrySize);
  uint32_t key = key_of(fresh, 0);
  set_entries(ARIL_TRY(change(level)), keep);
  format::ExtentIndex entry = encode_index(key, block);
  Level& parent = way.levels[depth - 1];
  ARIL_TRY(insert_entry(parent, parent.position + 1,
                        EntryBytes(reinterpret_cast<std::byte*>(&entry), kEntrySize)));
  node_.add_blocks(1);
  return volume_.mark_dirty_locked(node_);
}

/// The first entry of the node at `depth` has another key now.
Result<void> ExtentTree::fix_keys(Way& way, unsigned depth) {
  uint32_t key = key_of(way.levels[depth], 0);
  while (depth-- > 0) {
    Level& level = way.levels[depth];
    auto index = load<format::ExtentIndex>(data(level), level.position);
    if (index.block == key) return {};
    index.block = key;
    store(ARIL_TRY(change(level)), level.position, index);
    if (level.position != 0) return {};
  }
  return {};
}

/// Removes the entry at the position of the way's level; nodes that become empty go too.
Result<void> ExtentTree::remove_entry(Way& way, unsigned depth) {
  Level& level = way.levels[depth];
  std::byte* node = ARIL_TRY(change(level));
  unsigned entries = load_header(node).entries;
  std::byte* at = node + sizeof(format::ExtentHeader) + level.position * kEntrySize;
  std::memmove(at, at + kEntrySize, (entries - level.position - 1) * kEntrySize);
  set_entries(node, entries - 1);
  if (entries > 1) return level.position == 0 ? fix_keys(way, depth) : Result<void>();
  if (depth == 0) {
    format::ExtentHeader root = load_header(node);
    root.depth = 0;
    store_header(node, root);
    return {};
  }
  uint64_t block = level.buffer->block();
  node_.add_blocks(-1);
  ARIL_TRY(volume_.free_locked(block, 1, Volume::BlockUse::kMetadata));
  return remove_entry(way, depth - 1);
}

Result<void> ExtentTree::mark_written(uint32_t at, uint32_t length) {
  Way way = ARIL_TRY(walk(at));
  Level& leaf = way.levels[way.depth];
  if (leaf.position == 0) return fail(Errno::kIo);
  unsigned own = leaf.position - 1;
  Extent extent = extent_at(leaf, own);
  if (!extent.unwritten || at + uint64_t{length} > extent.end()) return fail(Errno::kIo);
  Extent written{at, length, extent.start + (at - extent.at), false};
  Extent head{extent.at, at - extent.at, extent.start, true};
  Extent tail{at + length, static_cast<uint32_t>(extent.end() - at - length),
              written.start + length, true};
  if (head.length == 0 && own != 0) {
    Extent left = extent_at(leaf, own - 1);
    if (continues(left, written)) {
      left.length += length;
      ARIL_TRY(set_extent(leaf, own - 1, left));
      if (tail.length != 0) return set_extent(leaf, own, tail);
      leaf.position = own;
      return remove_entry(way, way.depth);
    }
  }
  if (head.length == 0) {
    ARIL_TRY(set_extent(leaf, own, written));
  } else {
    ARIL_TRY(set_extent(leaf, own, head));
    ARIL_TRY(insert_extent(written));
  }
  if (tail.length != 0) ARIL_TRY(insert_extent(tail));
  return {};
}

Result<bool> ExtentTree::remove_last(uint32_t from, uint64_t end) {
  if (end <= from) return true;
  Way way = ARIL_TRY(walk(static_cast<uint32_t>(std::min(end, kFileEnd) - 1)));
  Level& leaf = way.levels[way.depth];
  if (leaf.position == 0) return true;
  unsigned own = --leaf.position;
  Extent extent = extent_at(leaf, own);
  if (extent.end() <= from) return true;
  uint32_t cut_from = std::max(from, extent.at);
  uint64_t cut_end = std::min(end, extent.end());
  Extent head{extent.at, cut_from - extent.at, extent.start, extent.unwritten};
  Extent tail{static_cast<uint32_t>(cut_end), static_cast<uint32_t>(extent.end() - cut_end),
              extent.start + (cut_end - extent.at), extent.unwritten};
  auto use =
      (node_.mode() & 0170000) == 0100000 ? Volume::BlockUse::kData : Volume::BlockUse::kMetadata;
  auto count = static_cast<uint32_t>(cut_end - cut_from);
  ARIL_TRY(volume_.free_locked(extent.start + (cut_from - extent.at), count, use));
  node_.add_blocks(-int64_t{count});
  ARIL_TRY(volume_.mark_dirty_locked(node_));
  if (head.length == 0 && tail.length == 0) {
    ARIL_TRY(remove_entry(way, way.depth));
  } else if (head.length == 0) {
    ARIL_TRY(set_extent(leaf, own, tail));
    if (own == 0) ARIL_TRY(fix_keys(way, way.depth));
  } else {
    ARIL_TRY(set_extent(leaf, own, head));
    if (tail.length != 0) ARIL_TRY(insert_extent(tail));
  }
  return false;
}

}  // namespace aril::ext4
