#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/intrusive_list.hpp"
#include "base/ref_ptr.hpp"
#include "fs/vfs/inode.hpp"
#include "fs/vfs/path.hpp"
#include "kernel/sync/spin_lock.hpp"

namespace aril::vfs {

class DentryCache;

/// One name in one directory of a file system, as last looked up; negative (without an inode) when
/// the name is known not to exist. While anyone refers to a directory's dentry, it is the only one
/// for that directory. A dentry keeps its parent.
class Dentry final : public RefCounted {
 public:
  ~Dentry();
  /// Null when negative. Fixed for the life of the dentry: creating makes a new dentry.
  [[nodiscard]] Inode* inode() const { return inode_.get(); }
  [[nodiscard]] bool is_negative() const { return inode_.get() == nullptr; }
  [[nodiscard]] bool is_root() const { return is_root_; }
  /// The name was removed; the file lives on while it is open.
  [[nodiscard]] bool is_deleted() const { return deleted_.load(std::memory_order_relaxed); }
  /// A file system is mounted on it, in some mount.
  [[nodiscard]] bool is_mount_point() const {
    return mount_points_.load(std::memory_order_relaxed) != 0;
  }
  void add_mount_point() { mount_points_.fetch_add(1, std::memory_order_relaxed); }
  void remove_mount_point() { mount_points_.fetch_sub(1, std::memory_order_relaxed); }

 private:
  friend class DentryCache;
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  Dentry(RefPtr<Inode> inode, std::string name)
      : inode_(std::move(inode)), name_(std::move(name)) {}

  RefPtr<Inode> inode_;
  // Guarded by the cache's lock, because rename changes them.
  RefPtr<Dentry> parent_;
  std::string name_;
  uint64_t hash_ = 0;
  Dentry* next_in_bucket_ = nullptr;
  ListNode age_node_;
  bool hashed_ = false;
  bool is_used_ = false;  // found since trim() last looked at it
  bool is_root_ = false;
  std::atomic<bool> deleted_{false};
  std::atomic<uint32_t> mount_points_{0};
};

/// The names of one file system that were looked up lately. Holds a reference to each; those that
/// nobody else uses go when there are too many, oldest first. Any thread; its lock is a leaf.
/// Entries are added and removed only under the file system's namespace mutex.
class DentryCache {
 public:
  DentryCache();
  ~DentryCache();

  /// Makes the dentry of the root directory. Once.
  Result<RefPtr<Dentry>> make_root(RefPtr<Inode> inode);
  /// A dentry outside the tree: O_TMPFILE, memfd, pipes. `name` is for /proc/self/fd.
  static Result<RefPtr<Dentry>> make_unnamed(RefPtr<Inode> inode, std::string_view name);

  RefPtr<Dentry> find(const Dentry& parent, std::string_view name);
  /// Adds (inode may be null: negative), replacing a cached one of that name. With
  /// `cached` false the dentry is made but not entered.
  Result<RefPtr<Dentry>> add(Dentry& parent, std::string_view name, RefPtr<Inode> inode,
                             bool cached = true);
  /// A dentry of a file that has no name, made in `parent` (O_TMPFILE).
  Result<RefPtr<Dentry>> add_unnamed(Dentry& parent, std::string_view label, RefPtr<Inode> inode);
  /// The name is gone or means something else now.
  void remove_deleted(Dentry& dentry);
  /// Takes `moved` to its new place; what was there is deleted. With `exchange`, both swap.
  Result<void> move(Dentry& moved, Dentry& new_parent, std::string_view new_name, Dentry* replaced,
                    bool exchange);
  /// Forgets negative or positive entry `name`, if cached.
  void forget(Dentry& parent, std::string_view name);
  /// Drops everything unused.
  void shrink();
  /// Drops everything: the end of the file system, when nobody uses a name any more.
  void clear();

  RefPtr<Dentry> parent_of(const Dentry& dentry);
  std::string name_of(const Dentry& dentry);
  /// True when `ancestor` is `dentry` or above it.
  bool is_ancestor(const Dentry& ancestor, const Dentry& dentry);

 private:
  static constexpr size_t kInitialBuckets = 64;
  static constexpr size_t kUnusedLimit = 8192;
  static constexpr uint64_t kHashMix = 0x9e37'79b9'7f4a'7c15;  // 2^64 / the golden ratio

  Dentry* find_locked(const Dentry& parent, std::string_view name, uint64_t hash);
  void insert_locked(Dentry& dentry);
  bool unhash_locked(Dentry& dentry);
  void grow_if_needed();
  void trim();
  uint64_t hash_of(const Dentry& parent, std::string_view name) const;

  SpinLock lock_{LockRank::kSpinLeaf};
  std::unique_ptr<Dentry*[]> buckets_;
  size_t bucket_count_ = 0;
  size_t count_ = 0;
  uint64_t seed_;
  IntrusiveList<Dentry, &Dentry::age_node_> by_age_;
  RefPtr<Dentry> root_;
};

inline Inode& Path::inode() const { return *dentry_->inode(); }

}  // namespace aril::vfs
