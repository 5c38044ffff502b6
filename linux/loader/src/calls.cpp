#include "fs/vfs/open_file.hpp"
#include "fs/vfs/operations.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/files/file_table.hpp"
#include "linux/loader/exec.hpp"
#include "linux/process/fs_context.hpp"
#include "linux/process/process.hpp"

namespace aril::linux_abi {
namespace {

constexpr int kCurrentDirectory = -100;                             // AT_FDCWD
constexpr uint64_t kNoFollowFlag = 0x100, kEmptyPathFlag = 0x1000;  // AT_*

Result<void> execute_call(ExecRequest request, uint64_t arguments, uint64_t environment,
                          arch::TrapFrame& frame) {
  ARIL_TRY(request.arguments.append_vector(arguments));
  ARIL_TRY(request.environment.append_vector(environment));
  auto done = execute(std::move(request), frame);
  if (!done) return fail(done.error().error);
  return {};
}

Result<void> sys_execve(arch::TrapFrame& frame) {
  ExecRequest request;
  request.path = ARIL_TRY(string_from_user(frame.argument(0)));
  return execute_call(std::move(request), frame.argument(1), frame.argument(2), frame);
}
ARIL_SYSCALL(59, execve, sys_execve, "path ptr ptr");

Result<void> sys_execveat(arch::TrapFrame& frame) {
  auto directory = static_cast<int>(frame.argument(0));
  uint64_t flags = frame.argument(4);
  if ((flags & ~(kNoFollowFlag | kEmptyPathFlag)) != 0) return fail(Errno::kInval);
  ExecRequest request;
  request.path = ARIL_TRY(string_from_user(frame.argument(1)));
  request.no_follow = (flags & kNoFollowFlag) != 0;
  bool is_absolute = request.path.starts_with('/');
  if (directory != kCurrentDirectory && !is_absolute) {
    RefPtr<File> file = ARIL_TRY(current_process().files().get(directory));
    std::string name = "/dev/fd/" + std::to_string(directory);
    if (request.path.empty()) {
      if ((flags & kEmptyPathFlag) == 0) return fail(Errno::kNoEnt);
      request.file = std::move(file);
      request.path = std::move(name);
    } else {
      const vfs::Path* start = vfs::path_of(*file);
      if (start == nullptr) return fail(Errno::kNotDir);
      request.start = *start;
    }
  }
  return execute_call(std::move(request), frame.argument(2), frame.argument(3), frame);
}
ARIL_SYSCALL(322, execveat, sys_execveat, "fd path ptr ptr op");

}  // namespace
}  // namespace aril::linux_abi
