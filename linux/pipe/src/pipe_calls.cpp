#include "linux/abi/syscall.hpp"
#include "linux/files/file_table.hpp"
#include "linux/pipe/pipe.hpp"
#include "linux/process/process.hpp"

/// pipe, pipe2.
namespace aril::linux_abi {

namespace {

Result<void> sys_pipe2(UserPtr<int32_t> fds, uint32_t raw_flags) {
  auto flags = static_cast<OpenFlags>(raw_flags);
  // O_DIRECT asks for packet mode, which is not there: refused, as by Linux before 3.4.
  if (has(flags, ~(OpenFlags::kNonBlock | OpenFlags::kCloseOnExec))) return fail(Errno::kInval);
  auto close_on_exec = has(flags, OpenFlags::kCloseOnExec) ? CloseOnExec::kYes : CloseOnExec::kNo;
  auto [reader, writer] = ARIL_TRY(make_pipe(flags & OpenFlags::kNonBlock));
  FileTable& files = current_process().files();
  int numbers[2];
  numbers[0] = ARIL_TRY(files.install(std::move(reader), close_on_exec));
  auto second = files.install(std::move(writer), close_on_exec);
  if (second) {
    numbers[1] = *second;
    if (auto written = fds.write_array(numbers); written) return {};
    (void)files.close(numbers[1]);
    (void)files.close(numbers[0]);
    return fail(Errno::kFault);
  }
  (void)files.close(numbers[0]);
  return fail(second.error());
}
ARIL_SYSCALL(293, pipe2, sys_pipe2, ">ptr oflags");

Result<void> sys_pipe(UserPtr<int32_t> fds) { return sys_pipe2(fds, 0); }
ARIL_SYSCALL(22, pipe, sys_pipe, ">ptr");

}  // namespace

}  // namespace aril::linux_abi
