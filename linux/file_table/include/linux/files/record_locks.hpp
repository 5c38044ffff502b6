#pragma once
#include <cstdint>

#include "base/time.hpp"
#include "kernel/io/file.hpp"

/// Advisory locks on files: fcntl's record locks, owned by a process (its FileTable) or by an open
/// file description (OFD, owner = the File), and flock's whole-file locks, owned by the
/// description. [fcntl(2)], [flock(2)]. Files are told apart by device and inode. Any thread.
namespace aril::linux_abi::record_locks {

enum class Kind : uint8_t { kRead, kWrite };
/// flock and fcntl locks do not see each other.
enum class Family : uint8_t { kRecord, kFlock };

/// [start, end), end = ~0 for "to the end of the file".
struct Range {
  uint64_t start = 0;
  uint64_t end = ~uint64_t{0};
};

struct Conflict {
  Kind kind;
  Range range;
  const void* owner;
  int pid;
};

enum class Waiting : uint8_t { kNo, kYes };

/// Sets or replaces `owner`'s lock on the range, splitting and merging its own. kAgain on conflict
/// with kNo; kRestart when a signal ends the wait; kNoMem. `pid` is shown by F_GETLK (-1 for OFD).
/// kDeadLk when a process would wait for itself through the locks that others wait for.
Result<void> acquire(File& file, Family family, const void* owner, int pid, Kind kind, Range range,
                     Waiting waiting);
/// Gives up `owner`'s locks within the range.
Result<void> unlock(File& file, Family family, const void* owner, Range range);
/// The first lock that would stand in the way; false when none does.
Result<bool> find_conflict(File& file, Family family, const void* owner, Kind kind, Range range,
                           Conflict& conflict);
/// At close: gives up all of `owner`'s locks on the file. Cheap while nobody holds locks.
void release(File& file, const void* owner);

}  // namespace aril::linux_abi::record_locks
