#pragma once
#include <cstdint>
#include <memory>

#include "base/ref_ptr.hpp"
#include "base/result.hpp"
#include "kernel/sched/mutex.hpp"
#include "kernel/vm/user_copy.hpp"
#include "linux/process/credentials.hpp"

/// What shared memory, semaphores and message queues have in common [sysvipc(7)].
namespace aril::linux_abi::ipc {

inline constexpr int kPrivateKey = 0;
inline constexpr int kCreate = 01000, kExclusive = 02000, kNoWait = 04000;  // IPC_CREAT ...
// IPC_RMID ... IPC_INFO: the commands that all three *ctl calls know.
inline constexpr int kRemove = 0, kSet = 1, kStatus = 2, kInfo = 3;

inline constexpr uint32_t kRead = 4, kWrite = 2, kExecute = 1;

/// struct ipc64_perm.
struct LinuxPermissions {
  int32_t key;
  uint32_t uid, gid, creator_uid, creator_gid, mode;
  uint16_t sequence, padding;
  uint32_t padding2;
  uint64_t unused[2];
};
static_assert(sizeof(LinuxPermissions) == 48);

struct Permissions {
  int32_t key = kPrivateKey;
  uint32_t uid = 0, gid = 0, creator_uid = 0, creator_gid = 0;
  uint32_t mode = 0;  ///< the permission bits, and SHM_DEST, SHM_LOCKED

  /// kAcces unless the caller may do all of `wanted` (kRead | kWrite | kExecute).
  [[nodiscard]] Result<void> check(uint32_t wanted) const;
  /// kPerm unless the caller owns or made the object, or has CAP_SYS_ADMIN.
  [[nodiscard]] Result<void> check_owner() const;
  [[nodiscard]] bool is_owned_by_caller() const;
  [[nodiscard]] LinuxPermissions to_linux(int id) const;
  /// IPC_SET.
  void change(const LinuxPermissions& to);
};

/// The head of each object. `mutex` guards it and the rest of the object; a mutex of one object is
/// never held together with another's or with a table's.
struct Head {
  mutable Mutex mutex{LockRank::kMutexLeaf};
  Permissions permissions;
  int id = -1;
  /// Taken out of the table: waiters and late comers get kIdRm.
  bool removed = false;
};

/// A new object's permissions: the caller's ids and the low bits of `flags`.
Permissions permissions_of_caller(int key, int flags);
/// CLOCK_REALTIME in whole seconds, as the status structures have it.
int64_t seconds_now();
/// The caller's; 0 on a kernel thread.
int caller_pid();

template <typename T>
Result<void> write_user(uint64_t address, const T& value) {
  return UserPtr<T>(address).write(value);
}

/// The objects of one kind, each a RefCounted T with a member `Head ipc`. An id is a sequence
/// number above an index, so that an old id does not name a new object. Any thread.
template <typename T>
class Table {
 public:
  /// kInval when there is none.
  Result<RefPtr<T>> find(int id) {
    LockGuard hold(mutex_);
    RefPtr<T> object = at_locked(id < 0 ? size_ : static_cast<size_t>(id) % kMaximum);
    if (!object || object->ipc.id != id) return fail(Errno::kInval);
    return object;
  }
  /// By index, for the *_STAT commands.
  Result<RefPtr<T>> find_index(int index) {
    LockGuard hold(mutex_);
    RefPtr<T> object = at_locked(index < 0 ? size_ : static_cast<size_t>(index));
    if (!object) return fail(Errno::kInval);
    return object;
  }
  /// The first object at `index` or above, whose index it becomes; null after the last.
  RefPtr<T> next(size_t& index) {
    LockGuard hold(mutex_);
    for (; index < size_; ++index) {
      if (slots_[index].object) return slots_[index].object;
    }
    return nullptr;
  }
  /// What the *_INFO commands return: the highest index in use, 0 when there is none.
  int highest_index() {
    LockGuard hold(mutex_);
    for (size_t index = size_; index-- > 0;) {
      if (slots_[index].object) return static_cast<int>(index);
    }
    return 0;
  }
  size_t count() {
    LockGuard hold(mutex_);
    return count_;
  }

  /// The *get calls. `make` gives a new Result<RefPtr<T>>; `check` a Result<void> about an object
  /// that is there, under its mutex. kNoSpc over `limit`; kExist, kNoEnt, kAcces.
  template <typename Make, typename Check>
  Result<int> get(int key, int flags, uint64_t limit, Make make, Check check) {
    for (;;) {
      RefPtr<T> object;
      {
        LockGuard hold(mutex_);
        if (key != kPrivateKey) object = by_key_locked(key);
        if (!object) {
          if (key != kPrivateKey && (flags & kCreate) == 0) return fail(Errno::kNoEnt);
          if (count_ >= limit) return fail(Errno::kNoSpc);
          object = ARIL_TRY(make());  // destroyed without the lock when it cannot be entered
          object->ipc.permissions = permissions_of_caller(key, flags);
          return insert_locked(object);
        }
      }
      if ((flags & (kCreate | kExclusive)) == (kCreate | kExclusive)) return fail(Errno::kExist);
      LockGuard hold(object->ipc.mutex);
      if (object->ipc.removed) continue;
      ARIL_TRY(check(*object));
      uint32_t bits = static_cast<uint32_t>(flags);
      ARIL_TRY(object->ipc.permissions.check((bits >> 6 | bits >> 3 | bits) & 7));
      return object->ipc.id;
    }
  }

  /// The caller has marked it removed and holds a reference, but not its mutex.
  void remove(T& object) {
    LockGuard hold(mutex_);
    size_t index = static_cast<size_t>(object.ipc.id) % kMaximum;
    if (index >= size_ || slots_[index].object != &object) return;
    slots_[index] = {};
    --count_;
  }
  /// Its key names it no more, its id still does (shared memory that waits for its last detach).
  void forget_key(T& object) {
    LockGuard hold(mutex_);
    size_t index = static_cast<size_t>(object.ipc.id) % kMaximum;
    if (index < size_ && slots_[index].object == &object) slots_[index].key = kPrivateKey;
  }

 private:
  static constexpr size_t kMaximum = 32768;  // IPCMNI
  static constexpr int kSequences = 65536;   // ids stay positive

  struct Slot {
    RefPtr<T> object;
    int key = kPrivateKey;
  };

  RefPtr<T> at_locked(size_t index) const { return index < size_ ? slots_[index].object : nullptr; }
  RefPtr<T> by_key_locked(int key) const {
    for (size_t index = 0; index < size_; ++index) {
      if (slots_[index].object && slots_[index].key == key) return slots_[index].object;
    }
    return nullptr;
  }

  Result<int> insert_locked(const RefPtr<T>& object) {
    if (count_ >= kMaximum) return fail(Errno::kNoSpc);
    if (count_ == size_) ARIL_TRY(grow_locked());
    // Indexes go round, so that a freed one is used again as late as can be.
    size_t index = next_;
    while (index < size_ && slots_[index].object) ++index;
    if (index >= size_) {
      sequence_ = (sequence_ + 1) % kSequences;
      index = 0;
      while (slots_[index].object) ++index;
    }
    next_ = index + 1;
    object->ipc.id = sequence_ * static_cast<int>(kMaximum) + static_cast<int>(index);
    slots_[index] = {object, object->ipc.permissions.key};
    ++count_;
    return object->ipc.id;
  }

  Result<void> grow_locked() {
    size_t size = size_ == 0 ? 16 : size_ * 2;
    std::unique_ptr<Slot[]> slots(new (std::nothrow) Slot[size]);
    if (!slots) return fail(Errno::kNoMem);
    for (size_t index = 0; index < size_; ++index) slots[index] = std::move(slots_[index]);
    slots_ = std::move(slots);
    size_ = size;
    return {};
  }

  Mutex mutex_{LockRank::kMutexLeaf};
  std::unique_ptr<Slot[]> slots_;
  size_t size_ = 0, count_ = 0, next_ = 0;
  int sequence_ = 0;
};

}  // namespace aril::linux_abi::ipc
