#pragma once
#include <memory>
#include <span>

#include "base/intrusive_list.hpp"
#include "ipc_object.hpp"
#include "kernel/sched/wait_queue.hpp"
#include "linux/process/process.hpp"

namespace aril::linux_abi::ipc {

/// struct sembuf.
struct SemaphoreOperation {
  uint16_t number;
  int16_t delta;
  int16_t flags;
};
static_assert(sizeof(SemaphoreOperation) == 6);

class UndoList;

/// What one process's operations with SEM_UNDO on one set are to be taken back by.
struct Undo {
  ListNode node;
  const UndoList* owner = nullptr;
  std::unique_ptr<int16_t[]> adjustments;
};

/// A set of semaphores [semop(2)]. Operations that cannot be done yet wait in the set, and whoever
/// changes a value does for them what has become possible, in the order in which they came.
class SemaphoreSet final : public RefCounted {
 public:
  /// kNoMem.
  static Result<RefPtr<SemaphoreSet>> create(size_t count);
  ~SemaphoreSet();

  struct Value {
    int16_t value = 0;
    int last_pid = 0;
  };

  [[nodiscard]] size_t count() const { return count_; }
  /// semop: all of the operations or none. `undo` is null when none has SEM_UNDO. kAgain (also at
  /// the deadline), kIntr, kIdRm, kRange, kFBig, kAcces.
  Result<void> operate(std::span<const SemaphoreOperation> operations, UndoList* undo,
                       Instant deadline);
  /// Makes room for the owner's adjustments; before operate(). kNoMem.
  Result<void> prepare_undo(const UndoList& owner);
  /// The owner has ended: its adjustments are applied.
  void apply_undo(const UndoList& owner, int pid);

  // Under ipc.mutex.
  Value& value_locked(size_t number) { return values_[number]; }
  /// SETVAL, SETALL: sets it, and forgets what anyone would take back.
  void set_locked(size_t number, int16_t value);
  /// Lets those go on that can, after values changed.
  void resume_waiters_locked();
  enum class Wanted : uint8_t { kIncrease, kZero };
  /// GETNCNT, GETZCNT: who waits for the semaphore.
  [[nodiscard]] int waiter_count_locked(size_t number, Wanted wanted);

  /// IPC_RMID: waiters fail with kIdRm. kPerm.
  Result<void> remove();

  Head ipc;
  int64_t operated_at = 0, changed_at = 0;  ///< under ipc.mutex

 private:
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  SemaphoreSet(std::unique_ptr<Value[]> values, size_t count)
      : values_(std::move(values)), count_(count) {}

  struct Waiter {
    ListNode node;
    std::span<const SemaphoreOperation> operations;
    Undo* undo = nullptr;
    int pid = 0;
    size_t blocking = 0;  // the operation that cannot be done
    Result<void> result;
    std::atomic<bool> done{false};
    WaitQueue queue;
  };
  enum class Attempt : uint8_t { kDone, kMustWait };
  Result<Attempt> attempt_locked(std::span<const SemaphoreOperation> operations, Undo* undo,
                                 int pid, size_t& blocking);
  Result<void> check_locked(std::span<const SemaphoreOperation> operations) const;
  void finish_locked(Waiter& waiter, Result<void> result);
  Undo* find_undo_locked(const UndoList& owner);

  std::unique_ptr<Value[]> values_;
  const size_t count_;
  IntrusiveList<Waiter, &Waiter::node> waiters_;
  IntrusiveList<Undo, &Undo::node> undos_;
};

Table<SemaphoreSet>& semaphore_sets();
/// In all sets together.
uint64_t semaphores_in_use();

/// The sets that a process has used with SEM_UNDO. Made at the first such operation; a forked child
/// begins without one, execve keeps it [semop(2)]. Its end applies the adjustments.
class UndoList final : public ProcessResource {
 public:
  explicit UndoList(int pid) : pid_(pid) {}
  ~UndoList() override;
  /// Remembers the set and makes room in it. kNoMem.
  Result<void> add(const RefPtr<SemaphoreSet>& set);

 private:
  struct Use {
    ListNode node;
    RefPtr<SemaphoreSet> set;
  };
  const int pid_;
  IntrusiveList<Use, &Use::node> uses_;  // under the process's mutex()
};

}  // namespace aril::linux_abi::ipc
