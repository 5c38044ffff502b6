#include "net/socket/socket.hpp"

#include "kernel/log/log.hpp"
#include "kernel/sched/timer.hpp"

namespace aril::net {

namespace {
const char kSocketFacet = 0;
constexpr uint64_t kSocketDevice = 8;
constexpr uint32_t kSocketMode = 0140000 | 0777;
constinit std::atomic<uint64_t> g_next_inode{1};
constinit Result<int64_t> (*g_interface_requests)(uint32_t, uint64_t) = nullptr;
constinit int64_t (*g_realtime)(Instant) = nullptr;
}  // namespace

Socket::Socket(Family family, SocketType type, int protocol, OpenFlags flags)
    : File((flags & OpenFlags::kNonBlock) | OpenFlags::kReadWrite),
      family_(family),
      type_(type),
      protocol_(protocol),
      inode_(g_next_inode.fetch_add(1, std::memory_order_relaxed)) {}

Result<void> Socket::listen(int) { return fail(Errno::kOpNotSupp); }

Result<RefPtr<Socket>> Socket::accept(OpenFlags, SocketAddress*) { return fail(Errno::kOpNotSupp); }

Result<size_t> Socket::send_pages(std::span<const PagePiece> pieces, MessageFlags flags) {
  size_t total = 0;
  for (const PagePiece& piece : pieces) {
    IoBuffer::Segment segment;
    IoBuffer buffer =
        IoBuffer::kernel(segment, piece.page->bytes().subspan(piece.offset, piece.length));
    OutgoingMessage message{.data = buffer, .flags = flags};
    if (&piece != &pieces.back()) message.flags |= MessageFlags::kMore;
    auto sent = send(message);
    if (!sent) {
      if (total != 0) return total;
      return sent;
    }
    total += *sent;
    if (*sent < piece.length) break;
  }
  return total;
}

void Socket::set_interface_requests(Result<int64_t> (*answer)(uint32_t, uint64_t)) {
  g_interface_requests = answer;
}

void Socket::set_wall_clock(int64_t (*realtime)(Instant)) { g_realtime = realtime; }

int64_t Socket::realtime(Instant time) {
  return g_realtime != nullptr ? g_realtime(time) : time.ns;
}

Result<int64_t> Socket::ioctl(uint32_t request, uint64_t argument) {
  if (g_interface_requests == nullptr) return fail(Errno::kNoTty);
  return g_interface_requests(request, argument);
}

Result<size_t> Socket::read(IoBuffer& buffer) {
  IncomingMessage message{.data = buffer};
  return receive(message);
}

Result<size_t> Socket::write(IoBuffer& buffer) {
  OutgoingMessage message{.data = buffer};
  return send(message);
}

Result<FileStatus> Socket::status() {
  return FileStatus{.device = kSocketDevice, .inode = inode_, .mode = kSocketMode};
}

std::string Socket::description() const {
  char text[40];
  return std::string(format_to(text, "socket:[%lu]", inode_));
}

void* Socket::facet(const void* tag) { return tag == &kSocketFacet ? this : nullptr; }

Socket* as_socket(File& file) { return static_cast<Socket*>(file.facet(&kSocketFacet)); }

Instant Socket::deadline_after(Duration timeout) {
  return timeout.ns == 0 ? Instant::never() : now() + timeout;
}

Failure Socket::wait_failed(Errno error, Duration timeout) {
  if (error == Errno::kTimedOut) return fail(Errno::kAgain);
  // [signal(7)] A socket call with a time-out is not restarted after a handler.
  if (error == Errno::kRestart && timeout.ns != 0) return fail(Errno::kIntr);
  return fail(error);
}

uint32_t Socket::default_buffer(bool) const { return 212992; }

}  // namespace aril::net
