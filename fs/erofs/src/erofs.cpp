#include "fs/erofs/erofs.hpp"

#include "fs/vfs/lookup.hpp"
#include "volume.hpp"

namespace aril::erofs {

namespace mode = vfs::mode;

namespace {

class ErofsInode final : public vfs::Inode {
 public:
  ErofsInode(Erofs& file_system, const InodeRecord& record)
      : Inode(file_system, record.nid, record.mode),
        volume_(*file_system.volume()),
        record_(record) {
    uid_.store(record.uid, std::memory_order_relaxed);
    gid_.store(record.gid, std::memory_order_relaxed);
    link_count_.store(record.link_count, std::memory_order_relaxed);
    special_device_ = record.special_device;
    for (auto* time : {&access_ns_, &modify_ns_, &change_ns_, &birth_ns_})
      time->store(record.modify_ns, std::memory_order_relaxed);
  }

  Result<RefPtr<vfs::Inode>> lookup(std::string_view name) override {
    Volume::Entry entry = ARIL_TRY(volume_.find(record_, name));
    InodeRecord record = ARIL_TRY(volume_.read_inode(entry.nid));
    return ARIL_TRY(try_make_ref<ErofsInode>(static_cast<Erofs&>(file_system()), record));
  }

  Result<void> read_directory(uint64_t offset, vfs::DirectoryEmitter& emitter) override {
    // 0 and 1 stand for "." and ".." made by the caller; the image's own are left out.
    return volume_.for_each_entry(
        record_, offset - 2, [&](std::string_view name, const Volume::Entry& entry, uint64_t next) {
          if (name == "." || name == "..") return true;
          return emitter.emit(name, entry.nid, directory_type(entry.file_type), next + 2);
        });
  }

  Result<std::string> read_link() override {
    if (!is_symlink()) return fail(Errno::kInval);
    if (record_.size == 0 || record_.size >= vfs::kPathLimit) return fail(Errno::kIo);
    std::string text(record_.size, '\0');
    ARIL_TRY(volume_.read_data(record_, 0, std::as_writable_bytes(std::span(text))));
    return text;
  }

  Result<RefPtr<PageCache>> page_cache(PageAccess access) override {
    if (!is_regular()) return fail(Errno::kInval);
    if (access == PageAccess::kWrite) return fail(Errno::kRoFs);
    LockGuard guard(mutex());
    if (!cache_) {
      std::unique_ptr<PageBacking> backing = ARIL_TRY(make_backing());
      cache_ = ARIL_TRY(PageCache::create_owning(std::move(backing), record_.size, ""));
    }
    return cache_;
  }

  Result<std::unique_ptr<PageBacking>> make_backing() override {
    auto* backing =
        new (std::nothrow) FileBacking(static_cast<Erofs&>(file_system()).volume(), record_);
    if (backing == nullptr) return fail(Errno::kNoMem);
    return std::unique_ptr<PageBacking>(backing);
  }

  [[nodiscard]] uint64_t size() const override { return record_.size; }

  Result<std::vector<std::byte>> get_xattr(std::string_view name) override {
    return volume_.get_xattr(record_, name);
  }
  Result<std::string> list_xattrs() override { return volume_.list_xattrs(record_); }

 private:
  /// EROFS's FT_* to Linux's DT_*.
  static uint8_t directory_type(uint8_t file_type) {
    static constexpr uint8_t kTypes[] = {0, 8, 4, 2, 6, 1, 12, 10};
    return file_type < std::size(kTypes) ? kTypes[file_type] : uint8_t{0};
  }

  const Volume& volume_;  // kept by the file system
  const InodeRecord record_;
  RefPtr<PageCache> cache_;  // guarded by mutex()
};

}  // namespace

Erofs::Erofs(RefPtr<Volume> volume) : volume_(std::move(volume)) {}
Erofs::~Erofs() { drop_inodes(); }

Result<RefPtr<Erofs>> Erofs::open(RefPtr<Volume> volume) {
  InodeRecord record = ARIL_TRY(volume->read_inode(volume->root_nid()));
  if ((record.mode & mode::kTypeMask) != mode::kDirectory) return fail(Errno::kIo);
  RefPtr<Erofs> file_system = ARIL_TRY(try_make_ref<Erofs>(std::move(volume)));
  RefPtr<ErofsInode> root = ARIL_TRY(try_make_ref<ErofsInode>(*file_system, record));
  ARIL_TRY(file_system->set_root(std::move(root)));
  return file_system;
}

Result<RefPtr<Erofs>> Erofs::open(std::span<const std::byte> image) {
  return open(ARIL_TRY(Volume::open(ARIL_TRY(ImageSource::create(image)))));
}

Result<RefPtr<Erofs>> Erofs::open(BlockDevice& device) {
  return open(ARIL_TRY(Volume::open(ARIL_TRY(ImageSource::create(device)))));
}

vfs::FileSystemStatus Erofs::status() {
  vfs::FileSystemStatus status;
  status.magic = kMagic;
  status.blocks = volume_->block_count();
  status.files = volume_->inode_count();
  return status;
}

}  // namespace aril::erofs
