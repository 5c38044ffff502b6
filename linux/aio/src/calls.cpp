#include <algorithm>
#include <array>
#include <climits>

#include "kernel/io/file.hpp"
#include "kernel/sched/wait_queue.hpp"
#include "kernel/vm/io_buffer.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/abi/time.hpp"
#include "linux/entry/dispatch.hpp"
#include "linux/event/event_fd.hpp"
#include "linux/files/file_table.hpp"
#include "linux/process/process.hpp"
#include "ring.hpp"

/// io_setup and its family [io_setup(2), io_submit(2), io_getevents(2)].
namespace aril::linux_abi::aio {
namespace {

/// struct iocb [linux/aio_abi.h].
struct Request {
  uint64_t data;
  uint32_t key, transfer_flags;
  uint16_t operation;
  int16_t priority;
  uint32_t fd;
  uint64_t buffer, length;
  int64_t offset;
  uint64_t reserved;
  uint32_t flags, event_fd;
};
static_assert(sizeof(Request) == 64);

// IOCB_CMD_*, IOCB_FLAG_*.
constexpr uint16_t kRead = 0, kWrite = 1, kSync = 2, kDataSync = 3, kReadVector = 7,
                   kWriteVector = 8;
constexpr uint32_t kNotifyEventFd = 1, kHasPriority = 2;
/// /proc/sys/fs/aio-max-nr of a Linux that nobody has configured.
constexpr uint32_t kMostEvents = 65536;
constexpr uint32_t kMostBytes = 0x10000000;

/// Woken when a request has ended; the waiters look whether it was theirs.
[[clang::no_destroy]] constinit WaitQueue completed;

struct SystemCall {
  uint32_t number;
  /// For a file without positions, which asynchronous I/O takes as it comes.
  uint32_t number_without_offset;
};

Result<SystemCall> system_call_of(uint16_t operation) {
  switch (operation) {
    case kRead:
      return SystemCall{17, 0};
    case kWrite:
      return SystemCall{18, 1};
    case kReadVector:
      return SystemCall{295, 19};
    case kWriteVector:
      return SystemCall{296, 20};
    case kSync:
      return SystemCall{74, 74};
    case kDataSync:
      return SystemCall{75, 75};
    default:
      return fail(Errno::kInval);
  }
}

/// The eventfd that is to be told, if any.
Result<RefPtr<File>> event_fd_of(const Request& request) {
  if ((request.flags & kNotifyEventFd) == 0) return RefPtr<File>();
  RefPtr<File> file = ARIL_TRY(current_process().files().get(static_cast<int>(request.event_fd)));
  if (!is_event_fd(*file)) return fail(Errno::kInval);
  return file;
}

int64_t carry_out(const Request& request, const SystemCall& call) {
  const uint64_t arguments[] = {request.fd, request.buffer, request.length,
                                static_cast<uint64_t>(request.offset)};
  int64_t result = call_system_call(call.number, arguments);
  if (result == -static_cast<int64_t>(Errno::kSPipe))
    result = call_system_call(call.number_without_offset, std::span(arguments).first(3));
  // A request is not made again after a signal.
  if (result == -static_cast<int64_t>(Errno::kRestart))
    result = -static_cast<int64_t>(Errno::kIntr);
  return result;
}

void tell(File& event_fd) {
  uint64_t one = 1;
  IoBuffer::Segment segment;
  IoBuffer buffer = IoBuffer::kernel(segment, std::as_writable_bytes(std::span(&one, 1)));
  (void)event_fd.write(buffer);
}

/// An error here is io_submit's; one of the operation itself goes into the event.
Result<void> submit_one(Ring& ring, UserPtr<Request> place) {
  Request request = ARIL_TRY(place.read());
  if (request.reserved != 0 || request.length > SSIZE_MAX ||
      (request.flags & ~(kNotifyEventFd | kHasPriority)) != 0)
    return fail(Errno::kInval);
  if (request.transfer_flags != 0) return fail(Errno::kOpNotSupp);
  ARIL_TRY(current_process().files().get(static_cast<int>(request.fd)));
  RefPtr<File> event_fd = ARIL_TRY(event_fd_of(request));
  SystemCall call = ARIL_TRY(system_call_of(request.operation));
  if (ARIL_TRY(ring.room()) == 0) return fail(Errno::kAgain);
  ARIL_TRY(UserPtr<uint32_t>(place.address() + offsetof(Request, key)).write(0));
  int64_t result = carry_out(request, call);
  ARIL_TRY(ring.post(
      {.data = request.data, .request = place.address(), .result = result, .result2 = 0}));
  if (event_fd) tell(*event_fd);
  completed.wake_all();
  return {};
}

Result<void> sys_io_setup(uint32_t events, UserPtr<uint64_t> context) {
  if (ARIL_TRY(context.read()) != 0 || events == 0 || events > kMostBytes / sizeof(Event))
    return fail(Errno::kInval);
  if (events > kMostEvents) return fail(Errno::kAgain);
  Ring ring = ARIL_TRY(Ring::create(events));
  Result<void> told = context.write(ring.address());
  if (!told) (void)ring.destroy();
  return told;
}
ARIL_SYSCALL(206, io_setup, sys_io_setup, "uint ptr");

Result<void> sys_io_destroy(uint64_t context) { return ARIL_TRY(Ring::find(context)).destroy(); }
ARIL_SYSCALL(207, io_destroy, sys_io_destroy, "hex");

Result<int64_t> sys_io_submit(uint64_t context, int64_t count, UserPtr<uint64_t> requests) {
  if (count < 0) return fail(Errno::kInval);
  Ring ring = ARIL_TRY(Ring::find(context));
  count = std::min<int64_t>(count, kMostEvents);
  for (int64_t i = 0; i < count; ++i) {
    Result<uint64_t> place = (requests + static_cast<size_t>(i)).read();
    Result<void> done = place ? submit_one(ring, UserPtr<Request>(*place)) : fail(place.error());
    // Those before it were taken.
    if (!done && i != 0) return i;
    ARIL_TRY(done);
  }
  return count;
}
ARIL_SYSCALL(209, io_submit, sys_io_submit, "hex int ptr");

// Every request has ended by the time that its submission returns.
Result<int64_t> sys_io_cancel(uint64_t context, UserPtr<Request> request, uint64_t) {
  ARIL_TRY(request.read());
  ARIL_TRY(Ring::find(context));
  return fail(Errno::kInval);
}
ARIL_SYSCALL(210, io_cancel, sys_io_cancel, "hex ptr ptr");

Result<int64_t> get_events(uint64_t context, int64_t least, int64_t most, UserPtr<Event> out,
                           Instant deadline) {
  if (least < 0 || most < least) return fail(Errno::kInval);
  Ring ring = ARIL_TRY(Ring::find(context));
  int64_t total = 0;
  Result<void> outcome;
  auto collect = [&] {
    std::array<Event, 16> events;
    while (total < most) {
      size_t wanted = std::min<size_t>(events.size(), static_cast<size_t>(most - total));
      Result<size_t> taken = ring.take(std::span(events).first(wanted));
      if (taken && *taken != 0)
        outcome = (out + static_cast<size_t>(total)).write_array(std::span(events).first(*taken));
      if (!taken) outcome = fail(taken.error());
      if (!outcome) return true;
      if (*taken == 0) break;
      total += static_cast<int64_t>(*taken);
    }
    return total >= least;
  };
  if (!collect()) {
    Result<void> waited = completed.wait_until(collect, deadline);
    if (!waited && waited.error() != Errno::kTimedOut && total == 0)
      return fail(waited.error() == Errno::kRestart ? Errno::kIntr : waited.error());
  }
  if (!outcome && total == 0) return fail(outcome.error());
  return total;
}

Result<Instant> read_deadline(UserPtr<Timespec> timeout) {
  if (!timeout) return Instant::never();
  Timespec time = ARIL_TRY(timeout.read());
  if (!time.is_valid()) return fail(Errno::kInval);
  return now() + time.duration();
}

Result<int64_t> sys_io_getevents(uint64_t context, int64_t least, int64_t most, UserPtr<Event> out,
                                 UserPtr<Timespec> timeout) {
  return get_events(context, least, most, out, ARIL_TRY(read_deadline(timeout)));
}
ARIL_SYSCALL(208, io_getevents, sys_io_getevents, "hex int int >ptr timespec");

/// struct __aio_sigset.
struct MaskArgument {
  uint64_t mask, size;
};

Result<int64_t> sys_io_pgetevents(uint64_t context, int64_t least, int64_t most, UserPtr<Event> out,
                                  UserPtr<Timespec> timeout, UserPtr<MaskArgument> signals) {
  Instant deadline = ARIL_TRY(read_deadline(timeout));
  std::optional<SignalSet> mask;
  if (signals) {
    MaskArgument argument = ARIL_TRY(signals.read());
    if (argument.mask != 0) {
      if (argument.size != sizeof(SignalSet)) return fail(Errno::kInval);
      mask = ARIL_TRY(UserPtr<SignalSet>(argument.mask).read());
    }
  }
  TemporarySignalMask temporary(mask);
  return get_events(context, least, most, out, deadline);
}
ARIL_SYSCALL(333, io_pgetevents, sys_io_pgetevents, "hex int int >ptr timespec ptr");

}  // namespace
}  // namespace aril::linux_abi::aio
