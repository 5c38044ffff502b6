#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/flags.hpp"
#include "fs/vfs/file_system.hpp"
#include "fs/vfs/path.hpp"

namespace aril::vfs {

/// Values are those of mount(2)'s MS_*.
enum class MountFlags : uint32_t {
  kNone = 0,
  kReadOnly = 1,
  kNoSuid = 2,
  kNoDev = 4,
  kNoExec = 8,
  kNoAtime = 1024,
  kRelatime = 1 << 21,
};
ARIL_FLAG_OPERATORS(MountFlags);

class MountTree;

/// A file system that is made when somebody first goes there: most programs never look into /proc.
struct OnDemand {
  std::function<Result<RefPtr<FileSystem>>()> make;
  /// Then, before anybody else gets in: mounts what belongs inside. May be empty.
  std::function<void()> made;
};

/// A file system (or a part of it) made visible at a place.
class Mount final : public RefCounted {
 public:
  Mount(RefPtr<FileSystem> file_system, RefPtr<Dentry> root, std::string source, MountFlags flags);
  ~Mount();
  /// Without a file system until `prepare` has made it.
  Mount(std::unique_ptr<OnDemand> on_demand, bool (*prepare)(MountTree& tree, Mount& mount),
        std::string source, MountFlags flags);
  /// Of a mount that is in no tree: anonymous files (memfd, pipes).
  static Result<RefPtr<Mount>> create_detached(RefPtr<FileSystem> file_system);

  [[nodiscard]] FileSystem& file_system() const { return *file_system_; }
  [[nodiscard]] const RefPtr<Dentry>& root() const { return root_; }
  [[nodiscard]] const std::string& source() const { return source_; }
  [[nodiscard]] uint32_t id() const { return id_; }
  /// Where it is mounted; null for detached mounts.
  [[nodiscard]] MountTree* tree() const { return tree_.load(std::memory_order_relaxed); }
  [[nodiscard]] MountFlags flags() const { return flags_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool is_read_only() const {
    return has(flags(), MountFlags::kReadOnly) || file_system_->is_read_only();
  }

 private:
  friend class MountTree;
  // These two are written once, before prepare_ is cleared; nobody but who makes them has a
  // path into the mount earlier.
  RefPtr<FileSystem> file_system_;
  RefPtr<Dentry> root_;
  std::unique_ptr<OnDemand> on_demand_;
  /// Makes it, unless it is there already: whether one may go in. Null: one may. A function of its
  /// own only where something is mounted on demand, so that small images do without.
  using Prepare = bool(MountTree& tree, Mount& mount);
  std::atomic<Prepare*> prepare_{nullptr};
  const std::string source_;
  const uint32_t id_;
  std::atomic<MountFlags> flags_;
  std::atomic<MountTree*> tree_{nullptr};
  // Guarded by the tree's lock.
  Mount* parent_ = nullptr;
  RefPtr<Dentry> mount_point_;
  std::vector<RefPtr<Mount>> children_;
};

/// The mounts of the machine (there is one mount namespace). Made by the composition root before
/// the first program; lives for ever. Any thread.
class MountTree {
 public:
  MountTree();
  ~MountTree();

  /// Once, first: the root file system.
  Result<Path> mount_root(RefPtr<FileSystem> file_system, std::string_view source,
                          MountFlags flags);
  [[nodiscard]] Path root();
  /// Mounts on `at` (a directory, or a file for a bind of a file). kNotDir, kNoMem.
  Result<Path> mount(const Path& at, RefPtr<FileSystem> file_system, std::string_view source,
                     MountFlags flags);
  /// As mount(), with a file system that is made at the first lookup that goes there. When that
  /// fails, the place looks as if nothing were mounted, and the next lookup tries again.
  Result<void> mount_on_demand(const Path& at, OnDemand file_system, std::string_view source,
                               MountFlags flags);
  /// Makes the subtree at `what` visible at `at` too (MS_BIND).
  Result<Path> bind(const Path& at, const Path& what, MountFlags flags);
  Result<void> remount(const Path& at, MountFlags flags);
  /// `at` is the root of a mount. kInval when not, kBusy when something is mounted below.
  Result<void> unmount(const Path& at);

  /// Goes down to what is mounted on top of `path`, if anything is.
  Path cross_down(Path path);
  /// From the root of a mount to the place that it is mounted on; a null path at the very root.
  Path cross_up(const Path& path);

  /// sync(2): every mounted file system, one after the other.
  void sync_all();

  struct View {
    uint32_t id, parent_id;
    uint64_t device;
    std::string root, mount_point, type, source;
    MountFlags flags;
  };
  /// For /proc/mounts and mountinfo, in mount order, as seen under `root`.
  std::vector<View> list(const Path& root);

 private:
  Result<Path> attach(const Path& at, RefPtr<FileSystem> file_system, RefPtr<Dentry> root,
                      std::string_view source, MountFlags flags);
  Result<void> attach_mount(const Path& at, RefPtr<Mount> mount);
  Result<void> detach(const Path& at, RefPtr<Mount>& gone, RefPtr<Dentry>& mount_point);
  RefPtr<Mount> mount_on(const Path& place);
  bool is_ready(Mount& mount);
  static bool make_ready(MountTree& tree, Mount& mount);
  void make_all_ready();
  Mutex mutex_{LockRank::kMutexLeaf};
  /// Held while a file system is made on demand.
  Mutex on_demand_mutex_{LockRank::kOnDemand};
  std::atomic<Thread*> maker_{nullptr};  ///< who holds it
  RefPtr<Mount> root_;
  std::vector<Mount*> order_;
};

/// The text of ST_/MS_ flags for /proc/mounts: "rw,nosuid".
std::string mount_options(MountFlags flags);

}  // namespace aril::vfs
