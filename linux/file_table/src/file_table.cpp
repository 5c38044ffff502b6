#include "linux/files/file_table.hpp"

#include <algorithm>

#include "base/image_use.hpp"
#include "linux/files/record_locks.hpp"

namespace aril::linux_abi {

namespace {
constexpr size_t kInitialSlots = 64;
}  // namespace

Result<RefPtr<FileTable>> FileTable::create() {
  auto table = ARIL_TRY(try_make_ref<FileTable>());
  {
    LockGuard guard(table->mutex_);
    ARIL_TRY(table->grow_locked(kInitialSlots));
  }
  return table;
}

FileTable::~FileTable() { close_all(); }

Result<RefPtr<FileTable>> FileTable::clone() {
  auto copy = ARIL_TRY(try_make_ref<FileTable>());
  LockGuard guard(mutex_);
  auto slots = std::unique_ptr<Slot[]>(new (std::nothrow) Slot[count_]);
  if (slots == nullptr) return fail(Errno::kNoMem);
  std::copy_n(slots_.get(), count_, slots.get());
  copy->slots_ = std::move(slots);
  copy->count_ = count_;
  copy->first_free_ = first_free_;
  copy->limit_ = limit_;
  return copy;
}

Result<void> FileTable::grow_locked(size_t count) {
  if (count <= count_) return {};
  size_t size = std::max({count, count_ * 2, kInitialSlots});
  auto slots = std::unique_ptr<Slot[]>(new (std::nothrow) Slot[size]);
  if (slots == nullptr) return fail(Errno::kNoMem);
  std::move(slots_.get(), slots_.get() + count_, slots.get());
  slots_ = std::move(slots);
  count_ = size;
  return {};
}

FileTable::Slot* FileTable::slot_locked(int fd) const {
  if (fd < 0 || static_cast<size_t>(fd) >= count_) return nullptr;
  Slot* slot = &slots_[static_cast<size_t>(fd)];
  return slot->file ? slot : nullptr;
}

Result<RefPtr<File>> FileTable::get_locked(int fd) const {
  const Slot* slot = slot_locked(fd);
  if (slot == nullptr) return fail(Errno::kBadF);
  return slot->file;
}

Result<RefPtr<File>> FileTable::get(int fd) const {
  // Nobody sleeps in the middle of a change, and the kernel is not preempted: where there is one
  // CPU, the table is whole whoever holds the lock. Nearly every system call comes here.
  if (arch::cpu_count() == 1) return get_locked(fd);
  LockGuard guard(mutex_);
  return get_locked(fd);
}

Result<int> FileTable::install(RefPtr<File> file, CloseOnExec close_on_exec, int minimum) {
  if (minimum < 0) return fail(Errno::kInval);
  LockGuard guard(mutex_);
  auto from = std::max(static_cast<size_t>(minimum), first_free_);
  size_t index = from;
  while (index < count_ && slots_[index].file) ++index;
  if (index >= static_cast<size_t>(limit_)) return fail(Errno::kMFile);
  ARIL_TRY(grow_locked(index + 1));
  slots_[index] = {std::move(file), close_on_exec == CloseOnExec::kYes};
  if (from == first_free_) first_free_ = index + 1;
  return static_cast<int>(index);
}

Result<int> FileTable::install_at(int fd, RefPtr<File> file, CloseOnExec close_on_exec) {
  RefPtr<File> replaced;
  {
    LockGuard guard(mutex_);
    if (fd < 0 || fd >= limit_) return fail(Errno::kBadF);
    ARIL_TRY(grow_locked(static_cast<size_t>(fd) + 1));
    Slot& slot = slots_[static_cast<size_t>(fd)];
    replaced = std::move(slot.file);
    slot = {std::move(file), close_on_exec == CloseOnExec::kYes};
  }
  closed(std::move(replaced));
  return fd;
}

Result<void> FileTable::close(int fd) {
  RefPtr<File> file;
  {
    LockGuard guard(mutex_);
    Slot* slot = slot_locked(fd);
    if (slot == nullptr) return fail(Errno::kBadF);
    file = std::move(slot->file);
    first_free_ = std::min(first_free_, static_cast<size_t>(fd));
  }
  closed(std::move(file));
  return {};
}

/// What each close of a descriptor brings, whether or not the description lives on [fcntl(2)].
void FileTable::closed(RefPtr<File> file) {
  if (!file) return;
  if (ARIL_HAS_USE(record_locks)) record_locks::release(*file, this);
  file->flush();
}

Result<CloseOnExec> FileTable::close_on_exec(int fd) const {
  LockGuard guard(mutex_);
  const Slot* slot = slot_locked(fd);
  if (slot == nullptr) return fail(Errno::kBadF);
  return slot->close_on_exec ? CloseOnExec::kYes : CloseOnExec::kNo;
}

Result<void> FileTable::set_close_on_exec(int fd, CloseOnExec value) {
  LockGuard guard(mutex_);
  Slot* slot = slot_locked(fd);
  if (slot == nullptr) return fail(Errno::kBadF);
  slot->close_on_exec = value == CloseOnExec::kYes;
  return {};
}

void FileTable::close_range(uint32_t first, uint32_t last, RangeAction action) {
  for (uint32_t fd = first; fd <= last; ++fd) {
    RefPtr<File> file;
    {
      LockGuard guard(mutex_);
      if (fd >= count_) return;
      Slot& slot = slots_[fd];
      if (!slot.file) continue;
      if (action == RangeAction::kMarkCloseOnExec) {
        slot.close_on_exec = true;
        continue;
      }
      file = std::move(slot.file);
      first_free_ = std::min<size_t>(first_free_, fd);
    }
    closed(std::move(file));
  }
}

ARIL_ONLY_FOR(execve)
void FileTable::close_all_on_exec() {
  for (size_t fd = 0;; ++fd) {
    RefPtr<File> file;
    {
      LockGuard guard(mutex_);
      if (fd >= count_) return;
      Slot& slot = slots_[fd];
      if (!slot.file || !slot.close_on_exec) continue;
      file = std::move(slot.file);
      slot.close_on_exec = false;
      first_free_ = std::min(first_free_, fd);
    }
    closed(std::move(file));
  }
}

void FileTable::close_all() { close_range(0, ~0u - 1, RangeAction::kClose); }

std::vector<int> FileTable::open_numbers() const {
  std::vector<int> numbers;
  LockGuard guard(mutex_);
  for (size_t index = 0; index < count_; ++index) {
    if (slots_[index].file) numbers.push_back(static_cast<int>(index));
  }
  return numbers;
}

void FileTable::set_limit(int soft_limit) {
  LockGuard guard(mutex_);
  limit_ = std::clamp(soft_limit, 0, kHardLimit);
}

}  // namespace aril::linux_abi
