#include <algorithm>
#include <limits>

#include "kernel/sched/timer.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/abi/time.hpp"
#include "linux/event/epoll.hpp"
#include "linux/files/file_table.hpp"
#include "linux/process/process.hpp"

/// epoll_create, epoll_create1, epoll_ctl, epoll_wait, epoll_pwait, epoll_pwait2.
namespace aril::linux_abi {

namespace {

Result<int> sys_epoll_create1(uint32_t raw_flags) {
  auto flags = static_cast<OpenFlags>(raw_flags);
  if (has(flags, ~OpenFlags::kCloseOnExec)) return fail(Errno::kInval);
  auto epoll = ARIL_TRY(Epoll::create({}));
  return current_process().files().install(
      std::move(epoll), has(flags, OpenFlags::kCloseOnExec) ? CloseOnExec::kYes : CloseOnExec::kNo);
}
ARIL_SYSCALL(291, epoll_create1, sys_epoll_create1, "oflags");

Result<int> sys_epoll_create(int size) {
  if (size <= 0) return fail(Errno::kInval);
  return sys_epoll_create1(0);
}
ARIL_SYSCALL(213, epoll_create, sys_epoll_create, "int");

enum class EpollOperation : int { kAdd = 1, kRemove = 2, kModify = 3 };

Result<void> sys_epoll_ctl(int epoll_fd, EpollOperation operation, int fd,
                           UserPtr<EpollEvent> user_event) {
  EpollEvent event{};
  if (operation != EpollOperation::kRemove) event = ARIL_TRY(user_event.read());
  FileTable& files = current_process().files();
  RefPtr<File> epoll_file = ARIL_TRY(files.get(epoll_fd));
  RefPtr<File> file = ARIL_TRY(files.get(fd));
  if (!file->is_pollable()) return fail(Errno::kPerm);
  Epoll* epoll = as_epoll(*epoll_file);
  if (epoll == nullptr || file == epoll_file) return fail(Errno::kInval);
  switch (operation) {
    case EpollOperation::kAdd:
      return epoll->add(*file, fd, event);
    case EpollOperation::kRemove:
      return epoll->remove(*file, fd);
    case EpollOperation::kModify:
      return epoll->modify(*file, fd, event);
  }
  return fail(Errno::kInval);
}
ARIL_SYSCALL(233, epoll_ctl, sys_epoll_ctl, "fd int fd ptr");

Result<int64_t> do_epoll_wait(int epoll_fd, UserPtr<EpollEvent> events, int limit,
                              Instant deadline) {
  if (limit <= 0 ||
      static_cast<size_t>(limit) > std::numeric_limits<int>::max() / sizeof(EpollEvent))
    return fail(Errno::kInval);
  RefPtr<File> file = ARIL_TRY(current_process().files().get(epoll_fd));
  Epoll* epoll = as_epoll(*file);
  if (epoll == nullptr) return fail(Errno::kInval);

  // Enough for most batches without the heap; a longer list is answered in part, and what is left
  // stays ready for the next call.
  EpollEvent batch[128];
  auto out = std::span(batch).first(std::min<size_t>(std::size(batch), static_cast<size_t>(limit)));
  auto count = epoll->wait(out, deadline);
  if (!count) return fail(count.error() == Errno::kRestart ? Errno::kIntr : count.error());
  ARIL_TRY(events.write_array(out.first(*count)));
  return static_cast<int64_t>(*count);
}

Instant deadline_of(int timeout_ms) {
  if (timeout_ms < 0) return Instant::never();
  return timeout_ms == 0 ? Instant{} : now() + Duration::milliseconds(timeout_ms);
}

Result<int64_t> sys_epoll_wait(int epoll_fd, UserPtr<EpollEvent> events, int limit,
                               int timeout_ms) {
  return do_epoll_wait(epoll_fd, events, limit, deadline_of(timeout_ms));
}
ARIL_SYSCALL(232, epoll_wait, sys_epoll_wait, "fd ptr int int");

Result<std::optional<SignalSet>> read_mask(UserPtr<SignalSet> mask, uint64_t size) {
  if (!mask) return std::nullopt;
  if (size != sizeof(SignalSet)) return fail(Errno::kInval);
  return std::optional(ARIL_TRY(mask.read()) & ~kUnblockableSignals);
}

Result<int64_t> sys_epoll_pwait(int epoll_fd, UserPtr<EpollEvent> events, int limit, int timeout_ms,
                                UserPtr<SignalSet> mask, uint64_t mask_size) {
  TemporarySignalMask temporary(ARIL_TRY(read_mask(mask, mask_size)));
  return do_epoll_wait(epoll_fd, events, limit, deadline_of(timeout_ms));
}
ARIL_SYSCALL(281, epoll_pwait, sys_epoll_pwait, "fd ptr int int ptr size");

Result<int64_t> sys_epoll_pwait2(int epoll_fd, UserPtr<EpollEvent> events, int limit,
                                 UserPtr<Timespec> timeout, UserPtr<SignalSet> mask,
                                 uint64_t mask_size) {
  Instant deadline = Instant::never();
  if (timeout) deadline = now() + ARIL_TRY(read_timeout(timeout));
  TemporarySignalMask temporary(ARIL_TRY(read_mask(mask, mask_size)));
  return do_epoll_wait(epoll_fd, events, limit, deadline);
}
ARIL_SYSCALL(441, epoll_pwait2, sys_epoll_pwait2, "fd ptr int timespec ptr size");

}  // namespace

}  // namespace aril::linux_abi
