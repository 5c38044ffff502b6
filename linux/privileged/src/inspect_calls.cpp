#include <algorithm>
#include <array>

#include "linux/abi/syscall.hpp"
#include "linux/files/file_table.hpp"
#include "linux/files/io_vector.hpp"
#include "linux/process/fs_context.hpp"
#include "linux/process/process.hpp"

/// process_vm_readv, process_vm_writev, kcmp: looking into other processes.
namespace aril::linux_abi {
namespace {

/// As ptrace would allow it [ptrace(2), PTRACE_MODE_ATTACH_REALCREDS].
Result<RefPtr<Process>> inspected(int pid) {
  RefPtr<Task> task = process_table::find_task(pid);
  if (!task) return fail(Errno::kSrch);
  const Credentials& mine = current_task().credentials;
  const Credentials& theirs = task->credentials;
  bool same = mine.uid == theirs.uid && mine.uid == theirs.euid && mine.uid == theirs.suid &&
              mine.gid == theirs.gid && mine.gid == theirs.egid && mine.gid == theirs.sgid;
  constexpr auto kSysPtrace = static_cast<Capability>(19);
  if (!same && !mine.can(kSysPtrace)) return fail(Errno::kPerm);
  return RefPtr<Process>(&task->process());
}

bool allows(AddressSpace& space, uint64_t address, Protection wanted) {
  auto mapping = space.find_mapping(address);
  return mapping && has(mapping->protection, wanted);
}

/// Walks two vectors of segments side by side.
class Cursor {
 public:
  explicit Cursor(std::span<const IoBuffer::Segment> segments) : segments_(segments) { skip(); }
  [[nodiscard]] bool at_end() const { return segments_.empty(); }
  [[nodiscard]] uint64_t address() const { return segments_.front().address + used_; }
  [[nodiscard]] uint64_t length() const { return segments_.front().length - used_; }
  void advance(uint64_t count) {
    used_ += count;
    skip();
  }

 private:
  void skip() {
    while (!segments_.empty() && used_ == segments_.front().length) {
      segments_ = segments_.subspan(1);
      used_ = 0;
    }
  }
  std::span<const IoBuffer::Segment> segments_;
  uint64_t used_ = 0;
};

enum class Direction : uint8_t { kRead, kWrite };

/// One piece within a page of the other process.
Result<void> move_piece(AddressSpace& space, uint64_t local, uint64_t remote,
                        std::span<std::byte> bytes, Direction direction) {
  if (!is_user_range(remote, bytes.size())) return fail(Errno::kFault);
  if (direction == Direction::kRead) {
    if (!allows(space, remote, Protection::kRead)) return fail(Errno::kFault);
    ARIL_TRY(space.read_forced(remote, bytes));
    return copy_to_user(local, bytes);
  }
  if (!allows(space, remote, Protection::kWrite)) return fail(Errno::kFault);
  ARIL_TRY(copy_from_user(bytes, local));
  return space.write_forced(remote, bytes);
}

Result<int64_t> transfer(int pid, uint64_t local_vector, uint64_t local_count,
                         uint64_t remote_vector, uint64_t remote_count, uint64_t flags,
                         Direction direction) {
  if (flags != 0) return fail(Errno::kInval);
  IoVector local = ARIL_TRY(IoVector::read(local_vector, local_count));
  IoVector remote = ARIL_TRY(IoVector::read(remote_vector, remote_count));
  RefPtr<Process> process = ARIL_TRY(inspected(pid));
  RefPtr<AddressSpace> space = process->find_address_space();
  if (!space) return fail(Errno::kSrch);
  Cursor near(local.segments()), far(remote.segments());
  std::array<std::byte, 1024> piece;
  int64_t total = 0;
  while (!near.at_end() && !far.at_end()) {
    uint64_t count = std::min({near.length(), far.length(), uint64_t{piece.size()},
                               kPageSize - far.address() % kPageSize});
    auto moved =
        move_piece(*space, near.address(), far.address(), std::span(piece).first(count), direction);
    if (!moved) {
      if (total != 0) return total;
      return fail(moved.error());
    }
    total += static_cast<int64_t>(count);
    near.advance(count);
    far.advance(count);
  }
  return total;
}

Result<int64_t> sys_process_vm_readv(int pid, uint64_t local, uint64_t local_count, uint64_t remote,
                                     uint64_t remote_count, uint64_t flags) {
  return transfer(pid, local, local_count, remote, remote_count, flags, Direction::kRead);
}
ARIL_SYSCALL(310, process_vm_readv, sys_process_vm_readv, "pid iovec size ptr size hex");
Result<int64_t> sys_process_vm_writev(int pid, uint64_t local, uint64_t local_count,
                                      uint64_t remote, uint64_t remote_count, uint64_t flags) {
  return transfer(pid, local, local_count, remote, remote_count, flags, Direction::kWrite);
}
ARIL_SYSCALL(311, process_vm_writev, sys_process_vm_writev, "pid iovec size ptr size hex");

/// [kcmp(2)] 0: the same; 1 and 2 are an order that is stable.
int64_t compare(const void* a, const void* b) {
  auto left = reinterpret_cast<uintptr_t>(a), right = reinterpret_cast<uintptr_t>(b);
  return left == right ? 0 : left < right ? 1 : 2;
}

Result<RefPtr<File>> file_in(Process& process, uint64_t fd) {
  RefPtr<FileTable> files = process.find_files();
  if (!files || fd > INT32_MAX) return fail(Errno::kBadF);
  return files->get(static_cast<int>(fd));
}

Result<int64_t> sys_kcmp(int pid1, int pid2, int type, uint64_t index1, uint64_t index2) {
  enum Type : int { kFile, kMemory, kFiles, kFs, kSignalHandlers, kIo, kSemaphores };
  if (type < 0 || type > kSemaphores) return fail(Errno::kInval);
  RefPtr<Process> first = ARIL_TRY(inspected(pid1)), second = ARIL_TRY(inspected(pid2));
  switch (type) {
    case kFile: {
      RefPtr<File> a = ARIL_TRY(file_in(*first, index1)), b = ARIL_TRY(file_in(*second, index2));
      return compare(a.get(), b.get());
    }
    case kMemory:
      return compare(first->find_address_space().get(), second->find_address_space().get());
    case kFiles:
      return compare(first->find_files().get(), second->find_files().get());
    case kFs:
      return compare(first->find_fs().get(), second->find_fs().get());
    case kSignalHandlers:
      return compare(first.get(), second.get());
    case kSemaphores:
      // Processes that have nothing to undo share that.
      return compare(first->semaphore_undo.get(), second->semaphore_undo.get());
    default:
      return 0;  // nobody has an I/O context
  }
}
ARIL_SYSCALL(312, kcmp, sys_kcmp, "pid pid int hex hex");

}  // namespace
}  // namespace aril::linux_abi
