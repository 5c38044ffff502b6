#include <array>

#include "base/units.hpp"
#include "fs/tmpfs/tmpfs.hpp"
#include "kernel/vm/user_copy.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/files/file_table.hpp"
#include "linux/process/fs_context.hpp"
#include "linux/process/process.hpp"

namespace aril::linux_abi {
namespace {

constinit Mutex mutex{LockRank::kFileTable};

// The file system behind all memfds; made at the first.
Result<tmpfs::AnonymousFiles*> anonymous_files() {
  [[clang::no_destroy]] static constinit std::unique_ptr<tmpfs::AnonymousFiles> files;
  LockGuard guard(mutex);
  if (files == nullptr) files = ARIL_TRY(tmpfs::AnonymousFiles::create());
  return files.get();
}

Result<int64_t> sys_memfd_create(uint64_t name_address, uint32_t flags) {
  constexpr uint32_t kCloseOnExec = 1, kAllowSealing = 2, kHugeTlb = 4;
  constexpr size_t kNameLimit = 250;  // "memfd:" and it are one file name
  if ((flags & ~(kCloseOnExec | kAllowSealing)) != 0)
    return fail((flags & kHugeTlb) != 0 ? Errno::kNoSys : Errno::kInval);
  std::array<char, kNameLimit> name;
  Result<size_t> length = copy_string_from_user(name, name_address);
  if (!length) return fail(length.error() == Errno::kNameTooLong ? Errno::kInval : length.error());
  Task& task = current_task();
  tmpfs::AnonymousFiles* files = ARIL_TRY(anonymous_files());
  auto sealing = (flags & kAllowSealing) != 0 ? tmpfs::AnonymousFiles::Sealing::kAllowed
                                              : tmpfs::AnonymousFiles::Sealing::kForbidden;
  RefPtr<File> file = ARIL_TRY(files->create_file(std::string_view(name.data(), *length), 0777,
                                                  file_system_identity(task.credentials), sealing));
  return task.process().files().install(
      std::move(file), (flags & kCloseOnExec) != 0 ? CloseOnExec::kYes : CloseOnExec::kNo);
}
ARIL_SYSCALL(319, memfd_create, sys_memfd_create, "str hex");

}  // namespace
}  // namespace aril::linux_abi
