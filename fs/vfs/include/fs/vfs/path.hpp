#pragma once
#include <utility>

#include "base/ref_ptr.hpp"

namespace aril::vfs {

class Mount;
class Dentry;
class Inode;

/// A place in the tree: a name in a mounted file system. Null when default-made. Keeps the mount
/// and the name alive. A copy costs two reference counts.
class Path {
 public:
  Path() : mount_(), dentry_() {}
  Path(RefPtr<Mount> mount, RefPtr<Dentry> dentry);
  Path(const Path&);
  Path(Path&& other) noexcept
      : mount_(std::move(other.mount_)), dentry_(std::move(other.dentry_)) {}
  Path& operator=(const Path&);
  Path& operator=(Path&& other) noexcept;
  // Most that are destroyed were moved from.
  ~Path() {
    if (mount_ || dentry_) release();
  }

  explicit operator bool() const { return dentry_.get() != nullptr; }
  [[nodiscard]] Mount& mount() const { return *mount_; }
  [[nodiscard]] const RefPtr<Mount>& mount_ref() const { return mount_; }
  [[nodiscard]] Dentry& dentry() const { return *dentry_; }
  [[nodiscard]] const RefPtr<Dentry>& dentry_ref() const { return dentry_; }
  /// The file that the name stands for; the path must not be that of a negative dentry. Defined in
  /// dentry.hpp.
  [[nodiscard]] inline Inode& inode() const;
  friend bool operator==(const Path& a, const Path& b) {
    return a.mount_ == b.mount_ && a.dentry_ == b.dentry_;
  }

 private:
  void release();

  // In unions, so that their destructors are called only where Mount and Dentry are known.
  union {
    RefPtr<Mount> mount_;
  };
  union {
    RefPtr<Dentry> dentry_;
  };
};

}  // namespace aril::vfs
