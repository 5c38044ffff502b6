#include "fs/vfs/inode.hpp"

#include <atomic>

#include "arch/timer.hpp"
#include "fs/vfs/devices.hpp"
#include "fs/vfs/file_system.hpp"
#include "fs/vfs/mount.hpp"
#include "fs/vfs/open_file.hpp"

namespace aril::vfs {
namespace {

int64_t boot_clock_ns() { return arch::boot_wall_clock_ns() + arch::monotonic_now().ns; }

constinit std::atomic<int64_t (*)()> clock_source{boot_clock_ns};

}  // namespace

int64_t wall_clock_ns() { return clock_source.load(std::memory_order_relaxed)(); }
void set_wall_clock(int64_t (*clock)()) { clock_source.store(clock, std::memory_order_relaxed); }
int64_t wall_clock_ns_at(Instant when) {
  return wall_clock_ns() - (arch::monotonic_now() - when).ns;
}

Path::Path(RefPtr<Mount> mount, RefPtr<Dentry> dentry)
    : mount_(std::move(mount)), dentry_(std::move(dentry)) {}
Path::Path(const Path& other) : mount_(other.mount_), dentry_(other.dentry_) {}
// The dentry goes before the mount that keeps its file system alive.
Path& Path::operator=(const Path& other) {
  Path copy(other);
  return *this = std::move(copy);
}
Path& Path::operator=(Path&& other) noexcept {
  std::swap(dentry_, other.dentry_);
  std::swap(mount_, other.mount_);
  return *this;
}
void Path::release() {
  dentry_.reset();
  mount_.reset();
}

Inode::Inode(FileSystem& file_system, uint64_t number, uint32_t mode)
    : mode_(mode), file_system_(file_system), number_(number) {}
Inode::~Inode() = default;

Result<RefPtr<Inode>> Inode::lookup(std::string_view) { return fail(Errno::kNoEnt); }
Result<bool> Inode::is_still(std::string_view, Inode&) { return true; }
Result<RefPtr<Inode>> Inode::create(std::string_view, uint32_t, uint64_t, const Identity&) {
  return fail(Errno::kPerm);
}
Result<RefPtr<Inode>> Inode::symlink(std::string_view, std::string_view, const Identity&) {
  return fail(Errno::kPerm);
}
Result<void> Inode::link(std::string_view, Inode&) { return fail(Errno::kPerm); }
Result<void> Inode::unlink(std::string_view, Inode&) { return fail(Errno::kPerm); }
Result<void> Inode::rmdir(std::string_view, Inode&) { return fail(Errno::kPerm); }
Result<void> Inode::rename(std::string_view, Inode&, Inode&, std::string_view, Inode*, bool) {
  return fail(Errno::kPerm);
}
Result<RefPtr<Inode>> Inode::create_unnamed(uint32_t, const Identity&) {
  return fail(Errno::kOpNotSupp);
}
Result<void> Inode::read_directory(uint64_t, DirectoryEmitter&) { return fail(Errno::kNotDir); }
Result<std::string> Inode::read_link() { return fail(Errno::kInval); }
Result<LinkTarget> Inode::follow() { return LinkTarget{ARIL_TRY(read_link()), {}}; }

Result<FileStatus> Inode::status() {
  FileStatus status;
  status.device = file_system_.device();
  status.inode = number_;
  status.link_count = link_count();
  status.mode = mode();
  status.uid = uid();
  status.gid = gid();
  status.special_device = special_device_;
  status.size = size();
  status.blocks_512 = (status.size + 511) / 512;
  status.access_ns = access_ns_.load(std::memory_order_relaxed);
  status.modify_ns = modify_ns_.load(std::memory_order_relaxed);
  status.change_ns = change_ns_.load(std::memory_order_relaxed);
  status.birth_ns = birth_ns_.load(std::memory_order_relaxed);
  return status;
}

Result<void> Inode::set_attributes(const AttributeChange& change) {
  LockGuard guard(mutex_);
  if (change.mode)
    mode_.store(type() | (*change.mode & mode::kPermissions), std::memory_order_relaxed);
  if (change.uid) uid_.store(*change.uid, std::memory_order_relaxed);
  if (change.gid) gid_.store(*change.gid, std::memory_order_relaxed);
  if (change.access_ns) access_ns_.store(*change.access_ns, std::memory_order_relaxed);
  if (change.modify_ns) modify_ns_.store(*change.modify_ns, std::memory_order_relaxed);
  touch_changed();
  return {};
}

void Inode::touch_accessed() {}
void Inode::touch_modified() {
  int64_t now = wall_clock_ns();
  modify_ns_.store(now, std::memory_order_relaxed);
  change_ns_.store(now, std::memory_order_relaxed);
}
void Inode::touch_changed() { change_ns_.store(wall_clock_ns(), std::memory_order_relaxed); }

void Inode::note_stores(PageCache* cache) {
  if (cache == nullptr) return;
  std::optional<Instant> stored = cache->take_store_time();
  if (!stored) return;
  int64_t when = wall_clock_ns_at(*stored);
  // A later write or utimensat has the last word.
  if (when < change_ns_.load(std::memory_order_relaxed)) return;
  modify_ns_.store(when, std::memory_order_relaxed);
  change_ns_.store(when, std::memory_order_relaxed);
}

Result<uint64_t> Inode::seek_extent(uint64_t offset, SeekOrigin origin) {
  uint64_t end = size();
  if (offset >= end) return fail(Errno::kNxIo);
  return origin == SeekOrigin::kData ? offset : end;
}

Result<RefPtr<PageCache>> Inode::page_cache(PageAccess) { return fail(Errno::kInval); }
uint64_t Inode::size() const { return 0; }
Result<size_t> Inode::write_locked(IoBuffer& buffer, uint64_t offset) {
  RefPtr<PageCache> cache = ARIL_TRY(page_cache(PageAccess::kWrite));
  size_t count = ARIL_TRY(cache->write(buffer, offset));
  touch_modified();
  return count;
}
Result<void> Inode::resize_locked(uint64_t) { return fail(Errno::kInval); }
Result<void> Inode::allocate_locked(uint32_t, uint64_t, uint64_t) {
  return fail(Errno::kOpNotSupp);
}
Result<std::unique_ptr<PageBacking>> Inode::make_backing() { return fail(Errno::kInval); }
Result<uint32_t> Inode::seals() { return fail(Errno::kInval); }
Result<void> Inode::add_seals(uint32_t) { return fail(Errno::kInval); }
Result<void> Inode::sync() { return {}; }
Result<void> Inode::sync_data() { return sync(); }

Result<RefPtr<File>> Inode::open(const Path& path, OpenFlags flags) {
  switch (type()) {
    case mode::kRegular:
      return ARIL_TRY(try_make_ref<OpenFile>(path, flags));
    case mode::kDirectory:
      return ARIL_TRY(try_make_ref<DirectoryFile>(path, flags));
    case mode::kSymlink:
      return fail(Errno::kLoop);
    default:
      return open_special(path, flags);
  }
}

Result<std::vector<std::byte>> Inode::get_xattr(std::string_view) {
  return fail(Errno::kOpNotSupp);
}
Result<void> Inode::set_xattr(std::string_view, std::span<const std::byte>, XattrFlags) {
  return fail(Errno::kOpNotSupp);
}
Result<void> Inode::remove_xattr(std::string_view) { return fail(Errno::kOpNotSupp); }
Result<std::string> Inode::list_xattrs() { return std::string(); }

RefPtr<Attachment> Inode::attachment() const {
  LockGuard guard(attachment_lock_);
  return attachment_;
}
RefPtr<Attachment> Inode::replace_attachment(RefPtr<Attachment> attachment) {
  LockGuard guard(attachment_lock_);
  std::swap(attachment_, attachment);
  return attachment;
}
RefPtr<Attachment> Inode::attach_if_none(RefPtr<Attachment> made) {
  LockGuard guard(attachment_lock_);
  if (!attachment_) std::swap(attachment_, made);
  return attachment_;
}

Identity owner_for_new(const Inode& directory, const Identity& who, uint32_t& mode) {
  Identity owner = who;
  if ((directory.mode() & mode::kSetGid) != 0) {
    owner.gid = directory.gid();
    if ((mode & mode::kTypeMask) == mode::kDirectory) {
      mode |= mode::kSetGid;
    } else if ((mode & (mode::kSetGid | 010)) == (mode::kSetGid | 010) &&
               !who.in_group(owner.gid) && !who.has_override) {
      mode &= ~mode::kSetGid;
    }
  }
  return owner;
}

Result<void> check_access(const Inode& inode, const Identity& who, Access access) {
  uint32_t bits = inode.mode();
  auto wanted = static_cast<uint32_t>(access);
  if (wanted == 0) return {};
  uint32_t granted = bits & 7;
  if (who.uid == inode.uid()) {
    granted = (bits >> 6) & 7;
  } else if (who.in_group(inode.gid())) {
    granted = (bits >> 3) & 7;
  }
  if ((wanted & ~granted) == 0) return {};
  // CAP_DAC_OVERRIDE gives everything but the execution of a file that nobody may execute.
  bool executable = inode.is_directory() || (bits & 0111) != 0;
  if (who.has_override && (!has(access, Access::kExecute) || executable)) return {};
  return fail(Errno::kAcces);
}

}  // namespace aril::vfs
