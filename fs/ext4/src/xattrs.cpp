#include "xattrs.hpp"

#include <algorithm>
#include <cstring>

#include "checksum.hpp"
#include "fs/vfs/inode.hpp"
#include "volume.hpp"

namespace aril::ext4 {
namespace {

using format::XattrEntry;
using format::XattrHeader;

struct Attribute {
  uint8_t name_index = 0;
  std::string name;  ///< without its prefix
  std::vector<std::byte> value;
};
using Attributes = std::vector<Attribute>;

struct Prefix {
  uint8_t index;
  std::string_view text;
};
constexpr Prefix kPrefixes[] = {{1, "user."},
                                {2, "system.posix_acl_access"},
                                {3, "system.posix_acl_default"},
                                {4, "trusted."},
                                {6, "security."},
                                {7, "system."}};

std::string_view prefix_of(uint8_t index) {
  for (const Prefix& prefix : kPrefixes) {
    if (prefix.index == index) return prefix.text;
  }
  return {};
}

/// The index, and the name without what it stands for.
std::optional<std::pair<uint8_t, std::string_view>> split_name(std::string_view name) {
  for (const Prefix& prefix : kPrefixes) {
    bool is_whole = !prefix.text.ends_with('.');
    if (is_whole ? name == prefix.text : name.starts_with(prefix.text))
      return std::pair(prefix.index, name.substr(prefix.text.size()));
  }
  return std::nullopt;
}

constexpr size_t align4(size_t size) { return (size + 3) & ~size_t{3}; }
size_t entry_size(const Attribute& a) { return align4(sizeof(XattrEntry) + a.name.size()); }

/// Bytes that they take in a region, the end mark included.
size_t encoded_size(const Attributes& list) {
  size_t size = 4;
  for (const Attribute& a : list) size += entry_size(a) + align4(a.value.size());
  return size;
}

uint32_t hash_of(const Attribute& a) {
  uint32_t hash = 0;
  for (char c : a.name) hash = hash << 5 ^ hash >> 27 ^ static_cast<uint8_t>(c);
  for (size_t at = 0; at < a.value.size(); at += 4) {
    format::Le32 word = 0;
    std::memcpy(&word, a.value.data() + at, std::min<size_t>(4, a.value.size() - at));
    hash = hash << 16 ^ hash >> 16 ^ word;
  }
  return hash;
}

/// Entries from the region's start on, values relative to `base`.
Result<Attributes> decode(std::span<const std::byte> entries, std::span<const std::byte> base) {
  Attributes list;
  for (size_t at = 0;;) {
    format::Le32 mark = 0;
    if (entries.size() - at < sizeof mark) return fail(Errno::kIo);
    std::memcpy(&mark, entries.data() + at, sizeof mark);
    if (mark == 0) return list;
    XattrEntry entry;
    if (entries.size() - at < sizeof entry) return fail(Errno::kIo);
    std::memcpy(&entry, entries.data() + at, sizeof entry);
    size_t size = align4(sizeof entry + entry.name_length);
    if (entries.size() - at < size || entry.value_inode != 0 ||
        (entry.value_size != 0 &&
         (entry.value_offset > base.size() || entry.value_size > base.size() - entry.value_offset)))
      return fail(Errno::kIo);
    Attribute a{.name_index = entry.name_index};
    a.name.assign(reinterpret_cast<const char*>(entries.data() + at + sizeof entry),
                  entry.name_length);
    auto value = entry.value_size != 0 ? base.subspan(entry.value_offset, entry.value_size)
                                       : std::span<const std::byte>();
    a.value.assign(value.begin(), value.end());
    list.push_back(std::move(a));
    at += size;
  }
}

/// Sorted, as blocks must be.
void sort(Attributes& list) {
  std::ranges::sort(list, [](const Attribute& a, const Attribute& b) {
    if (a.name_index != b.name_index) return a.name_index < b.name_index;
    if (a.name.size() != b.name.size()) return a.name.size() < b.name.size();
    return a.name < b.name;
  });
}

/// Into a zeroed region whose entries start at `entries_offset`; values from its end downward.
/// Value offsets count from `base_offset`.
void encode(const Attributes& list, std::span<std::byte> region, size_t entries_offset,
            size_t base_offset) {
  size_t at = entries_offset, end = region.size();
  for (const Attribute& a : list) {
    end -= align4(a.value.size());
    XattrEntry entry{.name_length = static_cast<uint8_t>(a.name.size()),
                     .name_index = a.name_index,
                     .value_offset = static_cast<uint16_t>(a.value.empty() ? 0 : end - base_offset),
                     .value_inode = 0,
                     .value_size = static_cast<uint32_t>(a.value.size()),
                     .hash = hash_of(a)};
    std::memcpy(region.data() + at, &entry, sizeof entry);
    std::memcpy(region.data() + at + sizeof entry, a.name.data(), a.name.size());
    if (!a.value.empty()) std::memcpy(region.data() + end, a.value.data(), a.value.size());
    at += entry_size(a);
  }
}

size_t inline_start(const Node& node) { return format::kOldInodeSize + node.raw.extra_isize; }
/// Room behind the inode, its mark excluded.
size_t inline_room(const Node& node) {
  size_t size = node.volume().inode_size(), start = inline_start(node) + 4;
  return node.raw.extra_isize != 0 && start + 8 <= size ? size - start : 0;
}

Result<Attributes> load_inline(Node& node) {
  if (inline_room(node) == 0) return Attributes();
  Volume::InodePlace place = ARIL_TRY(node.volume().inode_place_locked(node.number()));
  std::span<const std::byte> inode(place.buffer->data() + place.offset, node.volume().inode_size());
  format::Le32 magic;
  std::memcpy(&magic, inode.data() + inline_start(node), sizeof magic);
  if (magic != format::kXattrMagic) return Attributes();
  auto region = inode.subspan(inline_start(node) + 4);
  Result<Attributes> list = decode(region, region);
  if (!list) Volume::report_corruption("an inode's attributes make no sense", node.number());
  return list;
}

Result<BufferRef> xattr_buffer(Node& node) {
  Volume& volume = node.volume();
  uint64_t block = node.xattr_block();
  if (!volume.is_valid_run(block, 1)) {
    Volume::report_corruption("an inode's block of attributes is none", node.number());
    return fail(Errno::kIo);
  }
  BufferRef buffer = ARIL_TRY(volume.buffers().get(block));
  if (buffer->is_verified && buffer->seal == Seal::kXattrs) return buffer;
  PageRef copy = ARIL_TRY(page_allocator::allocate(page_allocator::Fill::kNone));
  std::memcpy(copy->data(), buffer->data(), volume.block_size());
  XattrHeader header;
  std::memcpy(&header, copy->data(), sizeof header);
  if (header.magic != format::kXattrMagic || header.blocks != 1 || header.references == 0 ||
      (volume.has_checksums() &&
       xattr_block_checksum(volume, block, copy->data()) != header.checksum)) {
    Volume::report_corruption("a block of attributes is broken", block);
    return fail(Errno::kIo);
  }
  buffer->is_verified = true;
  buffer->seal = Seal::kXattrs;
  return buffer;
}

Result<Attributes> load_block(Node& node) {
  if (node.xattr_block() == 0) return Attributes();
  BufferRef buffer = ARIL_TRY(xattr_buffer(node));
  std::span<const std::byte> block(buffer->data(), node.volume().block_size());
  return decode(block.subspan(sizeof(XattrHeader)), block);
}

Result<void> store_inline(Node& node, const Attributes& list) {
  Volume& volume = node.volume();
  Volume::InodePlace place = ARIL_TRY(volume.inode_place_locked(node.number()));
  std::byte* inode = ARIL_TRY(volume.journal().modify(place.buffer)) + place.offset;
  auto region = std::span(inode, volume.inode_size()).subspan(inline_start(node));
  std::ranges::fill(region, std::byte{});
  if (list.empty()) return {};
  format::Le32 magic = format::kXattrMagic;
  std::memcpy(region.data(), &magic, sizeof magic);
  encode(list, region.subspan(4), 0, 0);
  return {};
}

Result<void> store_block(Node& node, const Attributes& list) {
  Volume& volume = node.volume();
  if (list.empty()) return release_xattr_block(node);
  BufferRef buffer;
  if (node.xattr_block() != 0) {
    buffer = ARIL_TRY(xattr_buffer(node));
    XattrHeader header;
    std::memcpy(&header, buffer->data(), sizeof header);
    if (header.references > 1) {  // others keep the old one
      ARIL_TRY(release_xattr_block(node));
      buffer = {};
    }
  }
  if (!buffer) {
    uint64_t block;
    buffer = ARIL_TRY(volume.allocate_metadata_locked(volume.goal_of(node.number()), block));
    buffer->is_verified = true;
    buffer->seal = Seal::kXattrs;
    node.set_xattr_block(block);
    node.add_blocks(1);
  }
  std::byte* data = ARIL_TRY(volume.journal().modify(buffer));
  std::memset(data, 0, volume.block_size());
  XattrHeader header{};
  header.magic = format::kXattrMagic;
  header.references = 1;
  header.blocks = 1;
  uint32_t hash = 0;
  for (const Attribute& a : list) hash = hash << 16 ^ hash >> 16 ^ hash_of(a);
  header.hash = hash;
  std::memcpy(data, &header, sizeof header);
  encode(list, {data, volume.block_size()}, sizeof header, 0);
  return {};
}

Attributes::iterator find(Attributes& list, uint8_t index, std::string_view name) {
  return std::ranges::find_if(
      list, [&](const Attribute& a) { return a.name_index == index && a.name == name; });
}

}  // namespace

uint32_t xattr_block_checksum(const Volume& volume, uint64_t block, std::byte* data) {
  auto* header = reinterpret_cast<XattrHeader*>(data);
  uint32_t old = header->checksum;
  header->checksum = 0;
  uint32_t crc = crc32c_of(volume.seed(), format::Le64(block));
  crc = crc32c(crc, {data, volume.block_size()});
  header->checksum = old;
  return crc;
}

Result<std::vector<std::byte>> get_xattr_locked(Node& node, std::string_view name) {
  auto parts = split_name(name);
  if (!parts) return fail(Errno::kOpNotSupp);
  for (auto load : {load_inline, load_block}) {
    Attributes list = ARIL_TRY(load(node));
    auto found = find(list, parts->first, parts->second);
    if (found != list.end()) return std::move(found->value);
  }
  return fail(Errno::kNoData);
}

Result<std::string> list_xattrs_locked(Node& node) {
  std::string names;
  for (auto load : {load_inline, load_block}) {
    for (const Attribute& a : ARIL_TRY(load(node))) {
      std::string_view prefix = prefix_of(a.name_index);
      if (!prefix.empty()) names.append(prefix).append(a.name).push_back('\0');
    }
  }
  return names;
}

Result<void> set_xattr_locked(Node& node, std::string_view name,
                              std::optional<std::span<const std::byte>> value, XattrMode mode) {
  auto parts = split_name(name);
  if (!parts) return fail(Errno::kOpNotSupp);
  auto [index, suffix] = *parts;
  Attributes inline_list = ARIL_TRY(load_inline(node));
  Attributes block_list = ARIL_TRY(load_block(node));
  bool changes_inline = false, changes_block = false;
  bool existed = false;
  if (auto found = find(inline_list, index, suffix); found != inline_list.end()) {
    inline_list.erase(found);
    existed = changes_inline = true;
  }
  if (auto found = find(block_list, index, suffix); found != block_list.end()) {
    block_list.erase(found);
    existed = changes_block = true;
  }
  if (existed && mode == XattrMode::kCreate) return fail(Errno::kExist);
  if (!existed && (mode == XattrMode::kReplace || !value)) return fail(Errno::kNoData);
  if (value) {
    Attribute a{.name_index = index, .name = std::string(suffix), .value = {}};
    a.value.assign(value->begin(), value->end());
    size_t needed = entry_size(a) + align4(a.value.size());
    size_t block_room = node.volume().block_size() - sizeof(XattrHeader);
    if (encoded_size(inline_list) + needed <= inline_room(node)) {
      inline_list.push_back(std::move(a));
      changes_inline = true;
    } else if (encoded_size(block_list) + needed <= block_room) {
      block_list.push_back(std::move(a));
      changes_block = true;
    } else {
      return fail(Errno::kNoSpc);
    }
  }
  sort(inline_list);
  sort(block_list);
  if (changes_block && !block_list.empty()) ARIL_TRY(node.volume().require_space_locked());
  if (changes_inline) ARIL_TRY(store_inline(node, inline_list));
  if (changes_block) ARIL_TRY(store_block(node, block_list));
  node.set_time(Node::Time::kChange, vfs::wall_clock_ns());
  return node.volume().mark_dirty_locked(node);
}

Result<void> release_xattr_block(Node& node) {
  Volume& volume = node.volume();
  uint64_t block = node.xattr_block();
  if (block == 0) return {};
  BufferRef buffer = ARIL_TRY(xattr_buffer(node));
  XattrHeader header;
  std::memcpy(&header, buffer->data(), sizeof header);
  if (header.references > 1) {
    header.references = header.references - 1;
    std::memcpy(ARIL_TRY(volume.journal().modify(buffer)), &header, sizeof header);
  } else {
    ARIL_TRY(volume.free_locked(block, 1, Volume::BlockUse::kMetadata));
  }
  node.set_xattr_block(0);
  node.add_blocks(-1);
  return volume.mark_dirty_locked(node);
}

}  // namespace aril::ext4
