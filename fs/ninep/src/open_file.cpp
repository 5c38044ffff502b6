#include "open_file.hpp"

#include <limits>

#include "fs/vfs/watch.hpp"

namespace aril::ninep {
namespace {

constexpr uint64_t kMaximumOffset = std::numeric_limits<int64_t>::max();

Result<RefPtr<Fid>> open_fid(const vfs::Path& path, uint32_t flags) {
  auto& inode = static_cast<NinepInode&>(path.inode());
  RefPtr<Fid> fid = ARIL_TRY(inode.client().walk(*inode.fid()));
  ARIL_TRY(inode.client().open(*fid, flags));
  return fid;
}

/// What the server needs to know; its values are x86's.
uint32_t server_flags(OpenFlags flags) {
  constexpr OpenFlags kPassed = OpenFlags::kAccessMask | OpenFlags::kAppend | OpenFlags::kSync;
  return static_cast<uint32_t>(flags & kPassed);
}

}  // namespace

Result<RefPtr<NinepFile>> NinepFile::create(const vfs::Path& path, OpenFlags flags) {
  RefPtr<Fid> fid = ARIL_TRY(open_fid(path, server_flags(flags)));
  return try_make_ref<NinepFile>(path, flags, std::move(fid));
}

NinepFile::~NinepFile() {
  // Close to open: who opens the file next, here or on the host, sees what was stored.
  if (is_writable()) (void)node().write_back();
}

Result<size_t> NinepFile::read_at(IoBuffer& buffer, uint64_t offset) {
  if (!is_readable()) return fail(Errno::kBadF);
  if (offset > kMaximumOffset) return fail(Errno::kInval);
  buffer.truncate(kMaximumOffset - offset);
  size_t count = ARIL_TRY(node().read(*fid_, offset, buffer));
  if (count != 0) announce(path(), vfs::FileEvent::kAccess);
  return count;
}

Result<size_t> NinepFile::read(IoBuffer& buffer) {
  LockGuard guard(position_mutex_);
  size_t count = ARIL_TRY(read_at(buffer, position_));
  position_ += count;
  return count;
}

Result<uint64_t> NinepFile::write_offset_locked(uint64_t offset) {
  if (!has(flags(), OpenFlags::kAppend)) return offset;
  ARIL_TRY(node().refresh());
  return node().size();
}

Result<size_t> NinepFile::write_at(IoBuffer& buffer, uint64_t offset) {
  if (!is_writable()) return fail(Errno::kBadF);
  if (offset > kMaximumOffset) return fail(Errno::kInval);
  if (buffer.remaining() == 0) return size_t{0};
  LockGuard guard(inode().mutex());
  // [pwrite(2), BUGS] With O_APPEND Linux appends whatever the offset.
  offset = ARIL_TRY(write_offset_locked(offset));
  if (offset >= kMaximumOffset) return fail(Errno::kFBig);
  buffer.truncate(kMaximumOffset - offset);
  size_t count = ARIL_TRY(node().write(fid_, offset, buffer));
  announce(path(), vfs::FileEvent::kModify);
  return count;
}

Result<size_t> NinepFile::write(IoBuffer& buffer) {
  if (!is_writable()) return fail(Errno::kBadF);
  if (buffer.remaining() == 0) return size_t{0};
  LockGuard position_guard(position_mutex_);
  LockGuard guard(inode().mutex());
  uint64_t offset = ARIL_TRY(write_offset_locked(position_));
  if (offset >= kMaximumOffset) return fail(Errno::kFBig);
  buffer.truncate(kMaximumOffset - offset);
  size_t count = ARIL_TRY(node().write(fid_, offset, buffer));
  position_ = offset + count;
  announce(path(), vfs::FileEvent::kModify);
  return count;
}

Result<uint64_t> NinepFile::seek(int64_t offset, SeekOrigin origin) {
  LockGuard guard(position_mutex_);
  uint64_t base = 0;
  switch (origin) {
    case SeekOrigin::kSet:
      break;
    case SeekOrigin::kCurrent:
      base = position_;
      break;
    case SeekOrigin::kEnd:
      ARIL_TRY(node().refresh());
      base = node().size();
      break;
    case SeekOrigin::kData:
    case SeekOrigin::kHole:
      if (offset < 0) return fail(Errno::kNxIo);
      ARIL_TRY(node().refresh());
      position_ = ARIL_TRY(node().seek_extent(static_cast<uint64_t>(offset), origin));
      return position_;
    default:
      return fail(Errno::kInval);
  }
  int64_t target;
  if (__builtin_add_overflow(static_cast<int64_t>(base), offset, &target))
    return fail(Errno::kOverflow);
  if (target < 0) return fail(Errno::kInval);
  position_ = static_cast<uint64_t>(target);
  return position_;
}

Result<RefPtr<MemoryObject>> NinepFile::memory_object() {
  RefPtr<PageCache> cache = ARIL_TRY(node().mapping(fid_, is_writable() ? fid_ : nullptr));
  if (*cache->name() == '\0') cache->set_name(description());
  return RefPtr<MemoryObject>(std::move(cache));
}

Result<void> NinepFile::truncate(uint64_t size) {
  if (!is_writable()) return fail(Errno::kInval);
  if (size > kMaximumOffset) return fail(Errno::kInval);
  LockGuard guard(inode().mutex());
  ARIL_TRY(node().resize(*fid_, size));
  announce(path(), vfs::FileEvent::kModify);
  return {};
}

Result<void> NinepFile::allocate(uint32_t mode, uint64_t offset, uint64_t length) {
  if (!is_writable()) return fail(Errno::kBadF);
  return inode().allocate_locked(mode, offset, length);
}

Result<void> NinepFile::sync() {
  ARIL_TRY(node().write_back());
  return node().client().sync(*fid_);
}

Result<RefPtr<NinepDirectory>> NinepDirectory::create(const vfs::Path& path, OpenFlags flags) {
  RefPtr<Fid> fid = ARIL_TRY(open_fid(path, static_cast<uint32_t>(OpenFlags::kDirectory)));
  return try_make_ref<NinepDirectory>(path, flags, std::move(fid));
}

Result<size_t> NinepDirectory::read(IoBuffer&) { return fail(Errno::kIsDir); }

Result<uint64_t> NinepDirectory::seek(int64_t offset, SeekOrigin origin) {
  LockGuard guard(position_mutex_);
  int64_t target = offset;
  if (origin == SeekOrigin::kCurrent) {
    if (__builtin_add_overflow(static_cast<int64_t>(position_), offset, &target))
      return fail(Errno::kOverflow);
  } else if (origin != SeekOrigin::kSet) {
    return fail(Errno::kInval);
  }
  if (target < 0) return fail(Errno::kInval);
  position_ = static_cast<uint64_t>(target);
  return position_;
}

Result<void> NinepDirectory::read_directory(vfs::DirectoryEmitter& emitter) {
  LockGuard guard(position_mutex_);
  if (path().dentry().is_deleted()) return fail(Errno::kNoEnt);
  bool full = false;
  auto take = [&](const Client::Entry& entry) {
    uint64_t number = entry.qid.path;
    if (entry.name == "..") {
      // Of the root the server knows a parent that is not to be seen here.
      RefPtr<vfs::Dentry> parent = node().file_system().dentries().parent_of(path().dentry());
      number = parent ? parent->inode()->number() : inode().number();
    }
    // Stand-ins are regular files to the server.
    uint8_t type = entry.type;
    if (type == vfs::mode::directory_type(vfs::mode::kRegular)) {
      if (uint32_t known = node().volume().known_type(number); known != 0)
        type = vfs::mode::directory_type(known);
    }
    full = !emitter.emit(entry.name, number, type, entry.next_offset);
    if (!full) position_ = entry.next_offset;
    return !full;
  };
  while (!full) {
    size_t count = ARIL_TRY(node().client().read_directory(*fid_, position_, take));
    if (count == 0) break;
  }
  return {};
}

Result<void> NinepDirectory::sync() { return node().client().sync(*fid_); }

}  // namespace aril::ninep
