#include "image/erofs_reader.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <format>

#include "elf/elf_file.hpp"
#include "image/erofs_format.hpp"
#include "support/error.hpp"
#include "support/text.hpp"

namespace aril::tool {

using erofs::kBlockSize;

namespace {

constexpr int kMaximumDepth = 256;
constexpr uint64_t kMaximumDirectory = uint64_t{64} << 20;

[[noreturn]] void damaged(const std::string& what) {
  throw Error(std::format("the EROFS file system is damaged: {}", what));
}

}  // namespace

ErofsReader::ErofsReader(std::span<const std::byte> bytes) : bytes_(bytes) {
  const auto superblock = read_at<erofs::Superblock>(bytes, erofs::kSuperblockOffset);
  if (!superblock || superblock->magic != erofs::kMagic) throw Error("is not an EROFS file system");
  if (superblock->block_bits != 12) {
    damaged(std::format("blocks of 2^{} bytes are not supported", superblock->block_bits));
  }
  if (uint64_t{superblock->blocks} * kBlockSize > bytes.size()) {
    damaged(std::format("it is truncated to {} of {} bytes", bytes.size(),
                        uint64_t{superblock->blocks} * kBlockSize));
  }
  metadata_ = uint64_t{superblock->metadata_block} * kBlockSize;
  root_nid_ = superblock->root_nid;
  inodes_ = superblock->inodes;
}

ErofsReader::Inode ErofsReader::inode(uint64_t nid) const {
  if (nid > bytes_.size() / 32) damaged(std::format("inode {} lies outside", nid));
  const uint64_t offset = metadata_ + nid * 32;
  const auto format = read_at<uint16_t>(bytes_, offset);
  if (!format) damaged(std::format("inode {} lies outside", nid));
  Inode result;
  result.layout = (*format >> 1) & 7;
  uint64_t xattr_count = 0;
  if ((*format & 1) != 0) {
    const auto raw = read_at<erofs::ExtendedInode>(bytes_, offset);
    if (!raw) damaged(std::format("inode {} lies outside", nid));
    result.mode = raw->mode;
    result.size = raw->size;
    result.block = raw->block;
    xattr_count = raw->xattr_count;
    result.after = offset + sizeof *raw;
  } else {
    const auto raw = read_at<erofs::CompactInode>(bytes_, offset);
    if (!raw) damaged(std::format("inode {} lies outside", nid));
    result.mode = raw->mode;
    result.size = raw->size;
    result.block = raw->block;
    xattr_count = raw->xattr_count;
    result.after = offset + sizeof *raw;
  }
  if (xattr_count > 0) result.after += 12 + (xattr_count - 1) * 4;
  return result;
}

// The last block of an inline file follows its inode.
bool ErofsReader::has_inline_tail(const Inode& inode) {
  return static_cast<erofs::Layout>(inode.layout) == erofs::Layout::kInline &&
         (inode.size % kBlockSize != 0 || inode.size == 0);
}

std::span<const std::byte> ErofsReader::block_of(const Inode& inode, uint64_t index) const {
  const uint64_t position = index * kBlockSize;
  const uint64_t size = std::min(kBlockSize, inode.size - position);
  const auto layout = static_cast<erofs::Layout>(inode.layout);
  uint64_t offset = uint64_t{inode.block} * kBlockSize + position;
  if (has_inline_tail(inode) && inode.size - position <= kBlockSize) {
    offset = inode.after;
  } else if (layout != erofs::Layout::kPlain && layout != erofs::Layout::kInline) {
    throw Error("the EROFS file system is compressed or chunked, which is not supported");
  }
  const auto content = slice(bytes_, offset, size);
  if (!content) damaged("a file's content lies outside");
  return *content;
}

std::string ErofsReader::content(const Inode& inode) const {
  if (inode.size > bytes_.size()) damaged(std::format("a file of {} bytes", inode.size));
  std::string result;
  for (uint64_t index = 0; index * kBlockSize < inode.size; ++index) {
    const auto block = block_of(inode, index);
    result.append(reinterpret_cast<const char*>(block.data()), block.size());  // bytes as text
  }
  return result;
}

std::vector<ErofsReader::Name> ErofsReader::names(const Inode& directory) const {
  if (directory.size > kMaximumDirectory) damaged("a directory is too large");
  std::vector<Name> result;
  for (uint64_t index = 0; index * kBlockSize < directory.size; ++index) {
    const auto block = block_of(directory, index);
    const auto first = read_at<erofs::DirectoryEntry>(block, 0);
    if (!first || first->name_offset < sizeof *first || first->name_offset > block.size()) {
      damaged("a directory block has no entries");
    }
    const uint64_t count = first->name_offset / sizeof *first;
    for (uint64_t i = 0; i < count; ++i) {
      const auto entry = read_at<erofs::DirectoryEntry>(block, i * sizeof *first);
      uint64_t end = block.size();
      if (i + 1 < count) {
        end = read_at<erofs::DirectoryEntry>(block, (i + 1) * sizeof *first)->name_offset;
      }
      if (entry->name_offset > end || end > block.size()) damaged("a name lies outside");
      std::string name(reinterpret_cast<const char*>(block.data()) + entry->name_offset,
                       end - entry->name_offset);  // bytes as text
      name.resize(std::min(name.find('\0'), name.size()));
      if (name == "." || name == "..") continue;
      if (name.empty() || name.contains('/')) damaged("a name is empty or has a slash");
      result.push_back({std::move(name), entry->nid});
    }
  }
  return result;
}

std::optional<std::string> ErofsReader::read(const std::string& path) const {
  Inode current = inode(root_nid_);
  for (const std::string& part : split(path, '/')) {
    if (part.empty()) continue;
    if (!S_ISDIR(current.mode)) return std::nullopt;
    const std::vector<Name> children = names(current);
    const auto found = std::ranges::find(children, part, &Name::name);
    if (found == children.end()) return std::nullopt;
    current = inode(found->nid);
  }
  if (!S_ISREG(current.mode)) return std::nullopt;
  return content(current);
}

void ErofsReader::list_below(const Inode& directory, const std::string& path, int depth,
                             std::vector<ErofsEntry>& result) const {
  if (depth > kMaximumDepth) damaged("directories are nested too deep");
  for (const Name& name : names(directory)) {
    // More names than inodes: hard links, or a directory that contains itself.
    if (result.size() > inodes_ + 65536) damaged("it has more names than files");
    const Inode child = inode(name.nid);
    const std::string child_path = path + "/" + name.name;
    const uint64_t tail = has_inline_tail(child) ? child.size % kBlockSize : 0;
    result.push_back({.path = child_path,
                      .mode = child.mode,
                      .size = child.size,
                      .offset = uint64_t{child.block} * kBlockSize,
                      .in_place = child.size - tail});
    if (S_ISDIR(child.mode)) list_below(child, child_path, depth + 1, result);
  }
}

std::vector<ErofsEntry> ErofsReader::list() const {
  std::vector<ErofsEntry> result;
  list_below(inode(root_nid_), "", 0, result);
  return result;
}

}  // namespace aril::tool
