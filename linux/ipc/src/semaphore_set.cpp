#include "semaphore_set.hpp"

#include <algorithm>

#include "base/unique.hpp"
#include "limits.hpp"

namespace aril::linux_abi::ipc {
namespace {

constexpr int16_t kUndoFlag = 0x1000;  // SEM_UNDO

[[clang::no_destroy]] constinit Table<SemaphoreSet> table;
constinit std::atomic<uint64_t> in_use{0};

}  // namespace

Table<SemaphoreSet>& semaphore_sets() { return table; }
uint64_t semaphores_in_use() { return in_use.load(std::memory_order_relaxed); }

Result<RefPtr<SemaphoreSet>> SemaphoreSet::create(size_t count) {
  std::unique_ptr<Value[]> values(new (std::nothrow) Value[count]);
  if (!values) return fail(Errno::kNoMem);
  RefPtr<SemaphoreSet> set = ARIL_TRY(try_make_ref<SemaphoreSet>(std::move(values), count));
  set->changed_at = seconds_now();
  in_use.fetch_add(count, std::memory_order_relaxed);
  return set;
}

SemaphoreSet::~SemaphoreSet() {
  while (Undo* undo = undos_.pop_front()) delete undo;
  in_use.fetch_sub(count_, std::memory_order_relaxed);
}

/// Does all operations in order, or none: then `blocking` is the first that has to wait.
Result<SemaphoreSet::Attempt> SemaphoreSet::attempt_locked(
    std::span<const SemaphoreOperation> operations, Undo* undo, int pid, size_t& blocking) {
  Result<Attempt> outcome = Attempt::kDone;
  size_t done = 0;
  for (; done < operations.size(); ++done) {
    const SemaphoreOperation& operation = operations[done];
    Value& semaphore = values_[operation.number];
    int result = semaphore.value + operation.delta;
    if (result < 0 || (operation.delta == 0 && semaphore.value != 0)) {
      blocking = done;
      outcome = Attempt::kMustWait;
      if ((operation.flags & kNoWait) != 0) outcome = fail(Errno::kAgain);
      break;
    }
    if (result > kSemaphoreMaximum) {
      outcome = fail(Errno::kRange);
      break;
    }
    if ((operation.flags & kUndoFlag) != 0) {
      int adjustment = undo->adjustments[operation.number] - operation.delta;
      if (adjustment < -kSemaphoreMaximum - 1 || adjustment > kSemaphoreMaximum) {
        outcome = fail(Errno::kRange);
        break;
      }
      undo->adjustments[operation.number] = static_cast<int16_t>(adjustment);
    }
    semaphore.value = static_cast<int16_t>(result);
  }
  if (outcome && *outcome == Attempt::kDone) {
    for (const SemaphoreOperation& operation : operations) values_[operation.number].last_pid = pid;
    operated_at = seconds_now();
    return outcome;
  }
  while (done-- > 0) {
    const SemaphoreOperation& operation = operations[done];
    values_[operation.number].value =
        static_cast<int16_t>(values_[operation.number].value - operation.delta);
    if ((operation.flags & kUndoFlag) != 0)
      undo->adjustments[operation.number] =
          static_cast<int16_t>(undo->adjustments[operation.number] + operation.delta);
  }
  return outcome;
}

Result<void> SemaphoreSet::check_locked(std::span<const SemaphoreOperation> operations) const {
  bool alters = false;
  for (const SemaphoreOperation& operation : operations) {
    if (operation.number >= count_) return fail(Errno::kFBig);
    alters |= operation.delta != 0;
  }
  ARIL_TRY(ipc.permissions.check(alters ? kWrite : kRead));
  if (ipc.removed) return fail(Errno::kIdRm);
  return {};
}

Result<void> SemaphoreSet::operate(std::span<const SemaphoreOperation> operations,
                                   UndoList* undo_list, Instant deadline) {
  Waiter waiter;
  waiter.operations = operations;
  waiter.pid = caller_pid();
  {
    LockGuard hold(ipc.mutex);
    ARIL_TRY(check_locked(operations));
    if (undo_list != nullptr) {
      waiter.undo = find_undo_locked(*undo_list);
      if (waiter.undo == nullptr) return fail(Errno::kIdRm);
    }
    Attempt outcome =
        ARIL_TRY(attempt_locked(operations, waiter.undo, waiter.pid, waiter.blocking));
    if (outcome == Attempt::kDone) {
      resume_waiters_locked();
      return {};
    }
    waiters_.push_back(waiter);
  }
  // Acquire: the result was written before.
  Result<void> waited = waiter.queue.wait_until(
      [&] { return waiter.done.load(std::memory_order_acquire); }, deadline);
  // Also waits until whoever finished it lets go of it.
  LockGuard hold(ipc.mutex);
  if (waiter.done.load(std::memory_order_relaxed)) return waiter.result;
  waiters_.remove(waiter);
  // [signal(7)] semop is not restarted, whatever SA_RESTART says.
  return fail(waited.error() == Errno::kTimedOut ? Errno::kAgain : Errno::kIntr);
}

void SemaphoreSet::finish_locked(Waiter& waiter, Result<void> result) {
  waiters_.remove(waiter);
  waiter.result = result;
  waiter.done.store(true, std::memory_order_release);  // publishes the result
  waiter.queue.wake_all();
}

void SemaphoreSet::resume_waiters_locked() {
  for (auto it = waiters_.begin(); it != waiters_.end();) {
    Waiter& waiter = *it;
    ++it;
    auto outcome = attempt_locked(waiter.operations, waiter.undo, waiter.pid, waiter.blocking);
    if (outcome && *outcome == Attempt::kMustWait) continue;
    bool done = outcome.has_value();
    finish_locked(waiter, done ? Result<void>() : fail(outcome.error()));
    // It may have made possible what an earlier one waits for.
    if (done) it = waiters_.begin();
  }
}

void SemaphoreSet::set_locked(size_t number, int16_t value) {
  for (Undo& undo : undos_) undo.adjustments[number] = 0;
  values_[number] = {value, caller_pid()};
}

int SemaphoreSet::waiter_count_locked(size_t number, Wanted wanted) {
  int count = 0;
  for (Waiter& waiter : waiters_) {
    const SemaphoreOperation& operation = waiter.operations[waiter.blocking];
    count += operation.number == number && (operation.delta == 0) == (wanted == Wanted::kZero);
  }
  return count;
}

Result<void> SemaphoreSet::remove() {
  {
    LockGuard hold(ipc.mutex);
    ARIL_TRY(ipc.permissions.check_owner());
    if (ipc.removed) return fail(Errno::kIdRm);
    ipc.removed = true;
    while (Waiter* waiter = waiters_.front()) finish_locked(*waiter, fail(Errno::kIdRm));
    while (Undo* undo = undos_.pop_front()) delete undo;
  }
  table.remove(*this);
  return {};
}

Undo* SemaphoreSet::find_undo_locked(const UndoList& owner) {
  for (Undo& undo : undos_) {
    if (undo.owner == &owner) return &undo;
  }
  return nullptr;
}

Result<void> SemaphoreSet::prepare_undo(const UndoList& owner) {
  std::unique_ptr<Undo> undo = ARIL_TRY(try_make_unique<Undo>());
  undo->adjustments.reset(new (std::nothrow) int16_t[count_]());
  if (!undo->adjustments) return fail(Errno::kNoMem);
  undo->owner = &owner;
  LockGuard hold(ipc.mutex);
  if (ipc.removed) return fail(Errno::kIdRm);
  undos_.push_back(*undo.release());
  return {};
}

void SemaphoreSet::apply_undo(const UndoList& owner, int pid) {
  LockGuard hold(ipc.mutex);
  Undo* undo = find_undo_locked(owner);
  if (undo == nullptr) return;  // the set was removed
  undos_.remove(*undo);
  for (size_t number = 0; number < count_; ++number) {
    if (undo->adjustments[number] == 0) continue;
    int value = values_[number].value + undo->adjustments[number];
    values_[number] = {static_cast<int16_t>(std::clamp(value, 0, kSemaphoreMaximum)), pid};
  }
  delete undo;
  operated_at = seconds_now();
  resume_waiters_locked();
}

UndoList::~UndoList() {
  while (Use* use = uses_.pop_front()) {
    use->set->apply_undo(*this, pid_);
    delete use;
  }
}

Result<void> UndoList::add(const RefPtr<SemaphoreSet>& set) {
  for (auto it = uses_.begin(); it != uses_.end();) {
    Use& use = *it;
    ++it;
    if (use.set == set) return {};
    bool removed;
    {
      LockGuard hold(use.set->ipc.mutex);
      removed = use.set->ipc.removed;
    }
    if (!removed) continue;
    uses_.remove(use);
    delete &use;
  }
  std::unique_ptr<Use> use = ARIL_TRY(try_make_unique<Use>());
  use->set = set;
  ARIL_TRY(set->prepare_undo(*this));
  uses_.push_back(*use.release());
  return {};
}

}  // namespace aril::linux_abi::ipc
