#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "fs/vfs/file_system.hpp"
#include "fs/vfs/inode.hpp"

/// Files whose contents are computed when they are read: what /proc and /sys are made of.
namespace aril::synthetic {

/// printf-style, appended; at most 512 characters at a time.
[[gnu::format(printf, 2, 3)]] void append_format(std::string& text, const char* format, ...);

class Directory;

/// A file system of synthetic files. Its fixed tree is built at start-up, before it is mounted.
class SyntheticFileSystem final : public vfs::FileSystem {
 public:
  /// `type` is static text ("proc"); `root` null for a plain directory.
  static Result<RefPtr<SyntheticFileSystem>> create(std::string_view type, uint64_t magic);
  /// The derived root that /proc has.
  Result<void> adopt_root(RefPtr<Directory> root);
  ~SyntheticFileSystem() override;

  [[nodiscard]] std::string_view type_name() const override { return type_; }
  vfs::FileSystemStatus status() override;
  [[nodiscard]] Directory& root_directory() const;
  /// For the fixed tree.
  uint64_t next_number() { return next_number_.fetch_add(1, std::memory_order_relaxed); }

 private:
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  SyntheticFileSystem(std::string_view type, uint64_t magic) : type_(type), magic_(magic) {}
  const std::string_view type_;
  const uint64_t magic_;
  std::atomic<uint64_t> next_number_{1};
};

/// Writes the text of a file.
using Generate = std::function<Result<void>(std::string& out)>;
/// Takes what was written to a file in one call.
using Store = std::function<Result<void>(std::string_view text)>;

class SyntheticInode : public vfs::Inode {
 public:
  SyntheticInode(SyntheticFileSystem& file_system, uint64_t number, uint32_t mode);
  void set_owner(uint32_t uid, uint32_t gid);
};

/// A file of text (or bytes). Each reading from the start sees fresh contents, all of one moment.
class TextFile final : public SyntheticInode {
 public:
  TextFile(SyntheticFileSystem& file_system, uint64_t number, uint32_t permissions,
           Generate generate, Store store = nullptr)
      : SyntheticInode(file_system, number, vfs::mode::kRegular | permissions),
        generate_(std::move(generate)),
        store_(std::move(store)) {}
  Result<RefPtr<File>> open(const vfs::Path& path, OpenFlags flags) override;
  /// Truncation before writing (`echo 1 > file`) is nothing.
  Result<void> resize_locked(uint64_t) override { return {}; }
  Result<void> generate(std::string& out) const;
  Result<void> store(std::string_view text) const;

 private:
  const Generate generate_;
  const Store store_;
};

/// A symbolic link whose text is computed.
class Link : public SyntheticInode {
 public:
  using Text = std::function<Result<std::string>()>;
  Link(SyntheticFileSystem& file_system, uint64_t number, Text text)
      : SyntheticInode(file_system, number, vfs::mode::kSymlink | 0777), text_(std::move(text)) {}
  Result<std::string> read_link() override { return text_(); }

 private:
  const Text text_;
};

/// A link that leads to a place whatever its text says: /proc/self/exe, /proc/self/fd/3.
class MagicLink final : public Link {
 public:
  using Place = std::function<Result<vfs::Path>()>;
  MagicLink(SyntheticFileSystem& file_system, uint64_t number, Text text, Place place)
      : Link(file_system, number, std::move(text)), place_(std::move(place)) {}
  Result<vfs::LinkTarget> follow() override;
  [[nodiscard]] bool is_magic_link() const override { return true; }

 private:
  const Place place_;
};

/// A directory of files added at start-up. Derived directories add names that come and go.
class Directory : public SyntheticInode {
 public:
  Directory(SyntheticFileSystem& file_system, uint64_t number, uint32_t permissions = 0555);

  // Building the fixed tree. `name` may hold slashes; directories on the way are made. Panics when
  // memory is short: this is start-up.
  void add_file(std::string_view name, Generate generate, Store store = nullptr);
  void add_file(std::string_view name, uint32_t permissions, Generate generate, Store store);
  /// A file that always says the same.
  void add_text(std::string_view name, std::string text);
  void add_link(std::string_view name, std::string target);
  Directory& add_directory(std::string_view name);
  /// What has the name already stays, here as with the others.
  void add_inode(std::string_view name, RefPtr<SyntheticInode> inode);
  /// `make` adds names when somebody first looks for one in here: for large trees of which most
  /// programs see nothing. Needs stable names: it runs under the namespace mutex.
  void make_on_demand(std::function<void(Directory&)> make) { make_ = std::move(make); }

  Result<RefPtr<vfs::Inode>> lookup(std::string_view name) override;
  Result<void> read_directory(uint64_t offset, vfs::DirectoryEmitter& emitter) override;
  Result<void> rmdir(std::string_view name, vfs::Inode& victim) override;

 protected:
  [[nodiscard]] SyntheticFileSystem& synthetic_file_system() const {
    return static_cast<SyntheticFileSystem&>(file_system());
  }
  /// Names beyond the fixed ones; kNoEnt.
  virtual Result<RefPtr<vfs::Inode>> lookup_more(std::string_view name) {
    (void)name;
    return fail(Errno::kNoEnt);
  }
  /// Emits names beyond the fixed ones from `offset` on, which counts from `base`.
  virtual Result<void> read_more(uint64_t offset, uint64_t base, vfs::DirectoryEmitter& emitter) {
    (void)offset;
    (void)base;
    (void)emitter;
    return {};
  }

 private:
  Directory& parent_of(std::string_view& name);
  void make_names();
  std::function<void(Directory&)> make_;
  std::map<std::string, RefPtr<SyntheticInode>, std::less<>> children_;
};

/// A place for an open file that has none in the tree, so that a magic link can lead to it: opening
/// it gives the same open file again.
Result<vfs::Path> place_for_file(const RefPtr<vfs::Mount>& mount, RefPtr<File> file);

}  // namespace aril::synthetic
