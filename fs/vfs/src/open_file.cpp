#include "fs/vfs/open_file.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <limits>

#include "fs/vfs/file_system.hpp"
#include "fs/vfs/lookup.hpp"
#include "fs/vfs/mount.hpp"
#include "fs/vfs/watch.hpp"

namespace aril::vfs {
namespace {

constexpr char kNodeFileTag = 0;
constexpr uint64_t kMaximumOffset = std::numeric_limits<int64_t>::max();

/// `base` + `offset`, when it is a position.
Result<uint64_t> moved(uint64_t base, int64_t offset) {
  int64_t result;
  if (__builtin_add_overflow(static_cast<int64_t>(base), offset, &result))
    return fail(Errno::kOverflow);
  if (result < 0) return fail(Errno::kInval);
  return static_cast<uint64_t>(result);
}

}  // namespace

NodeFile::NodeFile(Path path, OpenFlags flags) : File(flags), path_(std::move(path)) {
  inode().count_open();
}

NodeFile::~NodeFile() {
  if (!has(flags(), OpenFlags::kPath))
    announce(path_, is_writable() ? FileEvent::kCloseWrite : FileEvent::kCloseNoWrite);
  if (is_writer_) inode().drop_writer();
  if (inode().count_closed() && inode().link_count() == 0) announce_end(inode());
}

Result<void> NodeFile::claim_writing() {
  if (is_writer_) return {};
  is_writer_ = true;
  inode().count_writer();
  if (inode().is_executing()) return fail(Errno::kTxtBsy);
  return {};
}

Result<Execution> Execution::begin(Inode& program) {
  Execution execution{RefPtr<Inode>(&program)};
  program.count_execution();
  if (program.is_open_for_writing()) return fail(Errno::kTxtBsy);
  return execution;
}

Execution::~Execution() {
  if (program_) program_->drop_execution();
}

Result<FileStatus> NodeFile::status() { return inode().status(); }

std::string NodeFile::description() const {
  MountTree* tree = path_.mount().tree();
  if (tree != nullptr) return absolute_path(*tree, path_, tree->root());
  return "/" + path_.mount().file_system().dentries().name_of(path_.dentry()) + " (deleted)";
}

void* NodeFile::facet(const void* tag) { return tag == &kNodeFileTag ? this : nullptr; }
Result<void> NodeFile::sync() { return inode().sync(); }
Result<void> NodeFile::sync_data() { return inode().sync_data(); }
Result<void> NodeFile::read_directory(DirectoryEmitter&) { return fail(Errno::kNotDir); }
Result<void> NodeFile::truncate(uint64_t) { return fail(Errno::kInval); }
Result<void> NodeFile::allocate(uint32_t, uint64_t, uint64_t) { return fail(Errno::kNoDev); }

NodeFile* as_node_file(File& file) { return static_cast<NodeFile*>(file.facet(&kNodeFileTag)); }

const Path* path_of(File& file) {
  NodeFile* node = as_node_file(file);
  return node == nullptr ? nullptr : &node->path();
}

OpenFile::OpenFile(Path path, OpenFlags flags) : NodeFile(std::move(path), flags) {}
OpenFile::~OpenFile() = default;

Result<size_t> OpenFile::read_at(IoBuffer& buffer, uint64_t offset) {
  if (!is_readable()) return fail(Errno::kBadF);
  if (offset > kMaximumOffset) return fail(Errno::kInval);
  // Asked anew each time: an overlay's file gets another cache when it is first written.
  RefPtr<PageCache> cache = ARIL_TRY(inode().page_cache(PageAccess::kRead));
  size_t count = ARIL_TRY(cache->read(buffer, offset));
  if (!has(flags(), OpenFlags::kNoAtime)) inode().touch_accessed();
  if (count != 0) announce(path(), FileEvent::kAccess);
  return count;
}

Result<size_t> OpenFile::read(IoBuffer& buffer) {
  LockGuard guard(position_mutex_);
  size_t count = ARIL_TRY(read_at(buffer, position_));
  position_ += count;
  return count;
}

Result<size_t> OpenFile::write_locked(IoBuffer& buffer, uint64_t offset) {
  if (buffer.remaining() == 0) return size_t{0};
  if (offset >= kMaximumOffset) return fail(Errno::kFBig);
  buffer.truncate(kMaximumOffset - offset);
  size_t count = ARIL_TRY(inode().write_locked(buffer, offset));
  if (count != 0) announce(path(), FileEvent::kModify);
  return count;
}

Result<size_t> OpenFile::synced(Result<size_t> written) {
  // O_SYNC contains O_DSYNC's bit.
  if (!written || *written == 0 || !has(flags(), OpenFlags::kDataSync)) return written;
  bool all = (flags() & OpenFlags::kSync) == OpenFlags::kSync;
  ARIL_TRY(all ? inode().sync() : inode().sync_data());
  return written;
}

Result<size_t> OpenFile::write_at(IoBuffer& buffer, uint64_t offset) {
  if (!is_writable()) return fail(Errno::kBadF);
  if (offset > kMaximumOffset) return fail(Errno::kInval);
  Result<size_t> written = 0;
  {
    LockGuard guard(inode().mutex());
    // [pwrite(2), BUGS] With O_APPEND Linux appends whatever the offset.
    if (has(flags(), OpenFlags::kAppend)) offset = inode().size();
    written = write_locked(buffer, offset);
  }
  return synced(written);
}

Result<size_t> OpenFile::write(IoBuffer& buffer) {
  if (!is_writable()) return fail(Errno::kBadF);
  LockGuard position_guard(position_mutex_);
  size_t count;
  {
    LockGuard guard(inode().mutex());
    uint64_t offset = has(flags(), OpenFlags::kAppend) ? inode().size() : position_;
    count = ARIL_TRY(write_locked(buffer, offset));
    position_ = offset + count;
  }
  return synced(count);
}

Result<uint64_t> OpenFile::seek(int64_t offset, SeekOrigin origin) {
  LockGuard guard(position_mutex_);
  uint64_t target = 0;
  switch (origin) {
    case SeekOrigin::kSet:
      target = ARIL_TRY(moved(0, offset));
      break;
    case SeekOrigin::kCurrent:
      target = ARIL_TRY(moved(position_, offset));
      break;
    case SeekOrigin::kEnd:
      target = ARIL_TRY(moved(inode().size(), offset));
      break;
    case SeekOrigin::kData:
    case SeekOrigin::kHole:
      if (offset < 0) return fail(Errno::kNxIo);
      target = ARIL_TRY(inode().seek_extent(static_cast<uint64_t>(offset), origin));
      break;
    default:
      return fail(Errno::kInval);
  }
  position_ = target;
  return target;
}

Result<RefPtr<MemoryObject>> OpenFile::memory_object() {
  bool writable = is_writable();
  RefPtr<PageCache> cache =
      ARIL_TRY(inode().page_cache(writable ? PageAccess::kWrite : PageAccess::kRead));
  if (*cache->name() == '\0') cache->set_name(description());
  return cache;
}

Result<void> OpenFile::truncate(uint64_t size) {
  if (!is_writable()) return fail(Errno::kInval);
  if (size > kMaximumOffset) return fail(Errno::kInval);
  LockGuard guard(inode().mutex());
  ARIL_TRY(inode().resize_locked(size));
  announce(path(), FileEvent::kModify);
  return {};
}

Result<void> OpenFile::allocate(uint32_t mode, uint64_t offset, uint64_t length) {
  if (!is_writable()) return fail(Errno::kBadF);
  if (offset > kMaximumOffset || length > kMaximumOffset || length == 0) return fail(Errno::kInval);
  if (offset + length > kMaximumOffset) return fail(Errno::kFBig);
  LockGuard guard(inode().mutex());
  ARIL_TRY(inode().allocate_locked(mode, offset, length));
  announce(path(), FileEvent::kModify);
  return {};
}

// What lists names that are not stable (/proc) may need any lock for it.
DirectoryFile::DirectoryFile(Path path, OpenFlags flags)
    : NodeFile(std::move(path), flags),
      position_mutex_(inode().has_stable_names() ? LockRank::kFilePosition : LockRank::kGenerated) {
}

Result<size_t> DirectoryFile::read(IoBuffer&) { return fail(Errno::kIsDir); }

Result<uint64_t> DirectoryFile::seek(int64_t offset, SeekOrigin origin) {
  // Changed under the mutex, and read without it by whoever only asks: /proc/self/fdinfo does, in
  // the middle of making its own contents.
  std::atomic_ref position(position_);
  if (origin == SeekOrigin::kCurrent && offset == 0)
    return position.load(std::memory_order_relaxed);
  LockGuard guard(position_mutex_);
  switch (origin) {
    case SeekOrigin::kSet:
    case SeekOrigin::kCurrent: {
      uint64_t base = origin == SeekOrigin::kSet ? 0 : position_;
      uint64_t target = ARIL_TRY(moved(base, offset));
      position.store(target, std::memory_order_relaxed);
      return target;
    }
    default:
      return fail(Errno::kInval);
  }
}

namespace {

/// Remembers where reading goes on after the last entry that was taken.
class PositionRecorder final : public DirectoryEmitter {
 public:
  PositionRecorder(DirectoryEmitter& next, uint64_t& position) : next_(next), position_(position) {}
  bool emit(std::string_view name, uint64_t inode, uint8_t type, uint64_t next_offset) override {
    if (full_ || !next_.emit(name, inode, type, next_offset)) {
      full_ = true;
      return false;
    }
    std::atomic_ref(position_).store(next_offset, std::memory_order_relaxed);
    return true;
  }

 private:
  DirectoryEmitter& next_;
  uint64_t& position_;
  bool full_ = false;
};

}  // namespace

Result<void> DirectoryFile::read_directory(DirectoryEmitter& emitter) {
  static constexpr uint8_t kType = mode::directory_type(mode::kDirectory);
  LockGuard position_guard(position_mutex_);
  PositionRecorder recorder(emitter, position_);
  FileSystem& file_system = path().mount().file_system();
  if (path().dentry().is_deleted()) return fail(Errno::kNoEnt);
  announce(path(), FileEvent::kAccess);
  if (position_ == 0 && !recorder.emit(".", inode().number(), kType, 1)) return {};
  if (position_ == 1) {
    RefPtr<Dentry> parent = file_system.dentries().parent_of(path().dentry());
    uint64_t number = parent ? parent->inode()->number() : inode().number();
    if (!recorder.emit("..", number, kType, 2)) return {};
  }
  if (!inode().has_stable_names()) return inode().read_directory(position_, recorder);
  LockGuard guard(file_system.namespace_mutex());
  return inode().read_directory(position_, recorder);
}

Result<uint64_t> PathOnlyFile::seek(int64_t, SeekOrigin) { return fail(Errno::kBadF); }

Result<size_t> send_pages(File& in, uint64_t offset, size_t count, File& out) {
  static constexpr size_t kBatchPages = 16;
  NodeFile* node = as_node_file(in);
  if (node == nullptr || !node->inode().is_regular()) return fail(Errno::kInval);
  if (!in.is_readable()) return fail(Errno::kBadF);
  RefPtr<PageCache> cache = ARIL_TRY(node->inode().page_cache(PageAccess::kRead));
  uint64_t size = cache->size();
  size_t total = 0;
  while (total < count && offset < size) {
    std::array<PageRef, kBatchPages> pages;
    std::array<IoBuffer::Segment, kBatchPages> segments;
    size_t used = 0;
    size_t batch = 0;
    uint64_t limit = std::min<uint64_t>(count - total, size - offset);
    while (used < kBatchPages && batch < limit) {
      uint64_t position = offset + batch;
      Result<PageRef> page = cache->page(position / kPageSize, PageAccess::kRead);
      if (!page) {
        if (total + batch == 0) return fail(page.error());
        break;
      }
      size_t within = position % kPageSize;
      size_t length = std::min<uint64_t>(kPageSize - within, limit - batch);
      segments[used] = {reinterpret_cast<uint64_t>((*page)->data() + within), length};
      pages[used++] = std::move(*page);
      batch += length;
    }
    if (batch == 0) break;
    IoBuffer buffer(std::span(segments).first(used), IoBuffer::Memory::kKernel);
    Result<size_t> written = out.write(buffer);
    if (!written) {
      if (total != 0) break;
      return fail(written.error());
    }
    total += *written;
    offset += *written;
    if (*written < batch) break;
  }
  return total;
}

}  // namespace aril::vfs
