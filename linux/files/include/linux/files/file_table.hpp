#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "base/ref_ptr.hpp"
#include "kernel/io/file.hpp"
#include "kernel/sched/mutex.hpp"

namespace aril::linux_abi {

enum class CloseOnExec : uint8_t { kNo, kYes };

/// The descriptors of one process (or of several that share them, CLONE_FILES). Any thread.
class FileTable final : public RefCounted {
 public:
  static constexpr int kHardLimit = 1 << 20;

  static Result<RefPtr<FileTable>> create();
  /// For fork: the same files under the same numbers.
  Result<RefPtr<FileTable>> clone();

  /// kBadF when it is not open.
  Result<RefPtr<File>> get(int fd) const;
  /// The lowest free number >= minimum. kMFile at the RLIMIT_NOFILE soft limit.
  Result<int> install(RefPtr<File> file, CloseOnExec close_on_exec, int minimum = 0);
  /// dup2/dup3: replaces (closing) what was at `fd`.
  Result<int> install_at(int fd, RefPtr<File> file, CloseOnExec close_on_exec);
  Result<void> close(int fd);
  Result<CloseOnExec> close_on_exec(int fd) const;
  Result<void> set_close_on_exec(int fd, CloseOnExec value);
  /// execve.
  void close_all_on_exec();
  void close_all();
  /// Open numbers in order, for /proc/self/fd and close_range.
  std::vector<int> open_numbers() const;

  void set_limit(int soft_limit);

 private:
  template <typename T, typename... A> friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  FileTable() = default;
  struct Slot {
    RefPtr<File> file;
    bool close_on_exec = false;
  };
  mutable Mutex mutex_{LockRank::kFileTable};
  std::vector<Slot> slots_;
  size_t first_free_ = 0;
  int limit_ = 1024 * 1024;
};

}  // namespace aril::linux_abi
