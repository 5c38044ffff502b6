#include "directory.hpp"

#include <algorithm>
#include <cstring>

#include "checksum.hpp"
#include "extents.hpp"
#include "fs/vfs/inode.hpp"
#include "volume.hpp"

namespace aril::ext4 {
namespace {

using format::DirectoryEntry;

constexpr size_t kHead = sizeof(DirectoryEntry);
constexpr size_t kSmallestEntry = 12;

constexpr size_t entry_size(size_t name_length) { return (kHead + name_length + 3) & ~size_t{3}; }

DirectoryEntry load_entry(const std::byte* data, size_t offset) {
  DirectoryEntry entry;
  std::memcpy(&entry, data + offset, sizeof entry);
  return entry;
}
void store_entry(std::byte* data, size_t offset, const DirectoryEntry& entry) {
  std::memcpy(data + offset, &entry, sizeof entry);
}
std::string_view entry_name(const std::byte* data, size_t offset, const DirectoryEntry& entry) {
  // Names are characters on disk too.
  return {reinterpret_cast<const char*>(data + offset + kHead), entry.name_length};
}
void put_entry(std::byte* data, size_t offset, size_t length, uint32_t inode, EntryType type,
               std::string_view name) {
  store_entry(data, offset,
              {.inode = inode,
               .length = static_cast<uint16_t>(length),
               .name_length = static_cast<uint8_t>(name.size()),
               .file_type = static_cast<uint8_t>(type)});
  std::ranges::copy(std::as_bytes(std::span(name)), data + offset + kHead);
}

}  // namespace

EntryType entry_type_of(uint32_t mode) {
  switch (mode & 0170000) {
    case 0100000:
      return EntryType::kRegular;
    case 0040000:
      return EntryType::kDirectory;
    case 0020000:
      return EntryType::kCharacter;
    case 0060000:
      return EntryType::kBlock;
    case 0010000:
      return EntryType::kFifo;
    case 0140000:
      return EntryType::kSocket;
    case 0120000:
      return EntryType::kLink;
    default:
      return EntryType::kUnknown;
  }
}

Directory::Directory(Node& node) : node_(node), volume_(node.volume()) {}

bool Directory::is_indexed() const {
  return volume_.has_directory_index() && node_.has_flag(format::kInodeIndex);
}
uint32_t Directory::block_count() const {
  return static_cast<uint32_t>(std::min<uint64_t>(node_.size() >> volume_.block_shift(), ~0u));
}
size_t Directory::leaf_end() const {
  return volume_.block_size() - (volume_.has_checksums() ? sizeof(format::DirectoryTail) : 0);
}

Directory::Kind Directory::kind_of(uint32_t index, const std::byte* data) const {
  if (!is_indexed()) return Kind::kLeaf;
  if (index == 0) return Kind::kRoot;
  DirectoryEntry first = load_entry(data, 0);
  return first.inode == 0 && first.length == volume_.block_size() && first.name_length == 0
             ? Kind::kNode
             : Kind::kLeaf;
}

bool Directory::is_block_valid(const std::byte* data, Kind kind) const {
  size_t size = volume_.block_size();
  for (size_t at = 0; at < size;) {
    if (size - at < kSmallestEntry) return false;
    DirectoryEntry entry = load_entry(data, at);
    if (entry.length < kSmallestEntry || entry.length % 4 != 0 || entry.length > size - at ||
        entry_size(entry.name_length) > entry.length ||
        entry.inode > volume_.superblock().inodes_count ||
        (entry.inode != 0 && entry.name_length == 0))
      return false;
    at += entry.length;
  }
  // "." and ".." stand first, by themselves in a root.
  if (kind == Kind::kRoot) {
    DirectoryEntry dot = load_entry(data, 0);
    if (dot.length != kSmallestEntry || load_entry(data, kSmallestEntry).length != size - 12)
      return false;
  }
  if (!volume_.has_checksums()) return true;
  if (kind == Kind::kLeaf) {
    format::DirectoryTail tail;
    std::memcpy(&tail, data + leaf_end(), sizeof tail);
    // Entries end where the tail begins.
    bool reached = false;
    for (size_t at = 0; at < size; at += load_entry(data, at).length) reached |= at == leaf_end();
    return reached && tail.zero == 0 && tail.length == sizeof tail && tail.zero_name_length == 0 &&
           tail.file_type == format::kTailFileType &&
           crc32c(node_.seed(), {data, leaf_end()}) == tail.checksum;
  }
  size_t offset = kind == Kind::kRoot ? format::kHashRootCountOffset : format::kHashNodeCountOffset;
  format::HashCount head;
  std::memcpy(&head, data + offset, sizeof head);
  if (head.limit != hash_limit(offset) || head.count == 0 || head.count > head.limit) return false;
  format::HashTail tail;
  std::memcpy(&tail, data + offset + head.limit * sizeof(format::HashEntry), sizeof tail);
  uint32_t crc = crc32c(node_.seed(), {data, offset + head.count * sizeof(format::HashEntry)});
  crc = crc32c_of(crc, tail.reserved);
  return crc32c_of(crc, format::Le32(0)) == tail.checksum;
}

void seal_directory_block(const Volume& volume, Seal seal, uint32_t seed, std::byte* data) {
  if (!volume.has_checksums()) return;
  if (seal == Seal::kDirectoryLeaf) {
    size_t end = volume.block_size() - sizeof(format::DirectoryTail);
    format::Le32 crc = crc32c(seed, {data, end});
    std::memcpy(data + end + offsetof(format::DirectoryTail, checksum), &crc, sizeof crc);
    return;
  }
  size_t offset =
      seal == Seal::kHashRoot ? format::kHashRootCountOffset : format::kHashNodeCountOffset;
  format::HashCount head;
  std::memcpy(&head, data + offset, sizeof head);
  std::byte* tail = data + offset + head.limit * sizeof(format::HashEntry);
  format::HashTail old;
  std::memcpy(&old, tail, sizeof old);
  uint32_t crc = crc32c(seed, {data, offset + head.count * sizeof(format::HashEntry)});
  crc = crc32c_of(crc, old.reserved);
  old.checksum = crc32c_of(crc, format::Le32(0));
  std::memcpy(tail, &old, sizeof old);
}

Result<BufferRef> Directory::block(uint32_t index) {
  Mapping mapping = ARIL_TRY(ExtentTree(node_).find(index));
  if (mapping.kind != Mapping::Kind::kWritten) {
    Volume::report_corruption("a directory has a hole", node_.number());
    return fail(Errno::kIo);
  }
  BufferRef buffer = ARIL_TRY(volume_.buffers().get(mapping.start));
  Kind kind = kind_of(index, buffer->data());
  Seal seal = kind == Kind::kLeaf   ? Seal::kDirectoryLeaf
              : kind == Kind::kRoot ? Seal::kHashRoot
                                    : Seal::kHashNode;
  if (buffer->is_verified && buffer->seal == seal && buffer->seal_seed == node_.seed())
    return buffer;
  if (!is_block_valid(buffer->data(), kind)) {
    Volume::report_corruption("a directory block is broken", mapping.start);
    return fail(Errno::kIo);
  }
  buffer->is_verified = true;
  buffer->seal = seal;
  buffer->seal_seed = node_.seed();
  return buffer;
}

Result<DirectoryEntry> Directory::entry_at(const std::byte* data, size_t at) const {
  size_t room = volume_.block_size() - at;
  if (room >= kSmallestEntry) {
    DirectoryEntry entry = load_entry(data, at);
    if (entry.length >= kSmallestEntry && entry.length % 4 == 0 && entry.length <= room &&
        entry_size(entry.name_length) <= entry.length)
      return entry;
  }
  Volume::report_corruption("a directory's block was written to by others", node_.number());
  return fail(Errno::kIo);
}

void Directory::init_leaf_tail(std::byte* data, Buffer& buffer) {
  buffer.is_verified = true;
  buffer.seal = Seal::kDirectoryLeaf;
  buffer.seal_seed = node_.seed();
  if (!volume_.has_checksums()) return;
  format::DirectoryTail tail{};
  tail.length = sizeof tail;
  tail.file_type = format::kTailFileType;
  std::memcpy(data + leaf_end(), &tail, sizeof tail);
}

/// A leaf without entries at the directory's end.
Result<BufferRef> Directory::append_block(uint32_t& index) {
  index = block_count();
  if (index >= 0x0fffffff) return fail(Errno::kNoSpc);
  uint64_t block;
  BufferRef buffer =
      ARIL_TRY(volume_.allocate_metadata_locked(volume_.goal_of(node_.number()), block));
  ARIL_TRY(ExtentTree(node_).insert(index, block, 1, Mapping::Kind::kWritten));
  node_.set_size(uint64_t{index + 1} << volume_.block_shift());
  node_.add_blocks(1);
  ARIL_TRY(volume_.mark_dirty_locked(node_));
  std::byte* data = ARIL_TRY(volume_.journal().modify(buffer));
  put_entry(data, 0, leaf_end(), 0, EntryType::kUnknown, {});
  init_leaf_tail(data, *buffer);
  return buffer;
}

Result<void> Directory::make(uint32_t parent) {
  uint32_t index;
  BufferRef buffer = ARIL_TRY(append_block(index));
  std::byte* data = ARIL_TRY(volume_.journal().modify(buffer));
  put_entry(data, 0, kSmallestEntry, node_.number(), EntryType::kDirectory, ".");
  put_entry(data, kSmallestEntry, leaf_end() - kSmallestEntry, parent, EntryType::kDirectory, "..");
  return {};
}

Result<uint32_t> Directory::parent() { return ARIL_TRY(find("..")).inode; }

Result<Directory::Found> Directory::find_in(const BufferRef& buffer, std::string_view name) {
  const std::byte* data = buffer->data();
  for (size_t at = 0; at < leaf_end();) {
    DirectoryEntry entry = ARIL_TRY(entry_at(data, at));
    if (entry.inode != 0 && entry_name(data, at, entry) == name)
      return Found{entry.inode, static_cast<EntryType>(entry.file_type), buffer,
                   static_cast<uint32_t>(at)};
    at += entry.length;
  }
  return fail(Errno::kNoEnt);
}

Result<Directory::Found> Directory::find(std::string_view name) {
  if (is_indexed() && name != "." && name != "..") return find_indexed(name);
  uint32_t blocks = is_indexed() ? 1 : block_count();
  for (uint32_t index = 0; index < blocks; ++index) {
    BufferRef buffer = ARIL_TRY(block(index));
    Result<Found> found = find_in(buffer, name);
    if (found || found.error() != Errno::kNoEnt) return found;
  }
  return fail(Errno::kNoEnt);
}

Result<bool> Directory::add_to(const BufferRef& buffer, std::string_view name, uint32_t inode,
                               EntryType type) {
  size_t needed = entry_size(name.size());
  for (size_t at = 0; at < leaf_end();) {
    DirectoryEntry entry = ARIL_TRY(entry_at(buffer->data(), at));
    size_t used = entry.inode != 0 ? entry_size(entry.name_length) : 0;
    if (entry.length < used + needed) {
      at += entry.length;
      continue;
    }
    std::byte* data = ARIL_TRY(volume_.journal().modify(buffer));
    size_t length = entry.length - used;
    if (used != 0) {
      entry.length = static_cast<uint16_t>(used);
      store_entry(data, at, entry);
    }
    put_entry(data, at + used, length, inode, type, name);
    return true;
  }
  return false;
}

Result<void> Directory::touch() {
  int64_t now = vfs::wall_clock_ns();
  node_.set_time(Node::Time::kModify, now);
  node_.set_time(Node::Time::kChange, now);
  return volume_.mark_dirty_locked(node_);
}

Result<void> Directory::add(std::string_view name, uint32_t inode, EntryType type) {
  if (is_indexed()) {
    ARIL_TRY(add_indexed(name, inode, type));
    return touch();
  }
  uint32_t blocks = block_count();
  for (uint32_t index = 0; index < blocks; ++index) {
    BufferRef buffer = ARIL_TRY(block(index));
    if (ARIL_TRY(add_to(buffer, name, inode, type))) return touch();
  }
  if (blocks == 1 && volume_.has_directory_index()) {
    ARIL_TRY(make_indexed());
    ARIL_TRY(add_indexed(name, inode, type));
    return touch();
  }
  uint32_t index;
  BufferRef buffer = ARIL_TRY(append_block(index));
  if (!ARIL_TRY(add_to(buffer, name, inode, type))) return fail(Errno::kIo);
  return touch();
}

Result<void> Directory::remove_from(const BufferRef& buffer, uint32_t offset) {
  std::byte* data = ARIL_TRY(volume_.journal().modify(buffer));
  DirectoryEntry gone = ARIL_TRY(entry_at(data, offset));
  size_t before = 0;
  for (size_t at = 0; at < offset; at += ARIL_TRY(entry_at(data, at)).length) before = at;
  if (offset == 0) {
    gone.inode = 0;
    store_entry(data, 0, gone);
    return {};
  }
  DirectoryEntry left = load_entry(data, before);
  left.length = static_cast<uint16_t>(left.length + gone.length);
  store_entry(data, before, left);
  std::memset(data + offset, 0, kHead + gone.name_length);
  return {};
}

Result<void> Directory::remove(std::string_view name) {
  Found found = ARIL_TRY(find(name));
  ARIL_TRY(remove_from(found.buffer, found.offset));
  return touch();
}

Result<void> Directory::replace(std::string_view name, uint32_t inode, EntryType type) {
  Found found = ARIL_TRY(find(name));
  std::byte* data = ARIL_TRY(volume_.journal().modify(found.buffer));
  DirectoryEntry entry = load_entry(data, found.offset);
  entry.inode = inode;
  entry.file_type = static_cast<uint8_t>(type);
  store_entry(data, found.offset, entry);
  return touch();
}

Result<bool> Directory::is_empty() {
  uint32_t blocks = block_count();
  for (uint32_t index = 0; index < blocks; ++index) {
    BufferRef buffer = ARIL_TRY(block(index));
    const std::byte* data = buffer->data();
    for (size_t at = 0; at < leaf_end();) {
      DirectoryEntry entry = ARIL_TRY(entry_at(data, at));
      std::string_view name = entry_name(data, at, entry);
      if (entry.inode != 0 && name != "." && name != "..") return false;
      at += entry.length;
    }
  }
  return true;
}

Result<Directory::Batch> Directory::read(uint64_t position) {
  Batch batch;
  bool hashed = is_indexed() || (volume_.has_directory_index() && block_count() <= 1);
  ARIL_TRY(hashed ? read_hashed(position, batch) : read_linear(position, batch));
  return batch;
}

Result<void> Directory::read_linear(uint64_t position, Batch& batch) {
  uint64_t blocks = block_count();
  for (uint64_t index = position >> volume_.block_shift(); index < blocks && batch.entries.empty();
       ++index) {
    BufferRef buffer = ARIL_TRY(block(static_cast<uint32_t>(index)));
    const std::byte* data = buffer->data();
    uint64_t base = index << volume_.block_shift();
    for (size_t at = 0; at < leaf_end();) {
      DirectoryEntry entry = ARIL_TRY(entry_at(data, at));
      std::string_view name = entry_name(data, at, entry);
      size_t next = at + entry.length;
      if (entry.inode != 0 && base + at >= position && name != "." && name != "..") {
        batch.entries.push_back({base + next, entry.inode, static_cast<EntryType>(entry.file_type),
                                 static_cast<uint32_t>(batch.names.size()), entry.name_length});
        batch.names.append(name);
      }
      at = next;
    }
  }
  return {};
}

}  // namespace aril::ext4
