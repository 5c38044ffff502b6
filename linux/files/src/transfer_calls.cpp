#include <algorithm>
#include <limits>

#include "file_calls.hpp"
#include "kernel/memory/page_allocator.hpp"
#include "linux/event/poller.hpp"
#include "linux/files/io_vector.hpp"
#include "linux/pipe/pipe.hpp"
#include "net/socket/socket.hpp"

/// sendfile, copy_file_range, splice, tee: bytes from file to file without the application.
namespace aril::linux_abi {

namespace {

Result<RefPtr<File>> source_of(int fd) {
  RefPtr<File> file = ARIL_TRY(file_of(fd));
  if (!file->is_readable()) return fail(Errno::kBadF);
  return file;
}

Result<RefPtr<File>> target_of(int fd) {
  RefPtr<File> file = ARIL_TRY(file_of(fd));
  if (!file->is_writable()) return fail(Errno::kBadF);
  return file;
}

/// Where a transfer reads or writes: at an offset that the application keeps, or at the file's own
/// position.
class Position {
 public:
  static Result<Position> of(File& file, UserPtr<int64_t> user) {
    Position position;
    position.user_ = user;
    if (user) {
      int64_t offset = ARIL_TRY(user.read());
      if (offset < 0) return fail(Errno::kInval);
      position.offset_ = static_cast<uint64_t>(offset);
    } else {
      position.offset_ = ARIL_TRY(file.seek(0, SeekOrigin::kCurrent));
    }
    return position;
  }
  [[nodiscard]] uint64_t offset() const { return offset_; }
  Result<void> advance(File& file, size_t count) {
    offset_ += count;
    if (user_) return user_.write(static_cast<int64_t>(offset_));
    ARIL_TRY(file.seek(static_cast<int64_t>(offset_), SeekOrigin::kSet));
    return {};
  }

 private:
  UserPtr<int64_t> user_;
  uint64_t offset_ = 0;
};

/// Lends `count` bytes of pages to a socket, as many at once as there are `pieces`.
Result<size_t> send_batches(MemoryObject& object, uint64_t offset, size_t count, net::Socket& out,
                            std::span<net::PagePiece> pieces) {
  size_t total = 0;
  while (total < count) {
    size_t used = 0, batch = 0;
    for (; used < pieces.size() && total + batch < count; ++used) {
      uint64_t at = offset + total + batch;
      auto page = object.page(at >> kPageShift, PageAccess::kRead);
      if (!page) {
        if (total + batch == 0) return fail(page.error());
        count = total + batch;
        break;
      }
      auto start = static_cast<uint32_t>(at % kPageSize);
      auto length =
          static_cast<uint32_t>(std::min<size_t>(kPageSize - start, count - total - batch));
      pieces[used] = {std::move(*page), start, length};
      batch += length;
    }
    if (batch == 0) break;
    auto flags = total + batch < count ? net::MessageFlags::kMore : net::MessageFlags::kNone;
    auto sent = out.send_pages(pieces.first(used), flags);
    if (!sent) {
      if (total != 0) return total;
      return sent;
    }
    total += *sent;
    if (*sent < batch) break;
  }
  return total;
}

/// Lends page-cache pages to a socket.
Result<size_t> send_pages(File& in, uint64_t offset, size_t count, net::Socket& out) {
  uint64_t size = ARIL_TRY(in.status()).size;
  if (offset >= size) return 0;
  count = static_cast<size_t>(std::min<uint64_t>(count, size - offset));
  RefPtr<MemoryObject> object = ARIL_TRY(in.memory_object());
  if (count <= kPageSize) {
    net::PagePiece pieces[2];
    return send_batches(*object, offset, count, out, pieces);
  }
  net::PagePiece pieces[32];
  return send_batches(*object, offset, count, out, pieces);
}

Result<void> wait_writable(const RefPtr<File>& file) {
  PollRequest request{.file = file, .wanted = PollEvents::kOut};
  ARIL_TRY(poll_files(std::span(&request, 1), Instant::never()));
  return {};
}

/// Writes all of `bytes`, waiting also on a non-blocking file: they were taken from the source and
/// cannot go back.
Result<size_t> write_all(const RefPtr<File>& out, std::span<std::byte> bytes,
                         std::optional<uint64_t> offset) {
  size_t total = 0;
  while (total < bytes.size()) {
    IoBuffer::Segment segment;
    IoBuffer buffer = IoBuffer::kernel(segment, bytes.subspan(total));
    auto count = offset ? out->write_at(buffer, *offset + total) : out->write(buffer);
    if (count) {
      total += *count;
      if (*count == 0) break;
      continue;
    }
    if (count.error() == Errno::kAgain && total != 0 && wait_writable(out)) continue;
    if (total != 0) return total;
    return count;
  }
  return total;
}

/// Moves bytes through a page. `read(buffer, done)` gets the number of bytes moved before.
template <typename Read>
Result<size_t> copy_through_page(size_t count, const RefPtr<File>& out,
                                 std::optional<uint64_t> out_offset, Read read) {
  PageRef page = ARIL_TRY(page_allocator::allocate(page_allocator::Fill::kNone));
  size_t total = 0;
  while (total < count) {
    // Room first: what has been read must be written.
    if (!out_offset && !has(out->poll(nullptr), PollEvents::kOut | PollEvents::kErr)) {
      if (total != 0) break;
      if (out->is_nonblocking()) return fail(Errno::kAgain);
      ARIL_TRY(wait_writable(out));
    }
    IoBuffer::Segment segment;
    IoBuffer buffer =
        IoBuffer::kernel(segment, page->bytes().first(std::min(kPageSize, count - total)));
    Result<size_t> got = read(buffer, total);
    if (!got) {
      if (total != 0) break;
      return got;
    }
    if (*got == 0) break;
    auto offset = out_offset ? std::optional(*out_offset + total) : std::nullopt;
    auto written = write_all(out, page->bytes().first(*got), offset);
    if (!written) {
      if (total != 0) break;
      return written;
    }
    total += *written;
    if (*written < *got) break;
  }
  return total;
}

Result<int64_t> sys_sendfile(int out_fd, int in_fd, UserPtr<int64_t> user_offset, uint64_t count) {
  RefPtr<File> in = ARIL_TRY(source_of(in_fd));
  RefPtr<File> out = ARIL_TRY(target_of(out_fd));
  if (has(out->flags(), OpenFlags::kAppend)) return fail(Errno::kInval);
  auto position = Position::of(*in, user_offset);
  // [sendfile(2)] The source must be something that mmap could map.
  if (!position) return fail(position.error() == Errno::kSPipe ? Errno::kInval : position.error());
  count = std::min(count, kMaxTransfer);
  uint64_t start = position->offset();
  Result<size_t> sent = 0;
  if (net::Socket* socket = net::as_socket(*out); socket != nullptr) {
    sent = send_pages(*in, start, count, *socket);
  } else {
    sent = copy_through_page(count, out, std::nullopt, [&](IoBuffer& buffer, size_t done) {
      return in->read_at(buffer, start + done);
    });
  }
  if (!sent && sent.error() == Errno::kNoDev) return fail(Errno::kInval);
  int64_t result = ARIL_TRY(finish_write(*out, sent));
  ARIL_TRY(position->advance(*in, static_cast<size_t>(result)));
  return result;
}
ARIL_SYSCALL(40, sendfile, sys_sendfile, "fd fd ptr size");

Result<int64_t> sys_copy_file_range(int in_fd, UserPtr<int64_t> in_offset, int out_fd,
                                    UserPtr<int64_t> out_offset, uint64_t count, uint32_t flags) {
  if (flags != 0) return fail(Errno::kInval);
  RefPtr<File> in = ARIL_TRY(source_of(in_fd));
  RefPtr<File> out = ARIL_TRY(target_of(out_fd));
  if (has(out->flags(), OpenFlags::kAppend)) return fail(Errno::kBadF);
  for (File* file : {in.get(), out.get()}) {
    uint32_t type = ARIL_TRY(file->status()).mode & vfs::mode::kTypeMask;
    if (type == vfs::mode::kDirectory) return fail(Errno::kIsDir);
    if (type != vfs::mode::kRegular) return fail(Errno::kInval);
  }
  Position from = ARIL_TRY(Position::of(*in, in_offset));
  Position to = ARIL_TRY(Position::of(*out, out_offset));
  constexpr uint64_t kEnd = std::numeric_limits<int64_t>::max();
  count = std::min(count, kMaxTransfer);
  if (count > kEnd - from.offset() || count > kEnd - to.offset()) return fail(Errno::kOverflow);
  FileStatus in_status = ARIL_TRY(in->status()), out_status = ARIL_TRY(out->status());
  if (in_status.device == out_status.device && in_status.inode == out_status.inode &&
      from.offset() < to.offset() + count && to.offset() < from.offset() + count)
    return fail(Errno::kInval);  // [copy_file_range(2)] overlapping ranges of one file
  size_t copied =
      ARIL_TRY(copy_through_page(count, out, to.offset(), [&](IoBuffer& buffer, size_t done) {
        return in->read_at(buffer, from.offset() + done);
      }));
  ARIL_TRY(from.advance(*in, copied));
  ARIL_TRY(to.advance(*out, copied));
  return static_cast<int64_t>(copied);
}
ARIL_SYSCALL(326, copy_file_range, sys_copy_file_range, "fd ptr fd ptr size hex");

constexpr uint32_t kSpliceNonBlock = 2, kSpliceFlags = 0xf;

Result<int64_t> sys_splice(int in_fd, UserPtr<int64_t> in_offset, int out_fd,
                           UserPtr<int64_t> out_offset, uint64_t count, uint32_t flags) {
  if ((flags & ~kSpliceFlags) != 0) return fail(Errno::kInval);
  if (count == 0) return 0;
  RefPtr<File> in = ARIL_TRY(source_of(in_fd));
  RefPtr<File> out = ARIL_TRY(target_of(out_fd));
  Pipe* in_pipe = as_pipe(*in);
  Pipe* out_pipe = as_pipe(*out);
  if ((in_pipe == nullptr && out_pipe == nullptr) || in_pipe == out_pipe)
    return fail(Errno::kInval);
  if ((in_pipe != nullptr && in_offset) || (out_pipe != nullptr && out_offset))
    return fail(Errno::kSPipe);
  count = std::min(count, kMaxTransfer);
  bool nonblocking = (flags & kSpliceNonBlock) != 0;
  std::optional<Position> from, to;
  if (in_offset) from = ARIL_TRY(Position::of(*in, in_offset));
  if (out_offset) to = ARIL_TRY(Position::of(*out, out_offset));
  // Once something has moved, a source that has no more is not waited for.
  auto read = [&](IoBuffer& buffer, size_t done) -> Result<size_t> {
    if (from) return in->read_at(buffer, from->offset() + done);
    if (in_pipe != nullptr) {
      bool wait = done == 0 && !nonblocking && !in->is_nonblocking();
      return in_pipe->read(buffer, wait ? Pipe::Blocking::kYes : Pipe::Blocking::kNo);
    }
    if (done != 0 && in->is_pollable() && !has(in->poll(nullptr), PollEvents::kIn)) return 0;
    return in->read(buffer);
  };
  if (out_pipe != nullptr) {
    if (nonblocking && !has(out->poll(nullptr), PollEvents::kOut | PollEvents::kErr))
      return fail(Errno::kAgain);
    count = std::min<uint64_t>(count, out_pipe->capacity());
  }
  auto moved = copy_through_page(count, out, to ? std::optional(to->offset()) : std::nullopt, read);
  int64_t result = ARIL_TRY(finish_write(*out, moved));
  if (from) ARIL_TRY(from->advance(*in, static_cast<size_t>(result)));
  if (to) ARIL_TRY(to->advance(*out, static_cast<size_t>(result)));
  return result;
}
ARIL_SYSCALL(275, splice, sys_splice, "fd ptr fd ptr size hex");

Result<int64_t> sys_tee(int in_fd, int out_fd, uint64_t count, uint32_t flags) {
  if ((flags & ~kSpliceFlags) != 0) return fail(Errno::kInval);
  if (count == 0) return 0;
  RefPtr<File> in = ARIL_TRY(source_of(in_fd));
  RefPtr<File> out = ARIL_TRY(target_of(out_fd));
  Pipe* in_pipe = as_pipe(*in);
  Pipe* out_pipe = as_pipe(*out);
  if (in_pipe == nullptr || out_pipe == nullptr || in_pipe == out_pipe) return fail(Errno::kInval);
  bool nonblocking = (flags & kSpliceNonBlock) != 0;
  for (;;) {
    auto shared = in_pipe->tee(*out_pipe, count);
    if (shared || shared.error() != Errno::kAgain || nonblocking) return finish_write(*out, shared);
    PollRequest requests[2] = {{.file = in, .wanted = PollEvents::kIn}, {}};
    ARIL_TRY(poll_files(requests, Instant::never()));
    ARIL_TRY(wait_writable(out));
  }
}
ARIL_SYSCALL(276, tee, sys_tee, "fd fd size hex");

/// [vmsplice(2)] Always a copy: pages that a pipe shares with their program could change on the
/// way.
Result<int64_t> sys_vmsplice(int fd, UserPtr<IoBuffer::Segment> vector, uint64_t count,
                             uint32_t flags) {
  if ((flags & ~kSpliceFlags) != 0) return fail(Errno::kInval);
  RefPtr<File> file = ARIL_TRY(file_of(fd));
  Pipe* pipe = as_pipe(*file);
  if (pipe == nullptr) return fail(Errno::kBadF);
  IoVector segments = ARIL_TRY(IoVector::read(vector.address(), count));
  IoBuffer buffer = segments.buffer();
  if (buffer.remaining() == 0) return 0;
  bool waits = (flags & kSpliceNonBlock) == 0;
  if (file->is_readable() && !file->is_writable())
    return static_cast<int64_t>(
        ARIL_TRY(pipe->read(buffer, waits ? Pipe::Blocking::kYes : Pipe::Blocking::kNo)));
  if (!file->is_writable()) return fail(Errno::kBadF);
  // As much as fits, after waiting for room for the first byte.
  if (!has(file->poll(nullptr), PollEvents::kOut | PollEvents::kErr)) {
    if (!waits) return fail(Errno::kAgain);
    ARIL_TRY(wait_writable(file));
  }
  buffer.truncate(pipe->capacity());
  Result<size_t> written = 0;
  {
    NoWaitScope no_wait;
    written = file->write(buffer);
  }
  if (!written && written.error() == Errno::kRestart) return fail(Errno::kAgain);
  return finish_write(*file, written);
}
ARIL_SYSCALL(278, vmsplice, sys_vmsplice, "fd iovec size hex");

}  // namespace

}  // namespace aril::linux_abi
