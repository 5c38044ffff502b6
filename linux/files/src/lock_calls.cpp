#include <limits>

#include "base/image_use.hpp"
#include "file_calls.hpp"
#include "linux/files/record_locks.hpp"

/// flock, and fcntl's record locks.
namespace aril::linux_abi {

namespace {

using record_locks::Family;
using record_locks::Kind;
using record_locks::Range;
using record_locks::Waiting;

/// struct flock.
struct LinuxFlock {
  int16_t type;
  int16_t whence;
  int64_t start;
  int64_t length;
  int32_t pid;
};
static_assert(sizeof(LinuxFlock) == 32);

constexpr int16_t kReadLock = 0, kWriteLock = 1, kUnlock = 2;  // F_RDLCK, F_WRLCK, F_UNLCK
constexpr int kGetLk = 5, kSetLkW = 7, kOfdGetLk = 36, kOfdSetLkW = 38;

/// [fcntl(2)] l_len 0: to the end; negative: the bytes before l_start.
Result<Range> range_of(File& file, const LinuxFlock& lock) {
  int64_t base = 0;
  switch (lock.whence) {
    case 0:
      break;
    case 1:
      base = static_cast<int64_t>(ARIL_TRY(file.seek(0, SeekOrigin::kCurrent)));
      break;
    case 2:
      base = static_cast<int64_t>(ARIL_TRY(file.status()).size);
      break;
    default:
      return fail(Errno::kInval);
  }
  int64_t start, end;
  if (__builtin_add_overflow(base, lock.start, &start)) return fail(Errno::kOverflow);
  if (start < 0) return fail(Errno::kInval);
  if (lock.length == 0) return Range{static_cast<uint64_t>(start), ~uint64_t{0}};
  if (__builtin_add_overflow(start, lock.length, &end)) return fail(Errno::kOverflow);
  if (lock.length < 0) std::swap(start, end);
  if (start < 0) return fail(Errno::kInval);
  return Range{static_cast<uint64_t>(start), static_cast<uint64_t>(end)};
}

}  // namespace

ARIL_ONLY_FOR(record_locks)
Result<int64_t> fcntl_lock(int fd, int command, uint64_t argument) {
  RefPtr<File> file = ARIL_TRY(file_of(fd));
  UserPtr<LinuxFlock> pointer(argument);
  LinuxFlock lock = ARIL_TRY(pointer.read());
  if (lock.type < kReadLock || lock.type > kUnlock) return fail(Errno::kInval);
  bool by_description = command >= kOfdGetLk;
  if (by_description && lock.pid != 0) return fail(Errno::kInval);
  Range range = ARIL_TRY(range_of(*file, lock));
  const void* owner = by_description ? static_cast<const void*>(file.get()) : &files();
  int pid = by_description ? -1 : current_process().pid();
  Kind kind = lock.type == kWriteLock ? Kind::kWrite : Kind::kRead;

  if (command == kGetLk || command == kOfdGetLk) {
    if (lock.type == kUnlock) return fail(Errno::kInval);
    record_locks::Conflict conflict;
    if (!ARIL_TRY(
            record_locks::find_conflict(*file, Family::kRecord, owner, kind, range, conflict))) {
      lock.type = kUnlock;
    } else {
      lock.type = conflict.kind == Kind::kWrite ? kWriteLock : kReadLock;
      lock.whence = 0;
      lock.start = static_cast<int64_t>(conflict.range.start);
      lock.length = conflict.range.end == ~uint64_t{0}
                        ? 0
                        : static_cast<int64_t>(conflict.range.end - conflict.range.start);
      lock.pid = conflict.pid;
    }
    ARIL_TRY(pointer.write(lock));
    return 0;
  }
  if (lock.type == kUnlock) {
    ARIL_TRY(record_locks::unlock(*file, Family::kRecord, owner, range));
    return 0;
  }
  if (kind == Kind::kRead ? !file->is_readable() : !file->is_writable()) return fail(Errno::kBadF);
  bool waits = command == kSetLkW || command == kOfdSetLkW;
  ARIL_TRY(record_locks::acquire(*file, Family::kRecord, owner, pid, kind, range,
                                 waits ? Waiting::kYes : Waiting::kNo));
  // [fcntl(2)] Another thread may have closed the descriptor meanwhile, and with it this lock.
  if (!by_description) {
    auto still = file_of(fd);
    if (!still || *still != file) record_locks::release(*file, owner);
  }
  return 0;
}

namespace {

Result<void> sys_flock(int fd, int operation) {
  constexpr int kShared = 1, kExclusive = 2, kNonBlocking = 4, kRelease = 8;
  RefPtr<File> file = ARIL_TRY(usable_file_of(fd));
  int kind = operation & ~kNonBlocking;
  if (kind == kRelease) return record_locks::unlock(*file, Family::kFlock, file.get(), Range{});
  if (kind != kShared && kind != kExclusive) return fail(Errno::kInval);
  return record_locks::acquire(*file, Family::kFlock, file.get(), current_process().pid(),
                               kind == kExclusive ? Kind::kWrite : Kind::kRead, Range{},
                               (operation & kNonBlocking) != 0 ? Waiting::kNo : Waiting::kYes);
}
ARIL_SYSCALL(73, flock, sys_flock, "fd op");

}  // namespace

}  // namespace aril::linux_abi
