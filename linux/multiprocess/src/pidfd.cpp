#include "pidfd.hpp"

#include "kernel/vm/user_copy.hpp"
#include "linux/files/file_table.hpp"
#include "linux/process/family.hpp"

namespace aril::linux_abi {
namespace {

constexpr char kPidFileTag = 0;

}  // namespace

void* PidFile::facet(const void* tag) { return tag == &kPidFileTag ? this : nullptr; }

PollEvents PidFile::poll(PollRegistrar* registrar) {
  if (registrar != nullptr) registrar->watch(process_->end_queue());
  LockGuard guard(family::lock());
  return process_->family.life == Process::Family::Life::kAlive ? PollEvents::kNone : kReadable;
}

Result<void> give_pidfd(const RefPtr<Process>& process, uint64_t address) {
  FileTable& files = current_process().files();
  RefPtr<File> file = ARIL_TRY(try_make_ref<PidFile>(process, OpenFlags::kReadWrite));
  int fd = ARIL_TRY(files.install(std::move(file), CloseOnExec::kYes));
  Result<void> written = UserPtr<int32_t>(address).write(fd);
  if (!written) (void)files.close(fd);
  return written;
}

Result<RefPtr<Process>> process_of_pidfd(int fd, bool& is_nonblocking) {
  RefPtr<File> file = ARIL_TRY(current_process().files().get(fd));
  auto* pid_file = static_cast<PidFile*>(file->facet(&kPidFileTag));
  if (pid_file == nullptr) return fail(Errno::kBadF);
  is_nonblocking = file->is_nonblocking();
  return pid_file->process();
}

}  // namespace aril::linux_abi
