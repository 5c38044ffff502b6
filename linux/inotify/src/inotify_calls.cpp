#include "fs/vfs/inode.hpp"
#include "fs/vfs/lookup.hpp"
#include "inotify.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/files/file_table.hpp"
#include "linux/process/fs_context.hpp"
#include "linux/process/process.hpp"

/// inotify_init1, inotify_add_watch, inotify_rm_watch.
namespace aril::linux_abi {
namespace {

Result<int> sys_inotify_init1(uint32_t flags) {
  auto known = static_cast<uint32_t>(OpenFlags::kNonBlock | OpenFlags::kCloseOnExec);
  if ((flags & ~known) != 0) return fail(Errno::kInval);
  auto open_flags = static_cast<OpenFlags>(flags);
  RefPtr<Inotify> instance = ARIL_TRY(Inotify::create(open_flags & OpenFlags::kNonBlock));
  return current_process().files().install(
      std::move(instance),
      has(open_flags, OpenFlags::kCloseOnExec) ? CloseOnExec::kYes : CloseOnExec::kNo);
}
ARIL_SYSCALL(294, inotify_init1, sys_inotify_init1, "oflags");

Result<int> sys_inotify_init() { return sys_inotify_init1(0); }
ARIL_SYSCALL(253, inotify_init, sys_inotify_init, "");

Result<int> sys_inotify_add_watch(int fd, uint64_t name_address, uint32_t mask) {
  constexpr uint32_t kKnown = Inotify::kAllEvents | Inotify::kUnmount | Inotify::kOverflow |
                              Inotify::kIgnored | 0x4000'0000u | Inotify::kOnlyDirectory |
                              Inotify::kDontFollow | Inotify::kExcludeUnlinked |
                              Inotify::kMaskCreate | Inotify::kMaskAdd | Inotify::kOneShot;
  if ((mask & kKnown) == 0) return fail(Errno::kInval);
  if ((mask & Inotify::kMaskAdd) != 0 && (mask & Inotify::kMaskCreate) != 0)
    return fail(Errno::kInval);
  RefPtr<File> file = ARIL_TRY(current_process().files().get(fd));
  Inotify* instance = as_inotify(*file);
  if (instance == nullptr) return fail(Errno::kInval);
  std::string name = ARIL_TRY(string_from_user(name_address));
  vfs::LookupContext context = caller_lookup_context();
  vfs::LookupFlags flags = vfs::LookupFlags::kNone;
  if ((mask & Inotify::kDontFollow) == 0) flags |= vfs::LookupFlags::kFollow;
  if ((mask & Inotify::kOnlyDirectory) != 0) flags |= vfs::LookupFlags::kDirectory;
  vfs::Path path = ARIL_TRY(vfs::resolve(context, current_process().fs().cwd(), name, flags));
  ARIL_TRY(vfs::check_access(path.inode(), context.identity, vfs::Access::kRead));
  return instance->add_watch(path, mask);
}
ARIL_SYSCALL(254, inotify_add_watch, sys_inotify_add_watch, "fd path hex");

Result<void> sys_inotify_rm_watch(int fd, int watch) {
  RefPtr<File> file = ARIL_TRY(current_process().files().get(fd));
  Inotify* instance = as_inotify(*file);
  if (instance == nullptr) return fail(Errno::kInval);
  return instance->remove_watch(watch);
}
ARIL_SYSCALL(255, inotify_rm_watch, sys_inotify_rm_watch, "fd int");

}  // namespace
}  // namespace aril::linux_abi
