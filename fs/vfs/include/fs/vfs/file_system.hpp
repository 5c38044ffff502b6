#pragma once
#include <cstdint>
#include <string_view>

#include "base/ref_ptr.hpp"
#include "base/result.hpp"
#include "fs/vfs/dentry.hpp"
#include "kernel/sched/mutex.hpp"

namespace aril::vfs {

/// As statfs(2) needs it.
struct FileSystemStatus {
  uint64_t magic = 0;
  uint64_t block_size = 4096;
  uint64_t blocks = 0, blocks_free = 0;
  uint64_t files = 0, files_free = 0;
  uint64_t name_limit = 255;
  uint64_t id = 0;
  uint64_t mount_flags = 0;  ///< ST_*; filled in from the mount
};

/// One instance of a file system, mounted any number of times. It outlives its inodes: each mount
/// and each inode user holds it through Path. Inodes refer to it without counting.
class FileSystem : public RefCounted {
 public:
  FileSystem();
  virtual ~FileSystem();

  [[nodiscard]] virtual std::string_view type_name() const = 0;  ///< "tmpfs"
  virtual FileSystemStatus status() = 0;
  virtual Result<void> sync() { return {}; }
  [[nodiscard]] virtual bool is_read_only() const { return false; }

  /// Others than this machine change its names: a cached one is asked about before it is used
  /// (Inode::is_still), and the absence of a name is not cached.
  [[nodiscard]] bool revalidates_names() const { return revalidates_names_; }
  /// st_dev: unique to this instance.
  [[nodiscard]] uint64_t device() const { return device_; }
  /// The root directory's dentry.
  [[nodiscard]] const RefPtr<Dentry>& root() const { return root_; }
  [[nodiscard]] DentryCache& dentries() { return dentries_; }
  /// Serialises operations on names; see Inode.
  Mutex& namespace_mutex() { return namespace_mutex_; }

 protected:
  /// Once, by the derived class's create().
  Result<void> set_root(RefPtr<Inode> inode);
  /// First thing in the derived class's destructor: drops all inodes while the class still stands.
  void drop_inodes();
  /// By the derived class's constructor.
  bool revalidates_names_ = false;

 private:
  const uint64_t device_;
  Mutex namespace_mutex_{LockRank::kFileSystem};
  DentryCache dentries_;
  RefPtr<Dentry> root_;
};

}  // namespace aril::vfs
