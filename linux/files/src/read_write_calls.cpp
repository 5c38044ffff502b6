#include <optional>

#include "file_calls.hpp"
#include "linux/files/io_vector.hpp"

/// read, write, their positioned and vector forms, lseek.
namespace aril::linux_abi {

namespace {

Result<RefPtr<File>> readable_file(int fd) {
  RefPtr<File> file = ARIL_TRY(file_of(fd));
  if (!file->is_readable()) return fail(Errno::kBadF);
  return file;
}

Result<RefPtr<File>> writable_file(int fd) {
  RefPtr<File> file = ARIL_TRY(file_of(fd));
  if (!file->is_writable()) return fail(Errno::kBadF);
  return file;
}

Result<int64_t> do_read(int fd, const IoVector& vector) {
  RefPtr<File> file = ARIL_TRY(readable_file(fd));
  IoBuffer buffer = vector.buffer();
  return static_cast<int64_t>(ARIL_TRY(file->read(buffer)));
}

/// RLIMIT_FSIZE: shortens what would go past it. kFBig, with SIGXFSZ, when nothing is left.
/// `offset` nullopt: at the position, or the end.
Result<void> limit_size(File& file, IoBuffer& buffer, std::optional<uint64_t> offset) {
  // Regular files cannot be waited for; what can be needs no look at the limit.
  if (file.is_pollable()) return {};
  uint64_t limit = file_size_limit();
  if (limit == kUnlimited || buffer.remaining() == 0) return {};
  auto status = file.status();
  if (!status || (status->mode & vfs::mode::kTypeMask) != vfs::mode::kRegular) return {};
  if (has(file.flags(), OpenFlags::kAppend)) offset = status->size;
  if (!offset) offset = ARIL_TRY(file.seek(0, SeekOrigin::kCurrent));
  ARIL_TRY(check_file_size(*offset + 1));
  buffer.truncate(limit - *offset);
  return {};
}

Result<int64_t> do_write(int fd, const IoVector& vector) {
  RefPtr<File> file = ARIL_TRY(writable_file(fd));
  IoBuffer buffer = vector.buffer();
  ARIL_TRY(limit_size(*file, buffer, std::nullopt));
  return finish_write(*file, file->write(buffer));
}

Result<int64_t> do_read_at(int fd, const IoVector& vector, int64_t offset) {
  if (offset < 0) return fail(Errno::kInval);
  RefPtr<File> file = ARIL_TRY(readable_file(fd));
  IoBuffer buffer = vector.buffer();
  return static_cast<int64_t>(ARIL_TRY(file->read_at(buffer, static_cast<uint64_t>(offset))));
}

Result<int64_t> do_write_at(int fd, const IoVector& vector, int64_t offset) {
  if (offset < 0) return fail(Errno::kInval);
  RefPtr<File> file = ARIL_TRY(writable_file(fd));
  IoBuffer buffer = vector.buffer();
  ARIL_TRY(limit_size(*file, buffer, static_cast<uint64_t>(offset)));
  return finish_write(*file, file->write_at(buffer, static_cast<uint64_t>(offset)));
}

Result<int64_t> sys_read(int fd, UserPtr<char> bytes, uint64_t count) {
  return do_read(fd, IoVector::single(bytes.address(), count));
}
ARIL_SYSCALL(0, read, sys_read, "fd >buf size");

Result<int64_t> sys_write(int fd, UserPtr<char> bytes, uint64_t count) {
  return do_write(fd, IoVector::single(bytes.address(), count));
}
ARIL_SYSCALL(1, write, sys_write, "fd buf size");

Result<int64_t> sys_pread64(int fd, UserPtr<char> bytes, uint64_t count, int64_t offset) {
  return do_read_at(fd, IoVector::single(bytes.address(), count), offset);
}
ARIL_SYSCALL(17, pread64, sys_pread64, "fd >buf size off");

Result<int64_t> sys_pwrite64(int fd, UserPtr<char> bytes, uint64_t count, int64_t offset) {
  return do_write_at(fd, IoVector::single(bytes.address(), count), offset);
}
ARIL_SYSCALL(18, pwrite64, sys_pwrite64, "fd buf size off");

using UserVector = UserPtr<IoBuffer::Segment>;

Result<int64_t> sys_readv(int fd, UserVector vector, uint64_t count) {
  return do_read(fd, ARIL_TRY(IoVector::read(vector.address(), count)));
}
ARIL_SYSCALL(19, readv, sys_readv, "fd iovec int");

Result<int64_t> sys_writev(int fd, UserVector vector, uint64_t count) {
  return do_write(fd, ARIL_TRY(IoVector::read(vector.address(), count)));
}
ARIL_SYSCALL(20, writev, sys_writev, "fd iovec int");

// The offset's upper half is in the next argument, for 32-bit callers; here the lower one has all.
Result<int64_t> sys_preadv(int fd, UserVector vector, uint64_t count, int64_t offset) {
  return do_read_at(fd, ARIL_TRY(IoVector::read(vector.address(), count)), offset);
}
ARIL_SYSCALL(295, preadv, sys_preadv, "fd iovec int off");

Result<int64_t> sys_pwritev(int fd, UserVector vector, uint64_t count, int64_t offset) {
  return do_write_at(fd, ARIL_TRY(IoVector::read(vector.address(), count)), offset);
}
ARIL_SYSCALL(296, pwritev, sys_pwritev, "fd iovec int off");

// RWF_*.
constexpr uint32_t kHighPriority = 1, kDataSync = 2, kSync = 4, kNoWait = 8, kAppend = 16;
constexpr uint32_t kKnownFlags = kHighPriority | kDataSync | kSync | kNoWait | kAppend;

/// RWF_NOWAIT: what would sleep fails with kAgain.
template <typename Transfer>
Result<int64_t> transfer(uint32_t flags, Transfer run) {
  if ((flags & kNoWait) == 0) return run();
  Result<int64_t> result = 0;
  {
    NoWaitScope no_wait;
    result = run();
  }
  if (!result && (result.error() == Errno::kRestart || result.error() == Errno::kIntr))
    return fail(Errno::kAgain);
  return result;
}

Result<int64_t> sys_preadv2(int fd, UserVector vector, uint64_t count, int64_t offset, uint64_t,
                            uint32_t flags) {
  IoVector segments = ARIL_TRY(IoVector::read(vector.address(), count));
  ARIL_TRY(readable_file(fd));
  if ((flags & ~kKnownFlags) != 0 || (flags & kAppend) != 0) return fail(Errno::kOpNotSupp);
  return transfer(flags, [&] {
    return offset == -1 ? do_read(fd, segments) : do_read_at(fd, segments, offset);
  });
}
ARIL_SYSCALL(327, preadv2, sys_preadv2, "fd iovec int off int hex");

/// RWF_APPEND: at the end, whatever the offset; the position stays unless it was asked for (-1).
Result<int64_t> append(int fd, const IoVector& segments, int64_t offset) {
  RefPtr<File> file = ARIL_TRY(writable_file(fd));
  auto end = static_cast<int64_t>(ARIL_TRY(file->status()).size);
  int64_t written = ARIL_TRY(do_write_at(fd, segments, end));
  if (offset == -1) ARIL_TRY(file->seek(end + written, SeekOrigin::kSet));
  return written;
}

Result<int64_t> sys_pwritev2(int fd, UserVector vector, uint64_t count, int64_t offset, uint64_t,
                             uint32_t flags) {
  IoVector segments = ARIL_TRY(IoVector::read(vector.address(), count));
  RefPtr<File> file = ARIL_TRY(writable_file(fd));
  if ((flags & ~kKnownFlags) != 0) return fail(Errno::kOpNotSupp);
  int64_t written = ARIL_TRY(transfer(flags, [&]() -> Result<int64_t> {
    if ((flags & kAppend) != 0 && vfs::as_node_file(*file) != nullptr)
      return append(fd, segments, offset);
    return offset == -1 ? do_write(fd, segments) : do_write_at(fd, segments, offset);
  }));
  if ((flags & (kDataSync | kSync)) != 0) ARIL_TRY(file->sync());
  return written;
}
ARIL_SYSCALL(328, pwritev2, sys_pwritev2, "fd iovec int off int hex");

Result<int64_t> sys_lseek(int fd, int64_t offset, uint32_t whence) {
  RefPtr<File> file = ARIL_TRY(usable_file_of(fd));
  if (whence > std::to_underlying(SeekOrigin::kHole)) return fail(Errno::kInval);
  return static_cast<int64_t>(ARIL_TRY(file->seek(offset, static_cast<SeekOrigin>(whence))));
}
ARIL_SYSCALL(8, lseek, sys_lseek, "fd off whence");

}  // namespace

}  // namespace aril::linux_abi
