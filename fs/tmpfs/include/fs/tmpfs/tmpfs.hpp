#pragma once
#include <string_view>

#include "fs/tmpfs/memory_inode.hpp"
#include "fs/vfs/mount.hpp"

namespace aril::tmpfs {

/// A file system in memory [tmpfs(5)].
class Tmpfs final : public MemoryFileSystem {
 public:
  struct Options {
    uint64_t size = 0;      ///< bytes; 0: half of RAM
    uint64_t inodes = 0;    ///< 0: half of the number of pages of RAM
    uint32_t mode = 01777;  ///< of the root directory
    uint32_t uid = 0, gid = 0;
  };
  /// kNoMem.
  static Result<RefPtr<Tmpfs>> create(const Options& options);
  /// mount(2)'s data: "size=64m,mode=755,uid=1". kInval for what it does not know.
  static Result<Options> parse_options(std::string_view text);
  ~Tmpfs() override;

  [[nodiscard]] std::string_view type_name() const override { return "tmpfs"; }

 private:
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  explicit Tmpfs(const Options& options);
};

/// Files without a place in the tree: memfd_create, shared anonymous memory with a descriptor.
class AnonymousFiles {
 public:
  static Result<std::unique_ptr<AnonymousFiles>> create();
  enum class Sealing : uint8_t { kForbidden, kAllowed };
  /// Opens a new empty file, named "memfd:NAME" in /proc/self/fd, for reading and writing.
  Result<RefPtr<File>> create_file(std::string_view name, uint32_t mode, const vfs::Identity& owner,
                                   Sealing sealing);

 private:
  explicit AnonymousFiles(RefPtr<vfs::Mount> mount) : mount_(std::move(mount)) {}
  RefPtr<vfs::Mount> mount_;
};

}  // namespace aril::tmpfs
