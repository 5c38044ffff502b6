#pragma once
#include "base/ref_ptr.hpp"

namespace aril::vfs {

class Mount;
class Dentry;
class Inode;

/// A place in the tree: a name in a mounted file system. Null when default-made. Keeps the mount
/// and the name alive. A copy costs two reference counts.
class Path {
 public:
  Path();
  Path(RefPtr<Mount> mount, RefPtr<Dentry> dentry);
  Path(const Path&);
  Path(Path&&) noexcept;
  Path& operator=(const Path&);
  Path& operator=(Path&&) noexcept;
  ~Path();

  explicit operator bool() const { return dentry_.get() != nullptr; }
  [[nodiscard]] Mount& mount() const { return *mount_; }
  [[nodiscard]] const RefPtr<Mount>& mount_ref() const { return mount_; }
  [[nodiscard]] Dentry& dentry() const { return *dentry_; }
  [[nodiscard]] const RefPtr<Dentry>& dentry_ref() const { return dentry_; }
  /// The file that the name stands for; the path must not be that of a negative dentry.
  [[nodiscard]] Inode& inode() const;
  friend bool operator==(const Path& a, const Path& b) {
    return a.mount_ == b.mount_ && a.dentry_ == b.dentry_;
  }

 private:
  RefPtr<Mount> mount_;
  RefPtr<Dentry> dentry_;
};

}  // namespace aril::vfs
