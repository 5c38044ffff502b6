#include "fs/vfs/open_file.hpp"
#include "fs/vfs/operations.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/files/file_table.hpp"
#include "linux/loader/exec.hpp"
#include "linux/process/fs_context.hpp"
#include "linux/process/process.hpp"

namespace aril::linux_abi {
namespace {

constexpr int kCurrentDirectory = -100;      // AT_FDCWD
constexpr uint64_t kEmptyPathFlag = 0x1000;  // AT_EMPTY_PATH

Result<void> execute_call(std::string path, uint64_t arguments, uint64_t environment,
                          arch::TrapFrame& frame) {
  ExecRequest request{.path = std::move(path), .arguments = {}, .environment = {}};
  ARIL_TRY(request.arguments.append_vector(arguments));
  ARIL_TRY(request.environment.append_vector(environment));
  auto done = execute(std::move(request), frame);
  if (!done) return fail(done.error().error);
  return {};
}

Result<void> sys_execve(arch::TrapFrame& frame) {
  std::string path = ARIL_TRY(string_from_user(frame.argument(0)));
  return execute_call(std::move(path), frame.argument(1), frame.argument(2), frame);
}
ARIL_SYSCALL(59, execve, sys_execve, "path ptr ptr");

Result<void> sys_execveat(arch::TrapFrame& frame) {
  int directory = static_cast<int>(frame.argument(0));
  std::string path = ARIL_TRY(string_from_user(frame.argument(1)));
  if (directory != kCurrentDirectory && !path.starts_with('/')) {
    RefPtr<File> file = ARIL_TRY(current_process().files().get(directory));
    const vfs::Path* start = vfs::path_of(*file);
    if (start == nullptr) return fail(Errno::kNotDir);
    if (path.empty() && (frame.argument(4) & kEmptyPathFlag) == 0) return fail(Errno::kNoEnt);
    FsContext& fs = current_process().fs();
    std::string base = vfs::absolute_path(fs.mounts(), *start, fs.root());
    path = path.empty() ? base : base + "/" + path;
  }
  return execute_call(std::move(path), frame.argument(2), frame.argument(3), frame);
}
ARIL_SYSCALL(322, execveat, sys_execveat, "fd path ptr ptr op");

}  // namespace
}  // namespace aril::linux_abi
