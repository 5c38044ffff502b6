#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/ref_ptr.hpp"
#include "format.hpp"
#include "fs/vfs/inode.hpp"
#include "image_source.hpp"

namespace aril::erofs {

/// An inode as read from the image and checked as far as it can be by itself.
struct InodeRecord {
  uint64_t nid = 0;
  uint32_t mode = 0, uid = 0, gid = 0, link_count = 0;
  uint64_t size = 0;
  int64_t modify_ns = 0;
  uint64_t special_device = 0;
  format::Layout layout = format::Layout::kFlatPlain;
  uint32_t data = 0;          ///< first block, or chunk format
  uint64_t xattr_offset = 0;  ///< in the image
  uint32_t xattr_size = 0;
  uint64_t tail_offset = 0;  ///< in the image: what follows the inode and its attributes
};

/// Where a block of a file is.
struct Extent {
  enum class Kind : uint8_t { kHole, kBlock, kTail } kind = Kind::kHole;
  uint64_t offset = 0;  ///< in the image; a multiple of the block size for kBlock
};

/// An image that was recognised. Immutable; any thread.
class Volume final : public RefCounted {
 public:
  static Result<RefPtr<Volume>> open(std::unique_ptr<ImageSource> source);

  [[nodiscard]] uint64_t root_nid() const { return superblock_.root_nid; }
  [[nodiscard]] uint64_t block_count() const { return superblock_.blocks; }
  [[nodiscard]] uint64_t inode_count() const { return superblock_.inode_count; }
  [[nodiscard]] ImageSource& source() const { return *source_; }

  /// kIo for one that makes no sense, kOpNotSupp for a compressed one.
  Result<InodeRecord> read_inode(uint64_t nid) const;
  /// Of block `index` of the file, which must lie in its size.
  Result<Extent> map_block(const InodeRecord& inode, uint64_t index) const;
  /// Contents, for directories and links. [offset, +size) lies in the file. kIo.
  Result<void> read_data(const InodeRecord& inode, uint64_t offset, std::span<std::byte> to) const;

  // Directories (directory.cpp).
  struct Entry {
    uint64_t nid;
    uint8_t file_type;
  };
  /// kNoEnt.
  Result<Entry> find(const InodeRecord& directory, std::string_view name) const;
  /// Calls `visit` for each entry from `position` on, until it returns false. Positions are byte
  /// offsets of a block plus the number of the entry in it.
  using Visit = std::function<bool(std::string_view name, const Entry& entry, uint64_t next)>;
  Result<void> for_each_entry(const InodeRecord& directory, uint64_t position,
                              const Visit& visit) const;

  // Extended attributes (xattrs.cpp).
  Result<std::vector<std::byte>> get_xattr(const InodeRecord& inode, std::string_view name) const;
  Result<std::string> list_xattrs(const InodeRecord& inode) const;

 private:
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  Volume(std::unique_ptr<ImageSource> source, const format::Superblock& superblock)
      : source_(std::move(source)), superblock_(superblock) {}

  template <typename T>
  Result<T> read_struct(uint64_t offset) const {
    T value;
    ARIL_TRY(source_->read(offset, std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }
  Result<Extent> map_chunk(const InodeRecord& inode, uint64_t index) const;

  struct XattrView;
  using XattrVisit = std::function<Result<bool>(const XattrView&)>;
  Result<void> for_each_xattr(const InodeRecord& inode, const XattrVisit& visit) const;
  Result<uint64_t> visit_xattr(uint64_t offset, uint64_t limit, const XattrVisit& visit,
                               bool& go_on) const;

  const std::unique_ptr<ImageSource> source_;
  const format::Superblock superblock_;
};

/// The contents of one file, as a page cache wants them.
class FileBacking final : public PageBacking {
 public:
  FileBacking(RefPtr<Volume> volume, const InodeRecord& inode)
      : volume_(std::move(volume)), inode_(inode) {}
  PageRef in_place(uint64_t index) override;
  Result<void> read_pages(uint64_t index, std::span<PageRef> pages) override;
  [[nodiscard]] unsigned read_ahead_pages() const override {
    return volume_->source().read_ahead_pages();
  }

 private:
  const RefPtr<Volume> volume_;
  const InodeRecord inode_;
};

}  // namespace aril::erofs
