#include "fs/tmpfs/tmpfs.hpp"

#include <limits>

#include "base/unique.hpp"

namespace aril::tmpfs {

using vfs::Identity;
namespace mode = vfs::mode;

Tmpfs::Tmpfs(const Options& options)
    : MemoryFileSystem((options.size + kPageSize - 1) / kPageSize, options.inodes) {}

Tmpfs::~Tmpfs() { drop_inodes(); }

Result<RefPtr<Tmpfs>> Tmpfs::create(const Options& options) {
  RefPtr<Tmpfs> file_system = ARIL_TRY(try_make_ref<Tmpfs>(options));
  Identity owner{.uid = options.uid, .gid = options.gid};
  RefPtr<MemoryInode> root = ARIL_TRY(
      file_system->make_inode(mode::kDirectory | (options.mode & mode::kPermissions), 0, owner));
  ARIL_TRY(file_system->set_root(std::move(root)));
  return file_system;
}

namespace {

/// A number in `base`, with a suffix k, m or g if `base` is 10. Nothing else may follow.
Result<uint64_t> parse_number(std::string_view text, unsigned base) {
  if (text.empty()) return fail(Errno::kInval);
  unsigned shift = 0;
  if (base == 10) {
    switch (text.back() | 0x20) {
      case 'k':
        shift = 10;
        break;
      case 'm':
        shift = 20;
        break;
      case 'g':
        shift = 30;
        break;
      default:
        break;
    }
    if (shift != 0) text.remove_suffix(1);
  }
  uint64_t value = 0;
  for (char c : text) {
    auto digit = static_cast<unsigned>(c - '0');
    if (c < '0' || digit >= base) return fail(Errno::kInval);
    if (value > (std::numeric_limits<uint64_t>::max() >> 35)) return fail(Errno::kInval);
    value = value * base + digit;
  }
  return value << shift;
}

}  // namespace

Result<Tmpfs::Options> Tmpfs::parse_options(std::string_view text) {
  Options options;
  while (!text.empty()) {
    std::string_view option = text.substr(0, text.find(','));
    text.remove_prefix(std::min(option.size() + 1, text.size()));
    if (option.empty()) continue;
    std::string_view key = option.substr(0, option.find('='));
    std::string_view value = option.substr(std::min(key.size() + 1, option.size()));
    if (key == "size") {
      options.size = ARIL_TRY(parse_number(value, 10));
    } else if (key == "nr_blocks") {
      uint64_t blocks = ARIL_TRY(parse_number(value, 10));
      if (blocks > (std::numeric_limits<uint64_t>::max() >> kPageShift)) return fail(Errno::kInval);
      options.size = blocks << kPageShift;
    } else if (key == "nr_inodes") {
      options.inodes = ARIL_TRY(parse_number(value, 10));
    } else if (key == "mode") {
      options.mode = static_cast<uint32_t>(ARIL_TRY(parse_number(value, 8))) & mode::kPermissions;
    } else if (key == "uid") {
      options.uid = static_cast<uint32_t>(ARIL_TRY(parse_number(value, 10)));
    } else if (key == "gid") {
      options.gid = static_cast<uint32_t>(ARIL_TRY(parse_number(value, 10)));
    } else {
      return fail(Errno::kInval);
    }
  }
  return options;
}

Result<std::unique_ptr<AnonymousFiles>> AnonymousFiles::create() {
  // As on Linux, RAM is the limit.
  RefPtr<Tmpfs> file_system = ARIL_TRY(Tmpfs::create({.size = ~(kPageSize - 1)}));
  RefPtr<vfs::Mount> mount = ARIL_TRY(vfs::Mount::create_detached(std::move(file_system)));
  auto* files = new (std::nothrow) AnonymousFiles(std::move(mount));
  if (files == nullptr) return fail(Errno::kNoMem);
  return std::unique_ptr<AnonymousFiles>(files);
}

Result<RefPtr<File>> AnonymousFiles::create_file(std::string_view name, uint32_t mode,
                                                 const Identity& owner, Sealing sealing) {
  auto& file_system = static_cast<Tmpfs&>(mount_->file_system());
  RefPtr<MemoryInode> inode =
      ARIL_TRY(file_system.make_inode(mode::kRegular | (mode & mode::kPermissions), 0, owner));
  if (sealing == Sealing::kAllowed) static_cast<MemoryFile&>(*inode).allow_sealing();
  RefPtr<vfs::Dentry> dentry =
      ARIL_TRY(vfs::DentryCache::make_unnamed(inode, std::string("memfd:").append(name)));
  return inode->open(vfs::Path(mount_, std::move(dentry)), OpenFlags::kReadWrite);
}

}  // namespace aril::tmpfs
