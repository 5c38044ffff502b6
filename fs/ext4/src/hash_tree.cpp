#include <algorithm>
#include <cstring>

#include "checksum.hpp"
#include "directory.hpp"
#include "volume.hpp"

// [directory.rst, "Hash Tree Directories"] Large directories: a tree of one or two levels by the
// hashes of the names, whose leaves are plain blocks of entries.
namespace aril::ext4 {
namespace {

using format::DirectoryEntry;
using format::HashCount;
using format::HashEntry;

constexpr size_t kHead = sizeof(DirectoryEntry);
constexpr uint32_t kBlockMask = 0x0fffffff;

constexpr size_t entry_size(size_t name_length) { return (kHead + name_length + 3) & ~size_t{3}; }

DirectoryEntry load_entry(const std::byte* data, size_t offset) {
  DirectoryEntry entry;
  std::memcpy(&entry, data + offset, sizeof entry);
  return entry;
}
HashEntry load_key(const std::byte* data, size_t count_offset, unsigned position) {
  HashEntry entry;
  std::memcpy(&entry, data + count_offset + position * sizeof entry, sizeof entry);
  return entry;
}

}  // namespace

HashVersion Directory::default_version() const {
  const format::Superblock& super = volume_.superblock();
  uint8_t version = super.default_hash_version % 3;
  if ((super.flags & format::kFlagUnsignedHash) != 0) version += 3;
  return static_cast<HashVersion>(version);
}

uint32_t Directory::hash_of(HashVersion version, std::string_view name) const {
  const format::Superblock& super = volume_.superblock();
  uint32_t seed[4] = {super.hash_seed[0], super.hash_seed[1], super.hash_seed[2],
                      super.hash_seed[3]};
  return name_hash(version, seed, name);
}

unsigned Directory::hash_limit(size_t count_offset) const {
  size_t entries = (volume_.block_size() - count_offset) / sizeof(HashEntry);
  // The tail takes the place of one.
  return static_cast<unsigned>(entries - (volume_.has_checksums() ? 1 : 0));
}

Result<void> Directory::open_frame(Frame& frame, uint32_t index, Kind kind) {
  frame.buffer = ARIL_TRY(block(index));
  const std::byte* data = frame.buffer->data();
  frame.count_offset =
      kind == Kind::kRoot ? format::kHashRootCountOffset : format::kHashNodeCountOffset;
  HashCount head;
  std::memcpy(&head, data + frame.count_offset, sizeof head);
  frame.count = head.count;
  frame.limit = head.limit;
  if (kind_of(index, data) != kind || frame.limit != hash_limit(frame.count_offset) ||
      frame.count == 0 || frame.count > frame.limit) {
    Volume::report_corruption("a directory's index makes no sense", node_.number());
    return fail(Errno::kIo);
  }
  return {};
}

uint32_t Directory::leaf_of(const Frame& frame) const {
  // In the first entry the count stands where others have their hash.
  return load_key(frame.buffer->data(), frame.count_offset, frame.position).block & kBlockMask;
}
uint32_t Directory::key_at(const Frame& frame, unsigned position) const {
  if (position == 0) return 0;
  return load_key(frame.buffer->data(), frame.count_offset, position).hash;
}

/// The way to the leaf for a hash, or for a name, whose hash only the root's version tells.
Result<Directory::HashWay> Directory::walk(uint32_t hash, bool use_hash, std::string_view name) {
  HashWay way;
  ARIL_TRY(open_frame(way.frames[0], 0, Kind::kRoot));
  format::HashRootInfo info;
  std::memcpy(&info, way.frames[0].buffer->data() + format::kHashRootInfoOffset, sizeof info);
  if (info.hash_version > 2 || info.length != sizeof info || info.indirect_levels > 1 ||
      (info.flags & 1) != 0) {
    Volume::report_corruption("a directory's index is of an unknown kind", node_.number());
    return fail(Errno::kIo);
  }
  uint8_t version = info.hash_version;
  if ((volume_.superblock().flags & format::kFlagUnsignedHash) != 0) version += 3;
  way.version = static_cast<HashVersion>(version);
  way.hash = use_hash ? hash : hash_of(way.version, name);
  way.depth = info.indirect_levels;
  for (unsigned depth = 0;; ++depth) {
    Frame& frame = way.frames[depth];
    unsigned low = 1, high = frame.count;
    while (low < high) {
      unsigned middle = (low + high) / 2;
      if (key_at(frame, middle) <= way.hash) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    frame.position = low - 1;
    if (depth == way.depth) return way;
    ARIL_TRY(open_frame(way.frames[depth + 1], leaf_of(frame), Kind::kNode));
  }
}

Result<bool> Directory::step(HashWay& way, uint32_t& key) {
  unsigned depth = way.depth;
  while (way.frames[depth].position + 1 >= way.frames[depth].count) {
    if (depth == 0) return false;
    --depth;
  }
  ++way.frames[depth].position;
  key = key_at(way.frames[depth], way.frames[depth].position);
  for (; depth < way.depth; ++depth) {
    ARIL_TRY(open_frame(way.frames[depth + 1], leaf_of(way.frames[depth]), Kind::kNode));
    way.frames[depth + 1].position = 0;
  }
  return true;
}

Result<Directory::Found> Directory::find_indexed(std::string_view name) {
  HashWay way = ARIL_TRY(walk(0, false, name));
  for (;;) {
    BufferRef leaf = ARIL_TRY(block(leaf_of(way.frames[way.depth])));
    Result<Found> found = find_in(leaf, name);
    if (found || found.error() != Errno::kNoEnt) return found;
    // Names of one hash may go on in the next leaf.
    uint32_t key;
    if (!ARIL_TRY(step(way, key)) || (key & ~1u) != way.hash) return fail(Errno::kNoEnt);
  }
}

void Directory::set_count(std::byte* data, const Frame& frame, unsigned count) const {
  HashCount head;
  std::memcpy(&head, data + frame.count_offset, sizeof head);
  head.count = static_cast<uint16_t>(count);
  std::memcpy(data + frame.count_offset, &head, sizeof head);
}

/// Behind the frame's position.
Result<void> Directory::insert_key(Frame& frame, uint32_t hash, uint32_t block) {
  std::byte* data = ARIL_TRY(volume_.journal().modify(frame.buffer));
  std::byte* at = data + frame.count_offset + (frame.position + 1) * sizeof(HashEntry);
  std::memmove(at + sizeof(HashEntry), at, (frame.count - frame.position - 1) * sizeof(HashEntry));
  HashEntry entry{.hash = hash, .block = block};
  std::memcpy(at, &entry, sizeof entry);
  set_count(data, frame, ++frame.count);
  return {};
}

/// The lowest node is full: it is split, or, when it is the root, goes one level down.
Result<void> Directory::make_frame_room(HashWay& way) {
  Frame& full = way.frames[way.depth];
  uint32_t index;
  if (way.depth == 1 && way.frames[0].count >= way.frames[0].limit) {
    Volume::report_corruption("a directory's index is full", node_.number());
    return fail(Errno::kNoSpc);
  }
  BufferRef fresh = ARIL_TRY(append_block(index));
  std::byte* to = ARIL_TRY(volume_.journal().modify(fresh));
  std::memset(to, 0, volume_.block_size());
  DirectoryEntry head{.inode = 0,
                      .length = static_cast<uint16_t>(volume_.block_size()),
                      .name_length = 0,
                      .file_type = 0};
  std::memcpy(to, &head, sizeof head);
  fresh->seal = Seal::kHashNode;
  std::byte* from = ARIL_TRY(volume_.journal().modify(full.buffer));
  unsigned keep = way.depth == 0 ? 0 : full.count / 2;
  unsigned moved = full.count - keep;
  size_t base = format::kHashNodeCountOffset;
  uint32_t first_key = key_at(full, keep);
  std::memcpy(to + base, from + full.count_offset + keep * sizeof(HashEntry),
              moved * sizeof(HashEntry));
  // The first entry's block stays, its hash becomes limit and count.
  HashCount count{.limit = static_cast<uint16_t>(hash_limit(base)),
                  .count = static_cast<uint16_t>(moved),
                  .block = load_key(from, full.count_offset, keep).block};
  std::memcpy(to + base, &count, sizeof count);
  if (way.depth == 1) {
    set_count(from, full, keep);
    return insert_key(way.frames[0], first_key, index);
  }
  HashCount root{.limit = static_cast<uint16_t>(full.limit), .count = 1, .block = index};
  std::memcpy(from + full.count_offset, &root, sizeof root);
  format::HashRootInfo info;
  std::memcpy(&info, from + format::kHashRootInfoOffset, sizeof info);
  info.indirect_levels = 1;
  std::memcpy(from + format::kHashRootInfoOffset, &info, sizeof info);
  return {};
}

/// Copies entries one after the other; the last reaches to the block's end. Bytes used.
size_t Directory::pack(const std::byte* from, std::span<const LeafEntry> entries,
                       std::byte* to) const {
  size_t at = 0, last = 0;
  for (const LeafEntry& entry : entries) {
    DirectoryEntry head = load_entry(from, entry.offset);
    std::memcpy(to + at, from + entry.offset, entry.size);
    head.length = entry.size;
    std::memcpy(to + at, &head, sizeof head);
    last = at;
    at += entry.size;
  }
  DirectoryEntry head{};
  if (!entries.empty()) head = load_entry(to, last);
  head.length = static_cast<uint16_t>(leaf_end() - last);
  std::memcpy(to + last, &head, sizeof head);
  return at;
}

/// The leaf at the way's end gives its upper half, by hash, to a new one. The frame has room.
Result<void> Directory::split_leaf(HashWay& way) {
  constexpr size_t kMostEntries = 4096 / 12;
  Frame& frame = way.frames[way.depth];
  BufferRef old_leaf = ARIL_TRY(block(leaf_of(frame)));
  std::array<LeafEntry, kMostEntries> entries;
  size_t count = 0;
  for (size_t at = 0; at < leaf_end();) {
    DirectoryEntry entry = ARIL_TRY(entry_at(old_leaf->data(), at));
    if (entry.inode != 0 && count < kMostEntries) {
      std::string_view name(reinterpret_cast<const char*>(old_leaf->data() + at + kHead),
                            entry.name_length);
      entries[count++] = {hash_of(way.version, name), static_cast<uint16_t>(at),
                          static_cast<uint16_t>(entry_size(entry.name_length))};
    }
    at += entry.length;
  }
  auto all = std::span(entries).first(count);
  std::ranges::sort(all, {}, &LeafEntry::hash);
  size_t moved_bytes = 0, keep = count;
  while (keep > 1 && moved_bytes + entries[keep - 1].size / 2u <= leaf_end() / 2)
    moved_bytes += entries[--keep].size;
  if (keep == count) return fail(Errno::kIo);  // a leaf that is full has at least two entries
  uint32_t key = entries[keep].hash;
  if (key == entries[keep - 1].hash) key |= 1;

  uint32_t index;
  BufferRef new_leaf = ARIL_TRY(append_block(index));
  PageRef scratch = ARIL_TRY(page_allocator::allocate(page_allocator::Fill::kZero));
  std::memcpy(scratch->data(), old_leaf->data(), volume_.block_size());
  for (auto [buffer, part] :
       {std::pair(&old_leaf, all.first(keep)), std::pair(&new_leaf, all.subspan(keep))}) {
    std::byte* data = ARIL_TRY(volume_.journal().modify(*buffer));
    std::memset(data, 0, volume_.block_size());
    (void)pack(scratch->data(), part, data);
    init_leaf_tail(data, **buffer);
  }
  return insert_key(frame, key, index);
}

Result<void> Directory::add_indexed(std::string_view name, uint32_t inode, EntryType type) {
  // Each round makes room one level higher: three do.
  for (int round = 0; round < 6; ++round) {
    HashWay way = ARIL_TRY(walk(0, false, name));
    Frame& frame = way.frames[way.depth];
    BufferRef leaf = ARIL_TRY(block(leaf_of(frame)));
    if (ARIL_TRY(add_to(leaf, name, inode, type))) return {};
    ARIL_TRY(frame.count >= frame.limit ? make_frame_room(way) : split_leaf(way));
  }
  return fail(Errno::kNoSpc);
}

/// The only block's entries move to a leaf of their own; it becomes the root of a tree.
Result<void> Directory::make_indexed() {
  BufferRef root = ARIL_TRY(block(0));
  uint32_t index;
  BufferRef leaf = ARIL_TRY(append_block(index));
  std::byte* to = ARIL_TRY(volume_.journal().modify(leaf));
  const std::byte* from = root->data();
  size_t dot = ARIL_TRY(entry_at(from, 0)).length;
  DirectoryEntry up = ARIL_TRY(entry_at(from, dot));
  size_t dot_dot = up.length;
  uint32_t parent = up.inode;
  constexpr size_t kMostEntries = 4096 / 12;
  std::array<LeafEntry, kMostEntries> entries;
  size_t count = 0;
  for (size_t at = dot + dot_dot; at < leaf_end();) {
    DirectoryEntry entry = ARIL_TRY(entry_at(from, at));
    if (entry.inode != 0 && count < kMostEntries)
      entries[count++] = {0, static_cast<uint16_t>(at),
                          static_cast<uint16_t>(entry_size(entry.name_length))};
    at += entry.length;
  }
  (void)pack(from, std::span(entries).first(count), to);
  init_leaf_tail(to, *leaf);

  std::byte* data = ARIL_TRY(volume_.journal().modify(root));
  std::memset(data, 0, volume_.block_size());
  auto put = [&](size_t offset, size_t length, uint32_t inode, std::string_view name) {
    DirectoryEntry entry{.inode = inode,
                         .length = static_cast<uint16_t>(length),
                         .name_length = static_cast<uint8_t>(name.size()),
                         .file_type = static_cast<uint8_t>(EntryType::kDirectory)};
    std::memcpy(data + offset, &entry, sizeof entry);
    std::memcpy(data + offset + kHead, name.data(), name.size());
  };
  put(0, 12, node_.number(), ".");
  put(12, volume_.block_size() - 12, parent, "..");
  format::HashRootInfo info{};
  info.hash_version = volume_.superblock().default_hash_version % 3;
  info.length = sizeof info;
  std::memcpy(data + format::kHashRootInfoOffset, &info, sizeof info);
  constexpr size_t kBase = format::kHashRootCountOffset;
  HashCount head{.limit = static_cast<uint16_t>(hash_limit(kBase)), .count = 1, .block = index};
  std::memcpy(data + kBase, &head, sizeof head);
  root->seal = Seal::kHashRoot;
  node_.raw.flags = node_.raw.flags | format::kInodeIndex;
  return volume_.mark_dirty_locked(node_);
}

namespace {

/// A place in reading order: by the hash's 31 bits, then by another one, so that two names hardly
/// ever have the same.
uint64_t position_of(uint32_t hash, std::string_view name) {
  return uint64_t{hash >> 1} << 32 | crc32c(kCrcStart, std::as_bytes(std::span(name)));
}

}  // namespace

Result<void> Directory::collect(const BufferRef& buffer, HashVersion version, uint64_t from,
                                Batch& batch) const {
  const std::byte* data = buffer->data();
  for (size_t at = 0; at < leaf_end();) {
    DirectoryEntry entry = ARIL_TRY(entry_at(data, at));
    std::string_view name(reinterpret_cast<const char*>(data + at + kHead), entry.name_length);
    at += entry.length;
    if (entry.inode == 0 || name == "." || name == "..") continue;
    uint64_t position = position_of(hash_of(version, name), name);
    if (position < from) continue;
    batch.entries.push_back({position + 1, entry.inode, static_cast<EntryType>(entry.file_type),
                             static_cast<uint32_t>(batch.names.size()), entry.name_length});
    batch.names.append(name);
  }
  return {};
}

Result<void> Directory::read_hashed(uint64_t position, Batch& batch) {
  if (!is_indexed()) {
    if (block_count() != 0)
      ARIL_TRY(collect(ARIL_TRY(block(0)), default_version(), position, batch));
  } else {
    HashWay way = ARIL_TRY(walk(static_cast<uint32_t>(position >> 32) << 1, true, {}));
    for (;;) {
      BufferRef leaf = ARIL_TRY(block(leaf_of(way.frames[way.depth])));
      ARIL_TRY(collect(leaf, way.version, position, batch));
      uint32_t key;
      if (!ARIL_TRY(step(way, key))) break;
      // Leaves that share a hash are read together.
      if (!batch.entries.empty() && (key & 1) == 0) break;
    }
  }
  std::ranges::sort(batch.entries, {}, &Batch::Entry::position);
  return {};
}

}  // namespace aril::ext4
