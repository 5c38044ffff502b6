#include "fs/synthetic/synthetic.hpp"

#include <array>
#include <cstdarg>

#include "fs/vfs/mount.hpp"
#include "kernel/log/format.hpp"
#include "kernel/log/log.hpp"

namespace aril::synthetic {

namespace mode = vfs::mode;

void append_format(std::string& text, const char* format, ...) {
  std::array<char, 512> buffer;
  va_list arguments;
  va_start(arguments, format);
  text += format_list(buffer, format, arguments);
  va_end(arguments);
}

namespace {

/// Start-up code has nobody to report to.
template <typename T>
T must(Result<T> result) {
  if (!result) panic("out of memory for /proc and /sys: give the machine more (--memory)");
  return std::move(*result);
}

}  // namespace

Result<RefPtr<SyntheticFileSystem>> SyntheticFileSystem::create(std::string_view type,
                                                                uint64_t magic) {
  return try_make_ref<SyntheticFileSystem>(type, magic);
}

Result<void> SyntheticFileSystem::adopt_root(RefPtr<Directory> root) {
  return set_root(std::move(root));
}

SyntheticFileSystem::~SyntheticFileSystem() { drop_inodes(); }

vfs::FileSystemStatus SyntheticFileSystem::status() {
  vfs::FileSystemStatus status;
  status.magic = magic_;
  return status;
}

Directory& SyntheticFileSystem::root_directory() const {
  return static_cast<Directory&>(*root()->inode());
}

SyntheticInode::SyntheticInode(SyntheticFileSystem& file_system, uint64_t number, uint32_t mode)
    : Inode(file_system, number, mode) {
  int64_t now = vfs::wall_clock_ns();
  for (auto* time : {&access_ns_, &modify_ns_, &change_ns_})
    time->store(now, std::memory_order_relaxed);
}

void SyntheticInode::set_owner(uint32_t uid, uint32_t gid) {
  uid_.store(uid, std::memory_order_relaxed);
  gid_.store(gid, std::memory_order_relaxed);
}

Result<void> TextFile::generate(std::string& out) const {
  return generate_ ? generate_(out) : Result<void>();
}
Result<void> TextFile::store(std::string_view text) const {
  return store_ ? store_(text) : fail(Errno::kInval);
}

Result<vfs::LinkTarget> MagicLink::follow() { return vfs::LinkTarget{{}, ARIL_TRY(place_())}; }

Directory::Directory(SyntheticFileSystem& file_system, uint64_t number, uint32_t permissions)
    : SyntheticInode(file_system, number, mode::kDirectory | permissions) {
  link_count_.store(2, std::memory_order_relaxed);
}

Directory& Directory::parent_of(std::string_view& name) {
  size_t slash = name.find('/');
  if (slash == std::string_view::npos) return *this;
  std::string_view first = name.substr(0, slash);
  name.remove_prefix(slash + 1);
  return add_directory(first).parent_of(name);
}

void Directory::add_inode(std::string_view name, RefPtr<SyntheticInode> inode) {
  Directory& parent = parent_of(name);
  bool is_directory = inode->is_directory();
  bool is_new = parent.children_.try_emplace(std::string(name), std::move(inode)).second;
  if (is_new && is_directory) parent.link_count_.fetch_add(1, std::memory_order_relaxed);
}

Directory& Directory::add_directory(std::string_view name) {
  Directory& parent = parent_of(name);
  auto found = parent.children_.find(name);
  if (found == parent.children_.end()) {
    parent.add_inode(name, must(try_make_ref<Directory>(synthetic_file_system(),
                                                        synthetic_file_system().next_number())));
    found = parent.children_.find(name);
  }
  return static_cast<Directory&>(*found->second);
}

void Directory::add_file(std::string_view name, uint32_t permissions, Generate generate,
                         Store store) {
  add_inode(name, must(try_make_ref<TextFile>(synthetic_file_system(),
                                              synthetic_file_system().next_number(), permissions,
                                              std::move(generate), std::move(store))));
}

void Directory::add_file(std::string_view name, Generate generate, Store store) {
  uint32_t permissions = store ? 0644 : 0444;
  add_file(name, permissions, std::move(generate), std::move(store));
}

void Directory::add_text(std::string_view name, std::string text) {
  add_file(name, [text = std::move(text)](std::string& out) -> Result<void> {
    out += text;
    return {};
  });
}

void Directory::add_link(std::string_view name, std::string target) {
  add_inode(name, must(try_make_ref<Link>(
                      synthetic_file_system(), synthetic_file_system().next_number(),
                      [target = std::move(target)]() -> Result<std::string> { return target; })));
}

void Directory::make_names() {
  if (!make_) return;
  // Not again while it runs.
  auto make = std::exchange(make_, nullptr);
  make(*this);
}

Result<RefPtr<vfs::Inode>> Directory::lookup(std::string_view name) {
  make_names();
  auto found = children_.find(name);
  if (found != children_.end()) return RefPtr<vfs::Inode>(found->second);
  return lookup_more(name);
}

// Offset 2 + n stands for the n-th fixed name; the others follow.
Result<void> Directory::read_directory(uint64_t offset, vfs::DirectoryEmitter& emitter) {
  make_names();
  uint64_t position = 2;
  for (const auto& [name, inode] : children_) {
    if (position++ < offset) continue;
    if (!emitter.emit(name, inode->number(), mode::directory_type(inode->mode()), position))
      return {};
  }
  return read_more(std::max(offset, position), position, emitter);
}

Result<void> Directory::rmdir(std::string_view, vfs::Inode&) { return fail(Errno::kPerm); }

namespace {

class FileInode final : public vfs::Inode {
 public:
  FileInode(vfs::FileSystem& file_system, const FileStatus& status, RefPtr<File> file)
      : Inode(file_system, status.inode, status.mode), file_(std::move(file)) {
    uid_.store(status.uid, std::memory_order_relaxed);
    gid_.store(status.gid, std::memory_order_relaxed);
  }
  Result<FileStatus> status() override { return file_->status(); }
  Result<RefPtr<File>> open(const vfs::Path&, OpenFlags flags) override {
    if (type() == mode::kSocket) return fail(Errno::kNxIo);
    OpenFlags access = flags & OpenFlags::kAccessMask;
    bool reads = access != OpenFlags::kWriteOnly;
    bool writes = access != OpenFlags::kReadOnly;
    if ((reads && !file_->is_readable()) || (writes && !file_->is_writable()))
      return fail(Errno::kAcces);
    return file_;
  }

 private:
  const RefPtr<File> file_;
};

}  // namespace

Result<vfs::Path> place_for_file(const RefPtr<vfs::Mount>& mount, RefPtr<File> file) {
  FileStatus status = ARIL_TRY(file->status());
  std::string name = file->description();
  RefPtr<FileInode> inode =
      ARIL_TRY(try_make_ref<FileInode>(mount->file_system(), status, std::move(file)));
  RefPtr<vfs::Dentry> dentry = ARIL_TRY(vfs::DentryCache::make_unnamed(std::move(inode), name));
  return vfs::Path(mount, std::move(dentry));
}

}  // namespace aril::synthetic
