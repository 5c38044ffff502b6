#include "fs/vfs/mount.hpp"

#include <algorithm>
#include <atomic>
#include <new>

#include "arch/cpu.hpp"
#include "base/unique.hpp"
#include "fs/vfs/lookup.hpp"
#include "fs/vfs/watch.hpp"
#include "kernel/log/log.hpp"

namespace aril::vfs {
namespace {

constinit std::atomic<uint32_t> next_mount_id{1};

}  // namespace

Mount::Mount(RefPtr<FileSystem> file_system, RefPtr<Dentry> root, std::string source,
             MountFlags flags)
    : file_system_(std::move(file_system)),
      root_(std::move(root)),
      source_(std::move(source)),
      id_(next_mount_id.fetch_add(1, std::memory_order_relaxed)),
      flags_(flags) {}
Mount::Mount(std::unique_ptr<OnDemand> on_demand, Prepare* prepare, std::string source,
             MountFlags flags)
    : on_demand_(std::move(on_demand)),
      prepare_(prepare),
      source_(std::move(source)),
      id_(next_mount_id.fetch_add(1, std::memory_order_relaxed)),
      flags_(flags) {}
Mount::~Mount() = default;

Result<RefPtr<Mount>> Mount::create_detached(RefPtr<FileSystem> file_system) {
  RefPtr<Dentry> root = file_system->root();
  return try_make_ref<Mount>(std::move(file_system), std::move(root), "none", MountFlags::kNone);
}

MountTree::MountTree() = default;
MountTree::~MountTree() {
  // Children first: each keeps its mount point, which belongs to its parent's file system.
  while (!order_.empty()) {
    Mount* last = order_.back();
    order_.pop_back();
    last->tree_.store(nullptr, std::memory_order_relaxed);
    if (last->parent_ == nullptr) continue;
    last->mount_point_->remove_mount_point();
    last->mount_point_.reset();
    std::erase_if(last->parent_->children_, [&](const RefPtr<Mount>& m) { return m == last; });
  }
}

Result<Path> MountTree::mount_root(RefPtr<FileSystem> file_system, std::string_view source,
                                   MountFlags flags) {
  RefPtr<Dentry> root = file_system->root();
  RefPtr<Mount> mount =
      ARIL_TRY(try_make_ref<Mount>(std::move(file_system), root, std::string(source), flags));
  LockGuard guard(mutex_);
  ARIL_ASSERT(!root_);
  root_ = mount;
  mount->tree_.store(this, std::memory_order_relaxed);
  order_.push_back(mount.get());
  return Path(std::move(mount), std::move(root));
}

Path MountTree::root() {
  LockGuard guard(mutex_);
  if (!root_) return {};
  return Path(root_, root_->root());
}

Result<Path> MountTree::attach(const Path& at, RefPtr<FileSystem> file_system, RefPtr<Dentry> root,
                               std::string_view source, MountFlags flags) {
  if (at.inode().is_directory() != root->inode()->is_directory()) return fail(Errno::kNotDir);
  RefPtr<Mount> mount =
      ARIL_TRY(try_make_ref<Mount>(std::move(file_system), root, std::string(source), flags));
  ARIL_TRY(attach_mount(at, mount));
  return Path(std::move(mount), std::move(root));
}

Result<void> MountTree::attach_mount(const Path& at, RefPtr<Mount> mount) {
  LockGuard guard(mutex_);
  if (at.mount().tree() != this) return fail(Errno::kInval);
  mount->parent_ = &at.mount();
  mount->mount_point_ = at.dentry_ref();
  mount->tree_.store(this, std::memory_order_relaxed);
  at.dentry().add_mount_point();
  order_.push_back(mount.get());
  at.mount().children_.push_back(std::move(mount));
  return {};
}

Result<Path> MountTree::mount(const Path& at, RefPtr<FileSystem> file_system,
                              std::string_view source, MountFlags flags) {
  RefPtr<Dentry> root = file_system->root();
  return attach(at, std::move(file_system), std::move(root), source, flags);
}

Result<void> MountTree::mount_on_demand(const Path& at, OnDemand file_system,
                                        std::string_view source, MountFlags flags) {
  if (!at.inode().is_directory()) return fail(Errno::kNotDir);
  auto on_demand = ARIL_TRY(try_make_unique<OnDemand>(std::move(file_system)));
  return attach_mount(at, ARIL_TRY(try_make_ref<Mount>(std::move(on_demand), &make_ready,
                                                       std::string(source), flags)));
}

/// Whether one may go into the mount now.
bool MountTree::is_ready(Mount& mount) {
  // Acquire pairs with make_ready's release: the file system is there.
  Mount::Prepare* prepare = mount.prepare_.load(std::memory_order_acquire);
  return prepare == nullptr || prepare(*this, mount);
}

bool MountTree::make_ready(MountTree& tree, Mount& mount) {
  // What belongs inside is being mounted, by this thread.
  if (tree.maker_.load(std::memory_order_relaxed) == arch::current_thread() && mount.root_)
    return true;
  LockGuard making(tree.on_demand_mutex_);
  if (mount.prepare_.load(std::memory_order_relaxed) == nullptr) return true;
  Result<RefPtr<FileSystem>> made = mount.on_demand_->make();
  if (!made) {
    ARIL_LOG_ERROR("mount", "%s cannot be made: error %d", mount.source_.c_str(),
                   static_cast<int>(made.error()));
    return false;
  }
  mount.root_ = (*made)->root();
  mount.file_system_ = std::move(*made);
  tree.maker_.store(arch::current_thread(), std::memory_order_relaxed);
  if (mount.on_demand_->made) mount.on_demand_->made();
  tree.maker_.store(nullptr, std::memory_order_relaxed);
  mount.on_demand_.reset();
  mount.prepare_.store(nullptr, std::memory_order_release);
  return true;
}

void MountTree::make_all_ready() {
  for (size_t i = 0;; ++i) {
    RefPtr<Mount> mount;
    {
      LockGuard guard(mutex_);
      if (i >= order_.size()) return;  // it may shrink meanwhile
      mount = RefPtr<Mount>(order_[i]);
    }
    (void)is_ready(*mount);
  }
}

Result<Path> MountTree::bind(const Path& at, const Path& what, MountFlags flags) {
  return attach(at, RefPtr<FileSystem>(&what.mount().file_system()), what.dentry_ref(),
                what.mount().source(), flags | what.mount().flags());
}

Result<void> MountTree::remount(const Path& at, MountFlags flags) {
  if (at.dentry_ref() != at.mount().root()) return fail(Errno::kInval);
  at.mount().flags_.store(flags, std::memory_order_relaxed);
  return {};
}

Result<void> MountTree::unmount(const Path& at) {
  RefPtr<Mount> gone;
  RefPtr<Dentry> mount_point;
  ARIL_TRY(detach(at, gone, mount_point));
  announce_unmount(gone->file_system());
  return {};
}

Result<void> MountTree::detach(const Path& at, RefPtr<Mount>& gone, RefPtr<Dentry>& mount_point) {
  LockGuard guard(mutex_);
  Mount& mount = at.mount();
  if (at.dentry_ref() != mount.root() || mount.tree() != this || mount.parent_ == nullptr)
    return fail(Errno::kInval);
  if (!mount.children_.empty()) return fail(Errno::kBusy);
  auto& siblings = mount.parent_->children_;
  auto place = std::ranges::find_if(siblings, [&](const auto& m) { return m == &mount; });
  gone = std::move(*place);
  siblings.erase(place);
  std::erase(order_, &mount);
  mount_point = std::move(mount.mount_point_);
  mount_point->remove_mount_point();
  mount.parent_ = nullptr;
  mount.tree_.store(nullptr, std::memory_order_relaxed);
  return {};
}

/// What hides `place`; null when nothing does. The latest mount on a place hides the earlier ones.
RefPtr<Mount> MountTree::mount_on(const Path& place) {
  LockGuard guard(mutex_);
  const auto& children = place.mount().children_;
  auto found = std::find_if(children.rbegin(), children.rend(), [&](const RefPtr<Mount>& m) {
    return m->mount_point_ == place.dentry_ref();
  });
  return found != children.rend() ? *found : RefPtr<Mount>();
}

Path MountTree::cross_down(Path path) {
  while (path.dentry().is_mount_point()) {
    RefPtr<Mount> mount = mount_on(path);
    if (!mount || !is_ready(*mount)) break;
    RefPtr<Dentry> root = mount->root();
    path = Path(std::move(mount), std::move(root));
  }
  return path;
}

Path MountTree::cross_up(const Path& path) {
  LockGuard guard(mutex_);
  Mount& mount = path.mount();
  if (mount.parent_ == nullptr) return {};
  return Path(RefPtr<Mount>(mount.parent_), mount.mount_point_);
}

void MountTree::sync_all() {
  std::vector<RefPtr<Mount>> mounts;
  {
    LockGuard guard(mutex_);
    for (Mount* mount : order_) mounts.emplace_back(mount);
  }
  for (const RefPtr<Mount>& mount : mounts) {
    if (mount->prepare_.load(std::memory_order_acquire) == nullptr && !mount->is_read_only())
      (void)mount->file_system().sync();
  }
}

std::vector<MountTree::View> MountTree::list(const Path& root) {
  make_all_ready();
  // Paths are resolved without the lock, which resolving takes itself.
  std::vector<std::pair<RefPtr<Mount>, Path>> mounts;
  {
    LockGuard guard(mutex_);
    for (Mount* mount : order_) {
      Path place;
      if (mount->parent_ != nullptr)
        place = Path(RefPtr<Mount>(mount->parent_), mount->mount_point_);
      mounts.emplace_back(RefPtr<Mount>(mount), std::move(place));
    }
  }
  std::vector<View> views;
  for (auto& [mount, place] : mounts) {
    if (mount->prepare_.load(std::memory_order_acquire) != nullptr) continue;
    View view;
    view.id = mount->id();
    view.parent_id = place ? place.mount().id() : mount->id();
    view.device = mount->file_system().device();
    Path file_system_root(mount, mount->file_system().root());
    view.root = path_within_mount(Path(mount, mount->root()), file_system_root);
    view.mount_point = place ? absolute_path(*this, place, root) : "/";
    view.type = mount->file_system().type_name();
    view.source = mount->source();
    view.flags = mount->flags();
    if (mount->file_system().is_read_only()) view.flags |= MountFlags::kReadOnly;
    views.push_back(std::move(view));
  }
  return views;
}

std::string mount_options(MountFlags flags) {
  std::string text = has(flags, MountFlags::kReadOnly) ? "ro" : "rw";
  if (has(flags, MountFlags::kNoSuid)) text += ",nosuid";
  if (has(flags, MountFlags::kNoDev)) text += ",nodev";
  if (has(flags, MountFlags::kNoExec)) text += ",noexec";
  if (has(flags, MountFlags::kNoAtime)) text += ",noatime";
  if (has(flags, MountFlags::kRelatime)) text += ",relatime";
  return text;
}

}  // namespace aril::vfs
