#include <array>
#include <cstring>

#include "volume.hpp"

namespace aril::erofs {

using format::kBlockSize;

namespace {

/// One block of a directory: entries in order of name, then the names. Valid once load() succeeded;
/// every accessor checks what it takes from the block.
class DirectoryBlock {
 public:
  Result<void> load(const Volume& volume, const InodeRecord& directory, uint64_t block) {
    uint64_t start = block * kBlockSize;
    length_ = std::min(directory.size - start, kBlockSize);
    ARIL_TRY(volume.read_data(directory, start, std::span(bytes_).first(length_)));
    if (length_ < sizeof(format::DirectoryEntry)) return fail(Errno::kIo);
    // The first name starts where the entries end.
    size_t names = entry(0).name_offset;
    if (names < sizeof(format::DirectoryEntry) || names > length_ ||
        names % sizeof(format::DirectoryEntry) != 0)
      return fail(Errno::kIo);
    count_ = names / sizeof(format::DirectoryEntry);
    return {};
  }

  [[nodiscard]] size_t count() const { return count_; }

  [[nodiscard]] format::DirectoryEntry entry(size_t index) const {
    format::DirectoryEntry entry;
    std::memcpy(&entry, bytes_.data() + index * sizeof(entry), sizeof(entry));
    return entry;
  }

  [[nodiscard]] Result<std::string_view> name(size_t index) const {
    size_t start = entry(index).name_offset;
    size_t end = index + 1 < count_ ? size_t{entry(index + 1).name_offset} : length_;
    if (start < count_ * sizeof(format::DirectoryEntry) || start >= end || end > length_)
      return fail(Errno::kIo);
    // char may alias the bytes.
    std::string_view name(reinterpret_cast<const char*>(bytes_.data()) + start, end - start);
    // The last name of a block may be followed by zeroes.
    if (index + 1 == count_) name = name.substr(0, name.find('\0'));
    if (name.empty() || name.size() > 255 || name.find('/') != name.npos ||
        name.find('\0') != name.npos)
      return fail(Errno::kIo);
    return name;
  }

 private:
  std::array<std::byte, kBlockSize> bytes_;
  size_t length_ = 0;
  size_t count_ = 0;
};

}  // namespace

Result<Volume::Entry> Volume::find(const InodeRecord& directory, std::string_view name) const {
  // 4 KiB, too much for a frame of a 32 KiB stack deep inside a system call.
  std::unique_ptr<DirectoryBlock> block(new (std::nothrow) DirectoryBlock);
  if (!block) return fail(Errno::kNoMem);
  uint64_t low = 0;
  uint64_t high = (directory.size + kBlockSize - 1) / kBlockSize;
  while (low < high) {
    uint64_t middle = low + (high - low) / 2;
    ARIL_TRY(block->load(*this, directory, middle));
    if (name < ARIL_TRY(block->name(0))) {
      high = middle;
      continue;
    }
    size_t first = 0;
    size_t last = block->count();
    while (first < last) {
      size_t index = first + (last - first) / 2;
      int order = name.compare(ARIL_TRY(block->name(index)));
      if (order == 0) {
        format::DirectoryEntry entry = block->entry(index);
        return Entry{entry.nid, entry.file_type};
      }
      if (order < 0) {
        last = index;
      } else {
        first = index + 1;
      }
    }
    // Between this block's names: then it is nowhere else.
    if (first < block->count()) return fail(Errno::kNoEnt);
    low = middle + 1;
  }
  return fail(Errno::kNoEnt);
}

Result<void> Volume::for_each_entry(const InodeRecord& directory, uint64_t position,
                                    const Visit& visit) const {
  std::unique_ptr<DirectoryBlock> block(new (std::nothrow) DirectoryBlock);
  if (!block) return fail(Errno::kNoMem);
  while (position < directory.size) {
    uint64_t start = position - position % kBlockSize;
    ARIL_TRY(block->load(*this, directory, start / kBlockSize));
    for (size_t index = position % kBlockSize; index < block->count(); ++index) {
      std::string_view name = ARIL_TRY(block->name(index));
      format::DirectoryEntry entry = block->entry(index);
      bool last = index + 1 == block->count();
      uint64_t next = last ? start + kBlockSize : start + index + 1;
      if (!visit(name, Entry{entry.nid, entry.file_type}, next)) return {};
    }
    position = start + kBlockSize;
  }
  return {};
}

}  // namespace aril::erofs
