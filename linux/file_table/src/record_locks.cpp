#include "linux/files/record_locks.hpp"

#include <memory>

#include "base/image_use.hpp"
#include "base/unique.hpp"
#include "kernel/sched/mutex.hpp"

namespace aril::linux_abi::record_locks {

namespace {

struct Lock {
  ListNode node;
  uint64_t device, inode;
  const void* owner;
  Range range;
  int pid;
  Family family;
  Kind kind;
};

using LockList = IntrusiveList<Lock, &Lock::node>;

struct Identity {
  uint64_t device, inode;
};

/// Someone who waits for a lock, on his own stack.
struct Waiter {
  ListNode node;
  Identity id;
  Family family;
  const void* owner;
  Kind kind;
  Range range;
};
using WaiterList = IntrusiveList<Waiter, &Waiter::node>;

/// All locks of all files: programs hold few. The mutex ranks as a leaf.
struct Table {
  Mutex mutex{LockRank::kMutexLeaf};
  LockList locks;
  WaiterList waiters;
  WaitQueue released;
  std::atomic<uint64_t> changes{0};
  std::atomic<size_t> count{0};
};
[[clang::no_destroy]] constinit Table g_table;

Result<Identity> identity(File& file) {
  FileStatus status = ARIL_TRY(file.status());
  return Identity{status.device, status.inode};
}

bool overlaps(Range a, Range b) { return a.start < b.end && b.start < a.end; }

bool same_file(const Lock& lock, Identity id, Family family) {
  return lock.device == id.device && lock.inode == id.inode && lock.family == family;
}

const Lock* conflict_locked(Identity id, Family family, const void* owner, Kind kind, Range range) {
  for (Lock& lock : g_table.locks) {
    if (same_file(lock, id, family) && lock.owner != owner && overlaps(lock.range, range) &&
        (kind == Kind::kWrite || lock.kind == Kind::kWrite))
      return &lock;
  }
  return nullptr;
}

/// [fcntl(2)] EDEADLK: whether the owner of `blocker` waits, directly or through others, for
/// `owner`. As on Linux only owners that are processes are looked at, and chains of some length
/// only.
bool would_deadlock_locked(const void* owner, const Lock* blocker) {
  constexpr int kLongestChain = 10;
  for (int step = 0; step < kLongestChain && blocker != nullptr; ++step) {
    const Waiter* waiting = nullptr;
    for (Waiter& waiter : g_table.waiters) {
      if (waiter.owner == blocker->owner) waiting = &waiter;
    }
    if (waiting == nullptr) return false;
    blocker = conflict_locked(waiting->id, waiting->family, waiting->owner, waiting->kind,
                              waiting->range);
    if (blocker != nullptr && blocker->owner == owner) return true;
  }
  return false;
}

void insert_locked(std::unique_ptr<Lock> lock) {
  g_table.locks.push_back(*lock.release());
  g_table.count.fetch_add(1, std::memory_order_relaxed);
}

void erase_locked(Lock& lock) {
  lock.node.unlink();
  g_table.count.fetch_sub(1, std::memory_order_relaxed);
  delete &lock;
}

/// Cuts `range` out of the owner's locks; `spare` becomes the right half when one lock is split.
void cut_locked(Identity id, Family family, const void* owner, Range range,
                std::unique_ptr<Lock>& spare) {
  for (auto it = g_table.locks.begin(); it != g_table.locks.end();) {
    Lock& lock = *it;
    ++it;
    if (!same_file(lock, id, family) || lock.owner != owner || !overlaps(lock.range, range))
      continue;
    bool left = lock.range.start < range.start;
    bool right = lock.range.end > range.end;
    if (left && right) {
      spare->device = id.device;
      spare->inode = id.inode;
      spare->owner = owner;
      spare->family = family;
      spare->kind = lock.kind;
      spare->pid = lock.pid;
      spare->range = {range.end, lock.range.end};
      lock.range.end = range.start;
      insert_locked(std::move(spare));
      return;  // own locks do not overlap: no other can meet the range
    }
    if (left) {
      lock.range.end = range.start;
    } else if (right) {
      lock.range.start = range.end;
    } else {
      erase_locked(lock);
    }
  }
}

/// Joins the new lock with the owner's neighbours of the same kind.
void merge_locked(Lock& added) {
  for (auto it = g_table.locks.begin(); it != g_table.locks.end();) {
    Lock& lock = *it;
    ++it;
    if (&lock == &added || lock.owner != added.owner || lock.kind != added.kind ||
        !same_file(lock, {added.device, added.inode}, added.family))
      continue;
    if (lock.range.end == added.range.start) {
      added.range.start = lock.range.start;
      erase_locked(lock);
    } else if (lock.range.start == added.range.end) {
      added.range.end = lock.range.end;
      erase_locked(lock);
    }
  }
}

/// Gives up the locks that a description owns (OFD, flock) at its last close.
class LastCloseRelease final : public FileWatchers {
 public:
  void file_released(File& file) override {
    release(file, &file);
    delete this;
  }
};

Result<void> release_at_last_close(File& file) {
  if (file.watchers() != nullptr) return {};
  // An epoll registration would take the same place, but only what is not a regular file or a
  // directory can have one, and there is nothing to lock on a pipe or socket.
  if (file.is_pollable()) return fail(Errno::kInval);
  file.set_watchers(ARIL_TRY(try_make_unique<LastCloseRelease>()).release());
  return {};
}

void announce() {
  g_table.changes.fetch_add(1, std::memory_order_relaxed);
  g_table.released.wake_all();
}

}  // namespace

Result<void> acquire(File& file, Family family, const void* owner, int pid, Kind kind, Range range,
                     Waiting waiting) {
  Identity id = ARIL_TRY(identity(file));
  if (owner == &file) {
    LockGuard guard(g_table.mutex);
    ARIL_TRY(release_at_last_close(file));
  }
  auto added = ARIL_TRY(try_make_unique<Lock>());
  auto spare = ARIL_TRY(try_make_unique<Lock>());
  added->device = id.device;
  added->inode = id.inode;
  added->owner = owner;
  added->range = range;
  added->pid = pid;
  added->family = family;
  added->kind = kind;
  bool owned_by_process = family == Family::kRecord && owner != &file;
  Waiter waiter{{}, id, family, owner, kind, range};
  for (;;) {
    uint64_t seen;
    {
      LockGuard guard(g_table.mutex);
      const Lock* conflict = conflict_locked(id, family, owner, kind, range);
      if (conflict == nullptr) {
        cut_locked(id, family, owner, range, spare);
        Lock& lock = *added;
        insert_locked(std::move(added));
        merge_locked(lock);
        break;
      }
      if (waiting == Waiting::kNo) return fail(Errno::kAgain);
      if (owned_by_process) {
        if (would_deadlock_locked(owner, conflict)) return fail(Errno::kDeadLk);
        g_table.waiters.push_back(waiter);
      }
      seen = g_table.changes.load(std::memory_order_relaxed);
    }
    Result<void> waited = g_table.released.wait_until(
        [&] { return g_table.changes.load(std::memory_order_relaxed) != seen; });
    if (owned_by_process) {
      LockGuard guard(g_table.mutex);
      g_table.waiters.remove(waiter);
    }
    ARIL_TRY(waited);
  }
  announce();  // a write lock may have become a read lock
  return {};
}

Result<void> unlock(File& file, Family family, const void* owner, Range range) {
  if (g_table.count.load(std::memory_order_relaxed) == 0) return {};
  Identity id = ARIL_TRY(identity(file));
  auto spare = ARIL_TRY(try_make_unique<Lock>());
  {
    LockGuard guard(g_table.mutex);
    cut_locked(id, family, owner, range, spare);
  }
  announce();
  return {};
}

Result<bool> find_conflict(File& file, Family family, const void* owner, Kind kind, Range range,
                           Conflict& conflict) {
  Identity id = ARIL_TRY(identity(file));
  LockGuard guard(g_table.mutex);
  const Lock* lock = conflict_locked(id, family, owner, kind, range);
  if (lock == nullptr) return false;
  conflict = {lock->kind, lock->range, lock->owner, lock->pid};
  return true;
}

ARIL_ONLY_FOR(record_locks)
void release(File& file, const void* owner) {
  if (g_table.count.load(std::memory_order_relaxed) == 0) return;
  // An OFD or flock lock belongs to the description: it goes at its last close only.
  Result<Identity> id = identity(file);
  if (!id) return;
  bool any = false;
  {
    LockGuard guard(g_table.mutex);
    for (auto it = g_table.locks.begin(); it != g_table.locks.end();) {
      Lock& lock = *it;
      ++it;
      if (lock.owner == owner && lock.device == id->device && lock.inode == id->inode) {
        erase_locked(lock);
        any = true;
      }
    }
  }
  if (any) announce();
}

}  // namespace aril::linux_abi::record_locks
