#include <algorithm>
#include <bit>
#include <memory>

#include "kernel/sched/timer.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/abi/time.hpp"
#include "linux/event/poller.hpp"
#include "linux/files/file_table.hpp"
#include "linux/process/process.hpp"

/// poll, ppoll, select, pselect6.
namespace aril::linux_abi {

namespace {

struct PollFd {
  int32_t fd;
  int16_t events;
  int16_t revents;
};

/// Reads a signal set that the application passes with its size.
Result<std::optional<SignalSet>> read_mask(UserPtr<SignalSet> mask, uint64_t size) {
  if (!mask) return std::nullopt;
  if (size != sizeof(SignalSet)) return fail(Errno::kInval);
  return std::optional(ARIL_TRY(mask.read()) & ~kUnblockableSignals);
}

/// When a wait of this length ends; if the call goes on after a signal that changed nothing, when
/// its first attempt would have.
Instant deadline_after(std::optional<Duration> timeout) {
  if (!timeout) return Instant::never();
  return current_task().restart_deadline.value_or(now() + *timeout);
}

/// [signal(7)]: these calls are never restarted after a handler.
template <typename T>
Result<T> restartable(Result<T> result, Instant deadline) {
  if (!result && result.error() == Errno::kRestart) {
    current_task().never_restart = true;
    if (deadline != Instant::never()) current_task().restart_deadline = deadline;
  }
  return result;
}

template <typename T>
Result<std::unique_ptr<T[]>> make_array(size_t count) {
  std::unique_ptr<T[]> array(new (std::nothrow) T[count]());
  if (array == nullptr) return fail(Errno::kNoMem);
  return array;
}

Result<int64_t> do_poll(UserPtr<PollFd> user_fds, uint32_t count, Instant deadline) {
  FileTable& files = current_process().files();
  if (count > static_cast<uint32_t>(files.limit())) return fail(Errno::kInval);
  constexpr size_t kOnStack = 16;
  PollFd fds_on_stack[kOnStack];
  PollRequest requests_on_stack[kOnStack];
  std::unique_ptr<PollFd[]> more_fds;
  std::unique_ptr<PollRequest[]> more_requests;
  std::span<PollFd> fds(fds_on_stack);
  std::span<PollRequest> requests(requests_on_stack);
  if (count > kOnStack) {
    more_fds = ARIL_TRY(make_array<PollFd>(count));
    more_requests = ARIL_TRY(make_array<PollRequest>(count));
    fds = {more_fds.get(), count};
    requests = {more_requests.get(), count};
  }
  fds = fds.first(count);
  requests = requests.first(count);
  ARIL_TRY(user_fds.read_array(fds));
  for (size_t i = 0; i < count; ++i) {
    if (fds[i].fd < 0) continue;
    auto file = files.get(fds[i].fd);
    if (!file) {
      requests[i].result = PollEvents::kNval;
      continue;
    }
    requests[i].file = std::move(*file);
    requests[i].wanted = static_cast<PollEvents>(static_cast<uint16_t>(fds[i].events));
  }
  auto ready = restartable(poll_files(requests, deadline), deadline);
  if (!ready) return fail(ready.error());
  for (size_t i = 0; i < count; ++i)
    fds[i].revents = static_cast<int16_t>(std::to_underlying(requests[i].result));
  ARIL_TRY(user_fds.write_array(fds));
  return static_cast<int64_t>(*ready);
}

Result<int64_t> sys_poll(UserPtr<PollFd> fds, uint32_t count, int timeout_ms) {
  std::optional<Duration> timeout;
  if (timeout_ms >= 0) timeout = Duration::milliseconds(timeout_ms);
  return do_poll(fds, count, deadline_after(timeout));
}
ARIL_SYSCALL(7, poll, sys_poll, "pollfds uint int");

/// The time that is left, for callers that are shown it; a fault there is ignored, as by Linux.
void write_remaining(UserPtr<Timespec> pointer, Instant deadline) {
  Duration left = deadline - now();
  (void)pointer.write(Timespec::from(std::max(left, Duration{})));
}

Result<int64_t> sys_ppoll(UserPtr<PollFd> fds, uint32_t count, UserPtr<Timespec> timeout,
                          UserPtr<SignalSet> mask, uint64_t mask_size) {
  std::optional<Duration> limit;
  if (timeout) limit = ARIL_TRY(read_timeout(timeout));
  TemporarySignalMask temporary(ARIL_TRY(read_mask(mask, mask_size)));
  Instant deadline = deadline_after(limit);
  auto result = do_poll(fds, count, deadline);
  if (timeout) write_remaining(timeout, deadline);
  return result;
}
ARIL_SYSCALL(271, ppoll, sys_ppoll, "pollfds uint timespec ptr size");

/// The three sets of select: bits read from and written back to the application's words.
class SelectSets {
 public:
  static constexpr size_t kSets = 3;

  static Result<SelectSets> read(int count, const UserPtr<uint64_t> (&sets)[kSets]) {
    SelectSets result;
    result.words_ = (static_cast<size_t>(count) + 63) / 64;
    result.bits_ = ARIL_TRY(make_array<uint64_t>(std::max<size_t>(1, result.words_ * kSets)));
    for (size_t i = 0; i < kSets; ++i) {
      result.users_[i] = sets[i];
      if (sets[i]) ARIL_TRY(sets[i].read_array(result.set(i)));
    }
    return result;
  }
  [[nodiscard]] bool test(size_t set_index, int fd) const {
    return (bits_[set_index * words_ + static_cast<size_t>(fd) / 64] >> (fd % 64) & 1) != 0;
  }
  void clear() { std::fill_n(bits_.get(), words_ * kSets, 0); }
  void add(size_t set_index, int fd) {
    bits_[set_index * words_ + static_cast<size_t>(fd) / 64] |= uint64_t{1} << (fd % 64);
  }
  Result<void> write() {
    for (size_t i = 0; i < kSets; ++i) {
      if (users_[i]) ARIL_TRY(users_[i].write_array(set(i)));
    }
    return {};
  }

 private:
  std::span<uint64_t> set(size_t index) { return {&bits_[index * words_], words_}; }
  std::unique_ptr<uint64_t[]> bits_;
  size_t words_ = 0;
  UserPtr<uint64_t> users_[kSets];
};

// POLLIN_SET, POLLOUT_SET, POLLEX_SET of Linux's fs/select.c.
constexpr PollEvents kSelectEvents[SelectSets::kSets] = {
    kReadable | PollEvents::kRdBand | PollEvents::kHup | PollEvents::kErr,
    kWritable | PollEvents::kWrBand | PollEvents::kErr,
    PollEvents::kPri,
};

Result<int64_t> do_select(int count, const UserPtr<uint64_t> (&sets)[SelectSets::kSets],
                          Instant deadline) {
  if (count < 0) return fail(Errno::kInval);
  FileTable& files = current_process().files();
  count = std::min(count, files.limit());
  SelectSets bits = ARIL_TRY(SelectSets::read(count, sets));
  auto requests_of = ARIL_TRY(make_array<PollRequest>(std::max(1, count)));
  std::span<PollRequest> requests(requests_of.get(), static_cast<size_t>(count));
  for (int fd = 0; fd < count; ++fd) {
    PollEvents wanted = PollEvents::kNone;
    for (size_t i = 0; i < SelectSets::kSets; ++i)
      if (bits.test(i, fd)) wanted |= kSelectEvents[i];
    if (wanted == PollEvents::kNone) continue;
    requests[static_cast<size_t>(fd)].file = ARIL_TRY(files.get(fd));
    requests[static_cast<size_t>(fd)].wanted = wanted;
  }
  auto ready = restartable(poll_files(requests, deadline), deadline);
  if (!ready) return fail(ready.error());
  SelectSets wanted = ARIL_TRY(SelectSets::read(count, sets));
  bits.clear();
  int64_t total = 0;
  for (int fd = 0; fd < count; ++fd) {
    PollEvents result = requests[static_cast<size_t>(fd)].result;
    for (size_t i = 0; i < SelectSets::kSets; ++i) {
      if (!wanted.test(i, fd) || !has(result, kSelectEvents[i])) continue;
      bits.add(i, fd);
      ++total;
    }
  }
  ARIL_TRY(bits.write());
  return total;
}

Result<int64_t> sys_select(int count, UserPtr<uint64_t> readable, UserPtr<uint64_t> writable,
                           UserPtr<uint64_t> exceptional, UserPtr<Timeval> timeout) {
  std::optional<Duration> limit;
  if (timeout) {
    Timeval value = ARIL_TRY(timeout.read());
    if (value.seconds < 0 || value.microseconds < 0) return fail(Errno::kInval);
    limit = value.duration();
  }
  Instant deadline = deadline_after(limit);
  auto result = do_select(count, {readable, writable, exceptional}, deadline);
  if (timeout) (void)timeout.write(Timeval::from(std::max(deadline - now(), Duration{})));
  return result;
}
ARIL_SYSCALL(23, select, sys_select, "int fdset fdset fdset ptr");

struct MaskAndSize {
  uint64_t mask;
  uint64_t size;
};

Result<int64_t> sys_pselect6(int count, UserPtr<uint64_t> readable, UserPtr<uint64_t> writable,
                             UserPtr<uint64_t> exceptional, UserPtr<Timespec> timeout,
                             UserPtr<MaskAndSize> mask) {
  std::optional<Duration> limit;
  if (timeout) limit = ARIL_TRY(read_timeout(timeout));
  MaskAndSize packed{};
  if (mask) packed = ARIL_TRY(mask.read());
  TemporarySignalMask temporary(ARIL_TRY(read_mask(UserPtr<SignalSet>(packed.mask), packed.size)));
  Instant deadline = deadline_after(limit);
  auto result = do_select(count, {readable, writable, exceptional}, deadline);
  if (timeout) write_remaining(timeout, deadline);
  return result;
}
ARIL_SYSCALL(270, pselect6, sys_pselect6, "int fdset fdset fdset timespec ptr");

}  // namespace

}  // namespace aril::linux_abi
