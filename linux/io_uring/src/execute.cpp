#include <limits>

#include "fs/vfs/open_file.hpp"
#include "kernel/memory/page_allocator.hpp"
#include "linux/abi/time.hpp"
#include "linux/entry/dispatch.hpp"
#include "ring.hpp"

/// What each operation does. Those that name files by path, and those that are a system call with
/// other words, are that system call; those on an open file work on the file that the entry named
/// when it was submitted.
namespace aril::linux_abi::io_uring {

namespace {

constexpr uint32_t kRwfDataSync = 2, kRwfSync = 4, kRwfNoWait = 8, kRwfAppend = 16;
constexpr uint64_t kCurrentPosition = ~uint64_t{0};

Outcome must_wait() { return {.kind = Outcome::Kind::kMustWait}; }

Outcome outcome_of(const Result<void>& result) {
  if (result) return Outcome::done(0);
  if (result.error() == Errno::kRestart || result.error() == Errno::kIntr) return must_wait();
  return Outcome::failed(result.error());
}

Outcome by_system_call(uint32_t number, std::initializer_list<uint64_t> arguments) {
  int64_t result = call_system_call(number, arguments);
  if (result == -static_cast<int64_t>(Errno::kRestart) ||
      result == -static_cast<int64_t>(Errno::kIntr))
    return must_wait();
  // An image without the component of that call does not have the operation either.
  if (result == -static_cast<int64_t>(Errno::kNoSys)) return Outcome::failed(Errno::kInval);
  return Outcome::done(result);
}

uint64_t signed_argument(int32_t value) {
  return static_cast<uint64_t>(static_cast<int64_t>(value));
}

/// Whether a read at `offset` would be served from memory.
bool is_cached(File& file, uint64_t offset, uint64_t length) {
  constexpr uint64_t kPagesToLookAt = 64;
  if (vfs::as_node_file(file) == nullptr || length == 0) return true;
  auto object = file.memory_object();
  if (!object) return true;
  auto status = file.status();
  if (!status || offset >= status->size) return true;
  length = std::min(length, status->size - offset);
  uint64_t first = offset >> kPageShift, last = (offset + length - 1) >> kPageShift;
  if (last - first >= kPagesToLookAt) return false;
  for (uint64_t index = first; index <= last; ++index)
    if (!(*object)->resident_page(index)) return false;
  return true;
}

bool is_first_attempt(const Request& request) { return request.state == Request::State::kIssuing; }

Outcome finish_transfer(const Request& request, const Result<size_t>& moved) {
  if (moved) return Outcome::done(static_cast<int64_t>(*moved));
  // O_NONBLOCK alone does not keep an operation from waiting for a file that can be polled.
  bool no_wait = (request.entry.operation_flags & kRwfNoWait) != 0;
  bool would_wait = moved.error() == Errno::kRestart || moved.error() == Errno::kIntr ||
                    moved.error() == Errno::kAgain;
  if (!would_wait) return Outcome::failed(moved.error());
  return no_wait ? Outcome::failed(Errno::kAgain) : must_wait();
}

Outcome read(Request& request) {
  File& file = *request.file;
  if (!file.is_readable()) return Outcome::failed(Errno::kBadF);
  IoBuffer buffer = request.vector.buffer();
  uint64_t offset = request.entry.offset;
  bool is_stream = file.is_pollable();
  if (is_stream) return finish_transfer(request, file.read(buffer));
  if (offset != kCurrentPosition && offset > std::numeric_limits<int64_t>::max())
    return Outcome::failed(Errno::kInval);
  if (is_first_attempt(request) && offset != kCurrentPosition &&
      !is_cached(file, offset, buffer.remaining()))
    return (request.entry.operation_flags & kRwfNoWait) != 0 ? Outcome::failed(Errno::kAgain)
                                                             : must_wait();
  return finish_transfer(
      request, offset == kCurrentPosition ? file.read(buffer) : file.read_at(buffer, offset));
}

Outcome write(Request& request) {
  File& file = *request.file;
  if (!file.is_writable()) return Outcome::failed(Errno::kBadF);
  IoBuffer buffer = request.vector.buffer();
  uint64_t offset = request.entry.offset;
  if (file.is_pollable()) return finish_transfer(request, file.write(buffer));
  if (offset != kCurrentPosition && offset > std::numeric_limits<int64_t>::max())
    return Outcome::failed(Errno::kInval);
  uint32_t flags = request.entry.operation_flags;
  bool syncs = (flags & (kRwfDataSync | kRwfSync)) != 0;
  if (syncs && is_first_attempt(request)) return must_wait();
  Result<size_t> written = 0;
  if ((flags & kRwfAppend) != 0) {
    auto status = file.status();
    if (!status) return Outcome::failed(status.error());
    written = file.write_at(buffer, status->size);
  } else {
    written = offset == kCurrentPosition ? file.write(buffer) : file.write_at(buffer, offset);
  }
  if (written && syncs) {
    if (auto synced = file.sync(); !synced) return Outcome::failed(synced.error());
  }
  return finish_transfer(request, written);
}

/// sqe->rw_flags.
Outcome transfer(Request& request, bool writes) {
  constexpr uint32_t kKnown = 1 | kRwfDataSync | kRwfSync | kRwfNoWait | kRwfAppend;
  if ((request.entry.operation_flags & ~kKnown) != 0) return Outcome::failed(Errno::kOpNotSupp);
  return writes ? write(request) : read(request);
}

Outcome sync_file(Request& request) {
  constexpr uint32_t kDataOnly = 1;
  if ((request.entry.operation_flags & ~kDataOnly) != 0) return Outcome::failed(Errno::kInval);
  if (is_first_attempt(request)) return must_wait();
  return outcome_of(request.file->sync());
}

Outcome allocate(Request& request) {
  const Submission& entry = request.entry;
  auto offset = static_cast<int64_t>(entry.offset), length = static_cast<int64_t>(entry.address);
  if (offset < 0 || length <= 0) return Outcome::failed(Errno::kInval);
  if (!request.file->is_writable()) return Outcome::failed(Errno::kBadF);
  vfs::NodeFile* node = vfs::as_node_file(*request.file);
  if (node == nullptr)
    return Outcome::failed(request.file->is_pollable() ? Errno::kSPipe : Errno::kNoDev);
  return outcome_of(node->allocate(entry.length, entry.offset, entry.address));
}

Outcome poll(Request& request) {
  constexpr uint32_t kAlways =
      std::to_underlying(PollEvents::kErr | PollEvents::kHup | PollEvents::kNval);
  auto wanted = static_cast<PollEvents>(request.entry.operation_flags | kAlways);
  PollEvents events = request.file->poll(nullptr) & wanted;
  if (events == PollEvents::kNone) return must_wait();
  return Outcome::done(std::to_underlying(events));
}

/// A descriptor that a call has just installed moves to the table of registered files.
Outcome make_direct(Ring& ring, Outcome outcome, uint32_t file_index) {
  if (file_index == 0 || outcome.kind != Outcome::Kind::kDone || outcome.result < 0) return outcome;
  FileTable& files = current_process().files();
  auto file = files.get(outcome.result);
  (void)files.close(outcome.result);
  if (!file) return Outcome::failed(file.error());
  uint32_t slot = file_index == kFileIndexAlloc ? kFileIndexAlloc : file_index - 1;
  auto installed = ring.install_file(std::move(*file), slot);
  if (!installed) return Outcome::failed(installed.error());
  return Outcome::done(file_index == kFileIndexAlloc ? *installed : 0);
}

Outcome close_descriptor(Request& request) {
  const Submission& entry = request.entry;
  if (entry.file_index != 0) {
    if (entry.fd != 0) return Outcome::failed(Errno::kInval);
    return outcome_of(request.ring->remove_file(entry.file_index - 1));
  }
  auto file = current_process().files().get(entry.fd);
  // As close(2) of the ring through itself would have it.
  if (file && as_ring_file(**file) != nullptr) return Outcome::failed(Errno::kBadF);
  return outcome_of(current_process().files().close(entry.fd));
}

/// Between a pipe and an offset of a file, through a page. What a pipe gave is always written: such
/// a file does not keep anybody waiting.
Outcome splice_at(Request& request, File& in, File& out) {
  const Submission& entry = request.entry;
  auto page = page_allocator::allocate(page_allocator::Fill::kNone);
  if (!page) return Outcome::failed(page.error());
  uint64_t moved = 0;
  Result<size_t> last = 0;
  while (moved < entry.length) {
    auto bytes = (*page)->bytes().first(std::min<uint64_t>(kPageSize, entry.length - moved));
    IoBuffer::Segment segment;
    IoBuffer target = IoBuffer::kernel(segment, bytes);
    last = entry.address != kCurrentPosition ? in.read_at(target, entry.address + moved)
                                             : in.read(target);
    if (!last || *last == 0) break;
    IoBuffer source = IoBuffer::kernel(segment, bytes.first(*last));
    last = entry.offset != kCurrentPosition ? out.write_at(source, entry.offset + moved)
                                            : out.write(source);
    if (!last) break;
    moved += *last;
    if (*last < bytes.size()) break;
  }
  if (moved != 0 || last) return Outcome::done(static_cast<int64_t>(moved));
  if (last.error() == Errno::kRestart || last.error() == Errno::kAgain) return must_wait();
  return Outcome::failed(last.error());
}

Outcome splice(Request& request) {
  constexpr uint32_t kFdInFixed = 1u << 31;
  const Submission& entry = request.entry;
  auto in_fd = static_cast<int32_t>(entry.file_index);
  uint32_t flags = entry.operation_flags;
  if (entry.length == 0) return Outcome::done(0);
  if ((flags & kFdInFixed) == 0 && !request.has_flag(kFixedFile) &&
      entry.address == kCurrentPosition && entry.offset == kCurrentPosition)
    return by_system_call(
        275, {signed_argument(in_fd), 0, signed_argument(entry.fd), 0, entry.length, flags});
  FileTable& files = current_process().files();
  auto in = (flags & kFdInFixed) != 0 ? request.ring->registered_file(entry.file_index)
                                      : files.get(in_fd);
  auto out = request.has_flag(kFixedFile)
                 ? request.ring->registered_file(static_cast<uint32_t>(entry.fd))
                 : files.get(entry.fd);
  if (!in || !out || !(*in)->is_readable() || !(*out)->is_writable())
    return Outcome::failed(Errno::kBadF);
  if ((*in)->is_pollable() == (*out)->is_pollable()) return Outcome::failed(Errno::kInval);
  return splice_at(request, **in, **out);
}

Outcome remove_timeout(Request& request) {
  const Submission& entry = request.entry;
  if ((entry.operation_flags & (kTimeoutUpdate | kLinkTimeoutUpdate)) != 0) {
    auto deadline = read_deadline(entry.offset, entry.operation_flags);
    if (!deadline) return Outcome::failed(deadline.error());
    return outcome_of(request.ring->update_timeout(entry.address, *deadline));
  }
  auto canceled =
      request.ring->cancel({.user_data = entry.address, .only_timeouts = true}, &request);
  return canceled ? Outcome::done(0) : Outcome::failed(canceled.error());
}

Outcome remove_poll(Request& request) {
  const Submission& entry = request.entry;
  if ((entry.length & (kPollUpdateEvents | kPollUpdateData)) != 0)
    return outcome_of(request.ring->update_poll(entry.address, entry));
  auto canceled = request.ring->cancel({.user_data = entry.address, .only_polls = true}, &request);
  return canceled ? Outcome::done(0) : Outcome::failed(canceled.error());
}

Outcome cancel(Request& request) {
  const Submission& entry = request.entry;
  uint32_t flags = entry.operation_flags;
  if ((flags & ~(kCancelAll | kCancelFd | kCancelAny | kCancelFdFixed)) != 0)
    return Outcome::failed(Errno::kInval);
  Ring::CancelMatch match{.user_data = entry.address, .flags = flags};
  RefPtr<File> file;
  if ((flags & kCancelFd) != 0) {
    if ((flags & kCancelAny) != 0) return Outcome::failed(Errno::kInval);
    auto found = (flags & kCancelFdFixed) != 0
                     ? request.ring->registered_file(static_cast<uint32_t>(entry.fd))
                     : current_process().files().get(entry.fd);
    if (!found) return Outcome::failed(Errno::kBadF);
    file = std::move(*found);
    match.file = file.get();
  }
  auto count = request.ring->cancel(match, &request);
  return count ? Outcome::done(*count) : Outcome::failed(count.error());
}

Outcome send_to_ring(Request& request) {
  RingFile* target = as_ring_file(*request.file);
  if (target == nullptr) return Outcome::failed(Errno::kBadF);
  if (request.entry.address != 0) return Outcome::failed(Errno::kInval);
  target->ring().post(request.entry.offset, static_cast<int32_t>(request.entry.length), 0);
  return Outcome::done(0);
}

/// Operations that are a system call.
Outcome call(Request& request) {
  const Submission& entry = request.entry;
  uint64_t fd = signed_argument(entry.fd);
  uint64_t second_fd = signed_argument(static_cast<int32_t>(entry.length));
  uint32_t flags = entry.operation_flags;
  switch (request.opcode()) {
    case Opcode::kOpenAt:
      return make_direct(*request.ring,
                         by_system_call(257, {fd, entry.address, flags, entry.length}),
                         entry.file_index);
    case Opcode::kOpenAt2:
      return make_direct(*request.ring,
                         by_system_call(437, {fd, entry.address, entry.offset, entry.length}),
                         entry.file_index);
    case Opcode::kSocket:
      return make_direct(*request.ring, by_system_call(41, {fd, entry.offset, entry.length}),
                         entry.file_index);
    case Opcode::kStatx:
      return by_system_call(332, {fd, entry.address, flags, entry.length, entry.offset});
    case Opcode::kUnlinkAt:
      return by_system_call(263, {fd, entry.address, flags});
    case Opcode::kRenameAt:
      return by_system_call(316, {fd, entry.address, second_fd, entry.offset, flags});
    case Opcode::kMkdirAt:
      return by_system_call(258, {fd, entry.address, entry.length});
    case Opcode::kSymlinkAt:
      return by_system_call(266, {entry.address, fd, entry.offset});
    case Opcode::kLinkAt:
      return by_system_call(265, {fd, entry.address, second_fd, entry.offset, flags});
    case Opcode::kEpollCtl:
      return by_system_call(233, {fd, entry.length, entry.offset, entry.address});
    case Opcode::kTee:
      return by_system_call(
          276, {signed_argument(static_cast<int32_t>(entry.file_index)), fd, entry.length, flags});
    case Opcode::kMadvise:
      return by_system_call(28, {entry.address, entry.length, flags});
    case Opcode::kSetXattr:
      return by_system_call(188,
                            {entry.address3, entry.address, entry.offset, entry.length, flags});
    case Opcode::kFsetXattr:
      return by_system_call(190, {fd, entry.address, entry.offset, entry.length, flags});
    case Opcode::kGetXattr:
      return by_system_call(191, {entry.address3, entry.address, entry.offset, entry.length});
    case Opcode::kFgetXattr:
      return by_system_call(193, {fd, entry.address, entry.offset, entry.length});
    default:
      return Outcome::failed(Errno::kInval);
  }
}

}  // namespace

bool is_supported(Opcode opcode) {
  switch (opcode) {
    case Opcode::kProvideBuffers:
    case Opcode::kRemoveBuffers:
    case Opcode::kUringCmd:
    case Opcode::kSendZc:
    case Opcode::kSendMsgZc:
      return false;
    default:
      return opcode < Opcode::kCount;
  }
}

Result<Instant> read_deadline(uint64_t address, uint32_t timeout_flags) {
  constexpr uint32_t kClocks = kTimeoutBoottime | kTimeoutRealtime;
  constexpr uint32_t kKnown =
      kTimeoutAbsolute | kTimeoutUpdate | kClocks | kLinkTimeoutUpdate | kTimeoutEtimeSuccess;
  if ((timeout_flags & ~kKnown) != 0 || (timeout_flags & kClocks) == kClocks)
    return fail(Errno::kInval);
  Duration time = ARIL_TRY(read_timeout(UserPtr<Timespec>(address)));
  if ((timeout_flags & kTimeoutAbsolute) == 0) return now() + time;
  return (timeout_flags & kTimeoutRealtime) != 0 ? instant_of_realtime(time) : Instant{time.ns};
}

PollEvents events_to_wait_for(const Request& request) {
  switch (request.opcode()) {
    case Opcode::kPollAdd:
      return static_cast<PollEvents>(request.entry.operation_flags) | PollEvents::kErr;
    case Opcode::kRead:
    case Opcode::kReadv:
    case Opcode::kReadFixed:
      return request.file->is_pollable() ? kReadable : PollEvents::kNone;
    case Opcode::kWrite:
    case Opcode::kWritev:
    case Opcode::kWriteFixed:
      return request.file->is_pollable() ? kWritable : PollEvents::kNone;
    case Opcode::kRecv:
    case Opcode::kRecvMsg:
    case Opcode::kAccept:
      return kReadable | PollEvents::kPri;
    case Opcode::kSend:
    case Opcode::kSendMsg:
    case Opcode::kConnect:
      return kWritable;
    default:
      return PollEvents::kNone;
  }
}

Outcome execute(Request& request) {
  const Submission& entry = request.entry;
  switch (request.opcode()) {
    case Opcode::kNop:
      return Outcome::done(0);
    case Opcode::kRead:
    case Opcode::kReadv:
    case Opcode::kReadFixed:
      return transfer(request, false);
    case Opcode::kWrite:
    case Opcode::kWritev:
    case Opcode::kWriteFixed:
      return transfer(request, true);
    case Opcode::kFsync:
    case Opcode::kSyncFileRange:
      return request.opcode() == Opcode::kFsync ? sync_file(request)
                                                : outcome_of(request.file->sync());
    case Opcode::kFallocate:
      return allocate(request);
    case Opcode::kFadvise:
      return Outcome::done(0);
    case Opcode::kPollAdd:
      return poll(request);
    case Opcode::kPollRemove:
      return remove_poll(request);
    case Opcode::kTimeoutRemove:
      return remove_timeout(request);
    case Opcode::kAsyncCancel:
      return cancel(request);
    case Opcode::kClose:
      return close_descriptor(request);
    case Opcode::kFilesUpdate: {
      auto updated = request.ring->update_files(entry.address, static_cast<uint32_t>(entry.offset),
                                                entry.length);
      return updated ? Outcome::done(*updated) : Outcome::failed(updated.error());
    }
    case Opcode::kSplice:
      return splice(request);
    case Opcode::kMsgRing:
      return send_to_ring(request);
    case Opcode::kSend:
    case Opcode::kSendMsg:
    case Opcode::kRecv:
    case Opcode::kRecvMsg:
    case Opcode::kAccept:
    case Opcode::kConnect:
    case Opcode::kShutdown:
      return execute_socket(request);
    default:
      return call(request);
  }
}

}  // namespace aril::linux_abi::io_uring
