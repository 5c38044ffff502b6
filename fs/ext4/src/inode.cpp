#include "inode.hpp"

#include <algorithm>
#include <cstring>

#include "extents.hpp"
#include "kernel/vm/io_buffer.hpp"
#include "xattrs.hpp"

namespace aril::ext4 {

namespace mode = vfs::mode;

namespace {

constexpr uint64_t kDay = 86'400'000'000'000;

/// [mknod(2)] Old device numbers have 16 bits and stand in the first word, others in the second.
uint64_t device_of(const Node& node) {
  format::Le32 words[2];
  std::memcpy(words, node.raw.block, sizeof words);
  if (words[0] != 0) return mode::make_device((words[0] >> 8) & 0xff, words[0] & 0xff);
  uint32_t value = words[1];
  return mode::make_device((value & 0xfff00) >> 8, (value & 0xff) | ((value >> 12) & 0xfff00));
}

}  // namespace

Ext4Inode::Ext4Inode(Ext4& file_system, RefPtr<Node> node)
    : Inode(file_system, node->number(), node->mode()), node_(std::move(node)) {
  load_locked();
  // Pages that still wait to be written, or that are mapped, may have outlived an inode before.
  if (node_->cache != nullptr && node_->cache->try_add_ref())
    cache_ = RefPtr<PageCache>::adopt(node_->cache);
  uint32_t type = this->type();
  if (type == mode::kCharDevice || type == mode::kBlockDevice) special_device_ = device_of(*node_);
}

Ext4Inode::~Ext4Inode() {
  bool is_deleted;
  {
    LockGuard hold(volume().lock());
    if (node_->face == this) node_->face = nullptr;
    is_deleted = node_->links() == 0;
  }
  // The list of dirty caches may hold one reference beside this.
  bool is_unused = cache_ && !cache_->has_mappings() && cache_->ref_count() <= 2;
  if (is_deleted && is_unused) cache_->discard();
  if (is_deleted) volume().release_dirty_node(*node_);
}

void Ext4Inode::load_locked() {
  mode_.store(node_->mode(), std::memory_order_relaxed);
  uid_.store(node_->uid(), std::memory_order_relaxed);
  gid_.store(node_->gid(), std::memory_order_relaxed);
  link_count_.store(node_->links(), std::memory_order_relaxed);
  access_ns_.store(node_->time(Node::Time::kAccess), std::memory_order_relaxed);
  modify_ns_.store(node_->time(Node::Time::kModify), std::memory_order_relaxed);
  change_ns_.store(node_->time(Node::Time::kChange), std::memory_order_relaxed);
  birth_ns_.store(node_->time(Node::Time::kBirth), std::memory_order_relaxed);
}

Result<RefPtr<vfs::Inode>> Ext4Inode::of(Ext4& file_system, RefPtr<Node> node) {
  Volume& volume = node->volume();
  LockGuard hold(volume.lock());
  if (node->face != nullptr && node->face->try_add_ref())
    return RefPtr<vfs::Inode>(RefPtr<Ext4Inode>::adopt(node->face));
  auto* made = new (std::nothrow) Ext4Inode(file_system, node);
  if (made == nullptr) return fail(Errno::kNoMem);
  node->face = made;
  return RefPtr<vfs::Inode>(adopt_ref(made));
}

Result<FileStatus> Ext4Inode::status() {
  RefPtr<PageCache> cache = cache_if_any();
  if (cache) (void)note_mapped_stores(*node_, *cache);
  FileStatus status;
  LockGuard hold(volume().lock());
  status.device = file_system().device();
  status.inode = number();
  status.link_count = node_->links();
  status.mode = node_->mode();
  status.uid = node_->uid();
  status.gid = node_->gid();
  status.special_device = special_device_;
  status.size = cache ? cache->size() : node_->size();
  status.block_size = volume().block_size();
  status.blocks_512 = node_->sectors() + (node_->delayed_blocks << (volume().block_shift() - 9));
  status.access_ns = node_->time(Node::Time::kAccess);
  status.modify_ns = node_->time(Node::Time::kModify);
  status.change_ns = node_->time(Node::Time::kChange);
  status.birth_ns = node_->time(Node::Time::kBirth);
  return status;
}

Result<void> Ext4Inode::set_attributes(const vfs::AttributeChange& change) {
  LockGuard guard(mutex());
  if (RefPtr<PageCache> cache = cache_if_any()) ARIL_TRY(note_mapped_stores(*node_, *cache));
  Operation operation(volume());
  ARIL_TRY(operation.begin());
  if (change.mode)
    node_->raw.mode = static_cast<uint16_t>(type() | (*change.mode & mode::kPermissions));
  if (change.uid || change.gid)
    node_->set_owner(change.uid.value_or(node_->uid()), change.gid.value_or(node_->gid()));
  if (change.access_ns) node_->set_time(Node::Time::kAccess, *change.access_ns);
  if (change.modify_ns) node_->set_time(Node::Time::kModify, *change.modify_ns);
  node_->set_time(Node::Time::kChange, vfs::wall_clock_ns());
  ARIL_TRY(volume().mark_dirty_locked(*node_));
  load_locked();
  operation.done();
  return {};
}

// [mount(8)] relatime: only when the file was changed since, or a day later.
void Ext4Inode::touch_accessed() {
  int64_t accessed = access_ns_.load(std::memory_order_relaxed);
  int64_t now = vfs::wall_clock_ns();
  if (accessed > modify_ns_.load(std::memory_order_relaxed) &&
      accessed > change_ns_.load(std::memory_order_relaxed) &&
      now - accessed < static_cast<int64_t>(kDay))
    return;
  if (volume().is_read_only()) return;
  Operation operation(volume());
  if (!operation.begin()) return;
  node_->set_time(Node::Time::kAccess, now);
  access_ns_.store(now, std::memory_order_relaxed);
  if (volume().mark_dirty_locked(*node_)) operation.done();
}

Result<void> Ext4Inode::stamp(bool modified) {
  Operation operation(volume());
  ARIL_TRY(operation.begin());
  int64_t now = vfs::wall_clock_ns();
  if (modified) node_->set_time(Node::Time::kModify, now);
  node_->set_time(Node::Time::kChange, now);
  ARIL_TRY(volume().mark_dirty_locked(*node_));
  if (modified) modify_ns_.store(now, std::memory_order_relaxed);
  change_ns_.store(now, std::memory_order_relaxed);
  operation.done();
  return {};
}

RefPtr<PageCache> Ext4Inode::cache_if_any() const {
  LockGuard hold(cache_lock_);
  return cache_;
}

Result<RefPtr<PageCache>> Ext4Inode::page_cache(PageAccess access) {
  if (!is_regular()) return fail(Errno::kInval);
  if (access == PageAccess::kWrite && volume().is_read_only()) return fail(Errno::kRoFs);
  if (RefPtr<PageCache> cache = cache_if_any()) return cache;
  // Made without the locks; of two that are made at once the first counts.
  std::unique_ptr<FileBacking> backing(new (std::nothrow) FileBacking(node_));
  if (!backing) return fail(Errno::kNoMem);
  uint64_t size;
  {
    LockGuard hold(volume().lock());
    size = node_->size();
  }
  if (size > size_limit()) {
    Volume::report_corruption("a file's size makes no sense", number());
    return fail(Errno::kIo);
  }
  FileBacking* own = backing.get();
  RefPtr<PageCache> made = ARIL_TRY(PageCache::create_owning(std::move(backing), size, ""));
  RefPtr<PageCache> unused;  // ends when the locks are free
  LockGuard hold(volume().lock());
  // A mapping may have kept the old one when all names and descriptors were gone.
  if (node_->cache != nullptr && node_->cache->try_add_ref()) {
    unused = std::move(made);
    made = RefPtr<PageCache>::adopt(node_->cache);
  } else {
    own->attach(*made);
    node_->cache = made.get();
  }
  LockGuard pointer(cache_lock_);
  if (!cache_) cache_ = made;
  return made;
}

uint64_t Ext4Inode::size() const {
  if (RefPtr<PageCache> cache = cache_if_any()) return cache->size();
  LockGuard hold(volume().lock());
  return node_->size();
}

/// [ext4.rst] 2^32 blocks less one.
uint64_t Ext4Inode::size_limit() const { return uint64_t{0xffff'fffe} << volume().block_shift(); }

Result<size_t> Ext4Inode::write_locked(IoBuffer& buffer, uint64_t offset) {
  if (offset >= size_limit()) return fail(Errno::kFBig);
  buffer.truncate(size_limit() - offset);
  RefPtr<PageCache> cache = ARIL_TRY(page_cache(PageAccess::kWrite));
  size_t count = ARIL_TRY(cache->write(buffer, offset));
  ARIL_TRY(stamp(true));
  return count;
}

// What waits for its blocks gets them first: then extents alone tell data from holes.
Result<uint64_t> Ext4Inode::seek_extent(uint64_t offset, SeekOrigin origin) {
  uint64_t end = size();
  if (offset >= end) return fail(Errno::kNxIo);
  if (RefPtr<PageCache> cache = cache_if_any()) ARIL_TRY(cache->write_dirty());
  unsigned shift = volume().block_shift();
  uint64_t last = (end + volume().block_size() - 1) >> shift;
  LockGuard hold(volume().lock());
  for (uint64_t at = offset >> shift; at < last;) {
    Mapping mapping = ARIL_TRY(ExtentTree(*node_).find(static_cast<uint32_t>(at)));
    bool is_data = mapping.kind == Mapping::Kind::kWritten;
    if (is_data == (origin == SeekOrigin::kData)) return std::max(offset, at << shift);
    at += mapping.length;
  }
  if (origin == SeekOrigin::kData) return fail(Errno::kNxIo);
  return end;
}

/// On the disk.
Result<void> Ext4Inode::set_size(uint64_t size) {
  Operation operation(volume());
  ARIL_TRY(operation.begin());
  node_->set_size(size);
  ARIL_TRY(volume().mark_dirty_locked(*node_));
  node_->data_sync_id = volume().journal().running_id();
  operation.done();
  return {};
}

Result<void> Ext4Inode::resize_locked(uint64_t size) {
  if (!is_regular()) return fail(Errno::kInval);
  if (size > size_limit()) return fail(Errno::kFBig);
  RefPtr<PageCache> cache = ARIL_TRY(page_cache(PageAccess::kWrite));
  uint64_t old = cache->size();
  if (size >= old) {
    ARIL_TRY(cache->resize(size));
    if (size > old) ARIL_TRY(set_size(size));
    return stamp(true);
  }
  // The rest of the last page is zeroed, in memory and later on the disk.
  if (size % kPageSize != 0) ARIL_TRY(cache->page(size / kPageSize, PageAccess::kRead));
  ARIL_TRY(cache->resize(size));
  {
    LockGuard writing(cache->write_back_mutex());
    {
      LockGuard hold(volume().lock());
      forget_delayed_locked(*node_, (size + kPageSize - 1) / kPageSize, ~uint64_t{0});
    }
    ARIL_TRY(truncate_blocks(*node_, size));
  }
  return stamp(true);
}

namespace {

// [linux/falloc.h]
constexpr uint32_t kKeepSize = 1, kPunchHole = 2, kZeroRange = 0x10;

}  // namespace

Result<void> Ext4Inode::allocate_locked(uint32_t mode, uint64_t offset, uint64_t length) {
  if (!is_regular()) return fail(Errno::kNoDev);
  uint32_t what = mode & ~kKeepSize;
  if (what != 0 && what != kZeroRange && mode != (kPunchHole | kKeepSize))
    return fail(Errno::kOpNotSupp);
  uint64_t end = offset + length;
  if (end > size_limit()) return fail(Errno::kFBig);
  RefPtr<PageCache> cache = ARIL_TRY(page_cache(PageAccess::kWrite));
  if (what != 0) ARIL_TRY(punch(*cache, offset, end));
  if (what != kPunchHole) {
    LockGuard writing(cache->write_back_mutex());
    unsigned shift = volume().block_shift();
    uint64_t last = (end + volume().block_size() - 1) >> shift;
    ARIL_TRY(allocate_unwritten(*node_, static_cast<uint32_t>(offset >> shift), last));
    if ((mode & kKeepSize) == 0 && end > cache->size()) {
      ARIL_TRY(cache->resize(end));
      ARIL_TRY(set_size(end));
    }
  }
  return stamp(true);
}

/// Whole pages lose their blocks; parts of pages are zeroed.
Result<void> Ext4Inode::punch(PageCache& cache, uint64_t offset, uint64_t end) {
  uint64_t file_end = align_up(cache.size(), kPageSize);
  end = end >= cache.size() ? file_end : end;
  if (offset >= end) return {};
  uint64_t first = (offset + kPageSize - 1) / kPageSize, last = end / kPageSize;
  if (first > last) return cache.punch_hole(offset, end);  // inside one page
  if (offset % kPageSize != 0) ARIL_TRY(cache.punch_hole(offset, first * kPageSize));
  if (end % kPageSize != 0) ARIL_TRY(cache.punch_hole(last * kPageSize, end));
  LockGuard writing(cache.write_back_mutex());
  uint32_t per_page = volume().blocks_per_page();
  ARIL_TRY(free_range(*node_, static_cast<uint32_t>(first * per_page), last * per_page));
  {
    LockGuard hold(volume().lock());
    forget_delayed_locked(*node_, first, last);
  }
  cache.drop_pages(first, last);
  return {};
}

Result<void> Ext4Inode::durable(uint32_t id) {
  // Also without a transaction of its own, what was written must not stay in the disk's cache.
  if (id == 0 || volume().journal().is_committed(id)) return volume().disk().flush();
  return volume().commit(id);
}

Result<void> Ext4Inode::sync() {
  if (volume().is_read_only())
    return volume().journal().has_failed() ? fail(Errno::kIo) : Result<void>();
  if (RefPtr<PageCache> cache = cache_if_any()) ARIL_TRY(cache->write_dirty());
  uint32_t id;
  {
    LockGuard hold(volume().lock());
    id = node_->sync_id;
  }
  return durable(id);
}

// [fdatasync(2)] Without what is not needed to read the data back: time stamps.
Result<void> Ext4Inode::sync_data() {
  if (!is_regular() || volume().is_read_only()) return sync();
  if (RefPtr<PageCache> cache = cache_if_any()) ARIL_TRY(cache->write_dirty());
  uint32_t id;
  {
    LockGuard hold(volume().lock());
    id = node_->data_sync_id;
  }
  return durable(id);
}

Result<std::vector<std::byte>> Ext4Inode::get_xattr(std::string_view name) {
  LockGuard hold(volume().lock());
  return get_xattr_locked(*node_, name);
}

Result<void> Ext4Inode::set_xattr(std::string_view name, std::span<const std::byte> value,
                                  vfs::XattrFlags flags) {
  Operation operation(volume());
  ARIL_TRY(operation.begin());
  ARIL_TRY(set_xattr_locked(*node_, name, value, static_cast<XattrMode>(flags)));
  load_locked();
  operation.done();
  return {};
}

Result<void> Ext4Inode::remove_xattr(std::string_view name) {
  Operation operation(volume());
  ARIL_TRY(operation.begin());
  ARIL_TRY(set_xattr_locked(*node_, name, std::nullopt, XattrMode::kAny));
  load_locked();
  operation.done();
  return {};
}

Result<std::string> Ext4Inode::list_xattrs() {
  LockGuard hold(volume().lock());
  return list_xattrs_locked(*node_);
}

}  // namespace aril::ext4
