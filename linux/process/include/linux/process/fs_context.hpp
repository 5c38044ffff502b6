#pragma once
#include <atomic>
#include <cstdint>

#include "base/ref_ptr.hpp"
#include "fs/vfs/path.hpp"
#include "kernel/sync/spin_lock.hpp"

namespace aril::linux_abi {

/// Where a process's path names start, and the mode bits that it takes from new files.
struct FsContext final : RefCounted {
  FsContext(vfs::Path root_path, vfs::Path cwd_path) : root_(root_path), cwd_(cwd_path) {}

  [[nodiscard]] vfs::Path root() const { return read(root_); }
  [[nodiscard]] vfs::Path cwd() const { return read(cwd_); }
  void set_root(vfs::Path path) { write(root_, path); }
  void set_cwd(vfs::Path path) { write(cwd_, path); }

  std::atomic<uint32_t> umask{022};

 private:
  vfs::Path read(const vfs::Path& path) const {
    LockGuard guard(lock_);
    return path;
  }
  // The old path is released by the caller's copy, after the lock: releasing may sleep.
  void write(vfs::Path& path, vfs::Path& value) {
    LockGuard guard(lock_);
    std::swap(path, value);
  }
  mutable SpinLock lock_{LockRank::kSpinLeaf};
  vfs::Path root_, cwd_;
};

}  // namespace aril::linux_abi
