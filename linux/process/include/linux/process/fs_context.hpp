#pragma once
#include <atomic>
#include <cstdint>
#include <utility>

#include "base/ref_ptr.hpp"
#include "fs/vfs/lookup.hpp"
#include "fs/vfs/path.hpp"
#include "kernel/sync/spin_lock.hpp"
#include "linux/process/credentials.hpp"

namespace aril::linux_abi {

/// Where a process's path names start, and the mode bits that it takes from new files.
/// Thread-safe.
class FsContext final : public RefCounted {
 public:
  FsContext(vfs::MountTree& tree, vfs::Path root_path, vfs::Path cwd_path)
      : tree_(tree), root_(std::move(root_path)), cwd_(std::move(cwd_path)) {}

  /// For fork: the same paths and mask. kNoMem.
  [[nodiscard]] Result<RefPtr<FsContext>> clone() const {
    RefPtr<FsContext> copy_of_this = ARIL_TRY(try_make_ref<FsContext>(tree_, root(), cwd()));
    copy_of_this->umask.store(umask.load(std::memory_order_relaxed), std::memory_order_relaxed);
    return copy_of_this;
  }

  [[nodiscard]] vfs::MountTree& mounts() const { return tree_; }
  [[nodiscard]] vfs::Path root() const { return copy(root_); }
  [[nodiscard]] vfs::Path cwd() const { return copy(cwd_); }
  void set_root(vfs::Path path) { replace(root_, path); }
  void set_cwd(vfs::Path path) { replace(cwd_, path); }

  std::atomic<uint32_t> umask{022};

 private:
  vfs::Path copy(const vfs::Path& path) const {
    LockGuard guard(lock_);
    return path;
  }
  // The caller's `value` takes the old path away and releases it after the lock: that may sleep.
  void replace(vfs::Path& path, vfs::Path& value) {
    LockGuard guard(lock_);
    std::swap(path, value);
  }
  vfs::MountTree& tree_;
  mutable SpinLock lock_{LockRank::kTaskList};
  vfs::Path root_, cwd_;
};

/// How the running task walks paths. The result refers to the task's credentials: use it within
/// the call.
vfs::LookupContext caller_lookup_context();
/// Whom the file system sees for these credentials.
vfs::Identity file_system_identity(const Credentials& credentials);

}  // namespace aril::linux_abi
