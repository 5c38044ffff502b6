#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/ref_ptr.hpp"
#include "kernel/io/file.hpp"
#include "kernel/sched/mutex.hpp"

namespace aril::linux_abi {

enum class CloseOnExec : uint8_t { kNo, kYes };

/// The descriptors of one process (or of several that share them, CLONE_FILES). Any thread. Files
/// are released with no lock held.
class FileTable final : public RefCounted {
 public:
  static constexpr int kHardLimit = 1 << 20;

  static Result<RefPtr<FileTable>> create();
  ~FileTable();
  /// For fork: the same files under the same numbers.
  Result<RefPtr<FileTable>> clone();

  /// kBadF when it is not open.
  Result<RefPtr<File>> get(int fd) const;
  /// The lowest free number >= minimum. kMFile at the RLIMIT_NOFILE soft limit.
  Result<int> install(RefPtr<File> file, CloseOnExec close_on_exec, int minimum = 0);
  /// dup2/dup3: replaces (closing) what was at `fd`. kBadF when `fd` is outside the limit.
  Result<int> install_at(int fd, RefPtr<File> file, CloseOnExec close_on_exec);
  Result<void> close(int fd);
  Result<CloseOnExec> close_on_exec(int fd) const;
  Result<void> set_close_on_exec(int fd, CloseOnExec value);
  /// execve.
  void close_all_on_exec();
  void close_all();
  /// close_range(2): closes, or marks close-on-exec, all in [first, last].
  enum class RangeAction : uint8_t { kClose, kMarkCloseOnExec };
  void close_range(uint32_t first, uint32_t last, RangeAction action);
  /// Open numbers in order, for /proc/self/fd.
  std::vector<int> open_numbers() const;

  /// How many processes use the table (CLONE_FILES): when the last one has gone, everything closes,
  /// even if somebody still looks at the table (/proc).
  void add_user() { users_.fetch_add(1, std::memory_order_relaxed); }
  void drop_user() {
    // Acquire and release: the last user sees what the others have done.
    if (users_.fetch_sub(1, std::memory_order_acq_rel) == 1) close_all();
  }
  [[nodiscard]] unsigned user_count() const { return users_.load(std::memory_order_relaxed); }

  void set_limit(int soft_limit);
  [[nodiscard]] int limit() const { return limit_; }

 private:
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  FileTable() = default;
  struct Slot {
    RefPtr<File> file;
    bool close_on_exec = false;
  };
  Result<void> grow_locked(size_t count);
  [[nodiscard]] Slot* slot_locked(int fd) const;
  [[nodiscard]] Result<RefPtr<File>> get_locked(int fd) const;
  void closed(RefPtr<File> file);

  mutable Mutex mutex_{LockRank::kFileTable};
  std::unique_ptr<Slot[]> slots_;
  size_t count_ = 0;
  size_t first_free_ = 0;  // no free slot below it
  int limit_ = 1024 * 1024;
  std::atomic<unsigned> users_{0};
};

}  // namespace aril::linux_abi
