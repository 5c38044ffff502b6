#include "base/image_use.hpp"
#include "file_calls.hpp"
#include "linux/abi/ioctl.hpp"
#include "linux/pipe/pipe.hpp"

/// dup, dup2, dup3, fcntl, ioctl.
namespace aril::linux_abi {

Result<int64_t> fcntl_lock(int fd, int command, uint64_t argument);  // lock_calls.cpp

namespace {

Result<int> sys_dup(int fd) { return files().install(ARIL_TRY(file_of(fd)), CloseOnExec::kNo); }
ARIL_SYSCALL(32, dup, sys_dup, "fd");

Result<int> sys_dup3(int old_fd, int new_fd, uint32_t raw_flags) {
  auto flags = static_cast<OpenFlags>(raw_flags);
  if (has(flags, ~OpenFlags::kCloseOnExec) || old_fd == new_fd) return fail(Errno::kInval);
  return files().install_at(
      new_fd, ARIL_TRY(file_of(old_fd)),
      has(flags, OpenFlags::kCloseOnExec) ? CloseOnExec::kYes : CloseOnExec::kNo);
}
ARIL_SYSCALL(292, dup3, sys_dup3, "fd fd oflags");

Result<int> sys_dup2(int old_fd, int new_fd) {
  if (old_fd == new_fd) {
    ARIL_TRY(file_of(old_fd));
    return new_fd;
  }
  return sys_dup3(old_fd, new_fd, 0);
}
ARIL_SYSCALL(33, dup2, sys_dup2, "fd fd");

/// F_* [asm-generic/fcntl.h, linux/fcntl.h].
enum Fcntl : int {
  kDupFd = 0,
  kGetFd = 1,
  kSetFd = 2,
  kGetFl = 3,
  kSetFl = 4,
  kGetLk = 5,
  kSetLk = 6,
  kSetLkW = 7,
  kSetOwn = 8,
  kGetOwn = 9,
  kSetSig = 10,
  kGetSig = 11,
  kSetOwnEx = 15,
  kGetOwnEx = 16,
  kOfdGetLk = 36,
  kOfdSetLk = 37,
  kOfdSetLkW = 38,
  kGetLease = 1025,
  kDupFdCloseOnExec = 1030,
  kSetPipeSize = 1031,
  kGetPipeSize = 1032,
  kAddSeals = 1033,
  kGetSeals = 1034,
};

Result<int64_t> duplicate(int fd, uint64_t minimum, CloseOnExec close_on_exec) {
  RefPtr<File> file = ARIL_TRY(file_of(fd));
  if (minimum >= static_cast<uint64_t>(files().limit())) return fail(Errno::kInval);
  return ARIL_TRY(files().install(std::move(file), close_on_exec, static_cast<int>(minimum)));
}

Result<int64_t> set_status_flags(File& file, uint64_t argument) {
  constexpr OpenFlags kChangeable = OpenFlags::kAppend | OpenFlags::kNonBlock | OpenFlags::kAsync |
                                    OpenFlags::kDirect | OpenFlags::kNoAtime;
  auto wanted = static_cast<OpenFlags>(argument);
  ARIL_TRY(file.set_flags((file.flags() & ~kChangeable) | (wanted & kChangeable)));
  return 0;
}

Result<int64_t> pipe_size(File& file, int command, uint64_t argument) {
  Pipe* pipe = as_pipe(file);
  if (pipe == nullptr) return fail(Errno::kBadF);
  if (command == kGetPipeSize) return static_cast<int64_t>(pipe->capacity());
  return static_cast<int64_t>(ARIL_TRY(pipe->set_capacity(argument)));
}

Result<int64_t> file_seals(File& file, int command, uint64_t argument) {
  vfs::NodeFile* node = vfs::as_node_file(file);
  if (node == nullptr) return fail(Errno::kInval);
  if (command == kGetSeals) return ARIL_TRY(node->inode().seals());
  if (!file.is_writable()) return fail(Errno::kPerm);
  ARIL_TRY(node->inode().add_seals(static_cast<uint32_t>(argument)));
  return 0;
}

Result<int64_t> sys_fcntl(int fd, int command, uint64_t argument) {
  RefPtr<File> file = ARIL_TRY(file_of(fd));
  switch (command) {
    case kDupFd:
      return duplicate(fd, argument, CloseOnExec::kNo);
    case kDupFdCloseOnExec:
      return duplicate(fd, argument, CloseOnExec::kYes);
    case kGetFd:
      return ARIL_TRY(files().close_on_exec(fd)) == CloseOnExec::kYes ? 1 : 0;
    case kSetFd:
      ARIL_TRY(files().set_close_on_exec(
          fd, (argument & 1) != 0 ? CloseOnExec::kYes : CloseOnExec::kNo));
      return 0;
    case kGetFl:
      return static_cast<int64_t>(std::to_underlying(file->flags() & ~OpenFlags::kNoCtty));
    default:
      break;
  }
  if (has(file->flags(), OpenFlags::kPath)) return fail(Errno::kBadF);
  switch (command) {
    case kSetFl:
      return set_status_flags(*file, argument);
    case kGetLk:
    case kSetLk:
    case kSetLkW:
    case kOfdGetLk:
    case kOfdSetLk:
    case kOfdSetLkW:
      if (!ARIL_HAS_USE(record_locks)) return fail(Errno::kNoSys);
      return fcntl_lock(fd, command, argument);
    // Nobody is sent SIGIO: readiness is told by poll and epoll.
    case kSetOwn:
    case kSetSig:
    case kSetOwnEx:
    case kGetOwn:
    case kGetSig:
      return 0;
    case kGetLease:
      return 2;  // F_UNLCK
    case kSetPipeSize:
    case kGetPipeSize:
      return pipe_size(*file, command, argument);
    case kAddSeals:
    case kGetSeals:
      return file_seals(*file, command, argument);
    default:
      return fail(Errno::kInval);
  }
}
ARIL_SYSCALL(72, fcntl, sys_fcntl, "fd op hex");

Result<int64_t> sys_ioctl(int fd, uint32_t request, uint64_t argument) {
  RefPtr<File> file = ARIL_TRY(usable_file_of(fd));
  switch (request) {
    case FIOCLEX:
      ARIL_TRY(files().set_close_on_exec(fd, CloseOnExec::kYes));
      return 0;
    case FIONCLEX:
      ARIL_TRY(files().set_close_on_exec(fd, CloseOnExec::kNo));
      return 0;
    case FIONBIO: {
      bool on = ARIL_TRY(UserPtr<int32_t>(argument).read()) != 0;
      OpenFlags flags = file->flags() & ~OpenFlags::kNonBlock;
      ARIL_TRY(file->set_flags(on ? flags | OpenFlags::kNonBlock : flags));
      return 0;
    }
    case FIOASYNC:
    case FIOSETOWN:
    case SIOCSPGRP:
      ARIL_TRY(UserPtr<int32_t>(argument).read());
      return 0;
    case FIONREAD: {
      if (vfs::as_node_file(*file) == nullptr) break;
      FileStatus status = ARIL_TRY(file->status());
      if ((status.mode & vfs::mode::kTypeMask) != vfs::mode::kRegular) break;
      uint64_t position = ARIL_TRY(file->seek(0, SeekOrigin::kCurrent));
      int64_t left = static_cast<int64_t>(status.size) - static_cast<int64_t>(position);
      ARIL_TRY(UserPtr<int32_t>(argument).write(static_cast<int32_t>(left)));
      return 0;
    }
    default:
      break;
  }
  return file->ioctl(request, argument);
}
ARIL_SYSCALL(16, ioctl, sys_ioctl, "fd hex hex");

}  // namespace

}  // namespace aril::linux_abi
