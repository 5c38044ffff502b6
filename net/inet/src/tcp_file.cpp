#include "tcp_file.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "base/image_use.hpp"
#include "base/unique.hpp"
#include "kernel/memory/page_allocator.hpp"

namespace aril::net {

namespace {

/// Bytes that one pass copies before it takes the stack's lock.
constexpr size_t kSendPass = 64 * 1024;
/// Up to this, received bytes go through the kernel stack: cheaper than sharing blocks.
constexpr size_t kSmallReceive = 2048;
/// And bytes to send, which are put together with others.
constexpr size_t kSmallSend = 512;
/// As much as a SYN carries.
constexpr size_t kFirstData = 1460;

constexpr uint32_t kFionread = 0x541b, kSiocOutq = 0x5411, kSiocOutqNsd = 0x894b,
                   kSiocAtMark = 0x8905;

}  // namespace

Result<RefPtr<Socket>> create_tcp_socket(Runtime& runtime, Family family, OpenFlags flags) {
  RefPtr<TcpSocket> handle;
  {
    Runtime::Guard guard(runtime);
    handle = ARIL_TRY(guard->create_tcp_socket(any_of(family)));
  }
  auto file = try_make_ref<TcpFile>(runtime, family, std::move(handle), flags);
  if (file) return *file;
  Runtime::Guard guard(runtime);
  // NOLINTNEXTLINE(bugprone-use-after-move): without memory for the file nothing was moved
  handle.reset();
  return fail(file.error());
}

TcpFile::TcpFile(Runtime& runtime, Family family, RefPtr<TcpSocket> handle, OpenFlags flags)
    : InetSocket(runtime, family, SocketType::kStream, kIpProtocolTcp, flags),
      handle_(std::move(handle)) {
  Runtime::Guard guard(runtime_);
  handle_->set_observer(this);
}

TcpFile::~TcpFile() {
  Duration linger = options_.linger_time;
  if (options_.linger && linger.ns > 0 && !is_nonblocking()) {
    // [socket(7)] SO_LINGER: the close waits until the data is acknowledged.
    bool connected;
    {
      Runtime::Guard guard(runtime_);
      connected = handle_->shutdown(Shutdown::kBoth).has_value();
    }
    if (connected) {
      (void)queue_.wait_until(
          [&] {
            Runtime::Guard guard(runtime_);
            return handle_->is_drained();
          },
          deadline_after(linger));
    }
  }
  Runtime::Guard guard(runtime_);
  handle_->set_observer(nullptr);
  handle_->close();
  handle_.reset();
}

Result<void> TcpFile::bind(const SocketAddress& address) {
  Endpoint local = ARIL_TRY(endpoint_of(address, family()));
  Runtime::Guard guard(runtime_);
  return handle_->bind(local);
}

Result<void> TcpFile::listen(int backlog) {
  Runtime::Guard guard(runtime_);
  // A negative backlog is as large as can be.
  return handle_->listen(std::min(static_cast<unsigned>(backlog), kMaxBacklog));
}

ARIL_ONLY_FOR(connect)
Result<void> TcpFile::connect(const SocketAddress& address) {
  if (address.family() == Family::kUnspecified) {
    Runtime::Guard guard(runtime_);
    return handle_->disconnect();
  }
  Endpoint remote = ARIL_TRY(endpoint_of(address, family()));
  Result<void> started;
  {
    Runtime::Guard guard(runtime_);
    started = handle_->connect(remote);
  }
  if (started || is_nonblocking()) return started;
  if (started.error() != Errno::kInProgress && started.error() != Errno::kAlready) return started;
  auto waited = wait_for(PollEvents::kOut, options_.send_timeout);
  if (!waited) {
    if (waited.error() == Errno::kAgain) return fail(Errno::kInProgress);
    return waited;
  }
  Runtime::Guard guard(runtime_);
  return handle_->take_error();
}

Result<RefPtr<Socket>> TcpFile::accept(OpenFlags flags, SocketAddress* peer) {
  for (;;) {
    Result<RefPtr<TcpSocket>> accepted = fail(Errno::kAgain);
    SocketAddress address;
    {
      Runtime::Guard guard(runtime_);
      accepted = handle_->accept();
      if (accepted) {
        auto remote = (*accepted)->remote();
        address = address_of(remote.value_or(Endpoint{any_of(family())}), family());
      }
    }
    if (accepted) {
      if (peer != nullptr) *peer = address;
      auto* file = new (std::nothrow) TcpFile(runtime_, family(), *accepted, flags);
      if (file == nullptr) {
        Runtime::Guard guard(runtime_);
        (*accepted)->abort();
        accepted->reset();
        return fail(Errno::kNoMem);
      }
      {
        // Not the last reference, but a count that the stack also touches under its lock.
        Runtime::Guard guard(runtime_);
        accepted->reset();
      }
      file->options_ = options_;
      file->owner_ = owner_;
      return adopt_ref<Socket>(file);
    }
    if (accepted.error() != Errno::kAgain || is_nonblocking()) return fail(accepted.error());
    ARIL_TRY(wait_for(PollEvents::kIn, options_.receive_timeout));
  }
}

Result<void> TcpFile::shutdown(ShutdownSide side) {
  Runtime::Guard guard(runtime_);
  return handle_->shutdown(static_cast<Shutdown>(side));
}

Result<SocketAddress> TcpFile::local_address() {
  Runtime::Guard guard(runtime_);
  return address_of(handle_->local(), family());
}

Result<SocketAddress> TcpFile::peer_address() {
  Runtime::Guard guard(runtime_);
  return address_of(ARIL_TRY(handle_->remote()), family());
}

/// Sends what the chain holds, waiting for room as often as may be. The count; an error only when
/// nothing was sent.
template <typename Send>
Result<size_t> TcpFile::send_all(size_t size, MessageFlags flags, Send send) {
  size_t total = 0;
  SendFlags send_flags = has(flags, MessageFlags::kMore) ? SendFlags::kMore : SendFlags::kNone;
  while (total < size) {
    Result<size_t> sent = 0;
    {
      Runtime::Guard guard(runtime_);
      sent = send(total, send_flags);
    }
    if (sent) {
      total += *sent;
      continue;
    }
    Errno error = sent.error();
    if (error == Errno::kAgain && may_wait(flags)) {
      auto waited = wait_for(PollEvents::kOut, options_.send_timeout);
      if (waited) continue;
      error = waited.error();
    }
    if (total != 0) return total;
    // [Linux tcp_sendmsg] Without a connection the pipe is broken.
    return fail(error == Errno::kNotConn ? Errno::kPipe : error);
  }
  return total;
}

Result<size_t> TcpFile::send_chain(BlockChain& chain, MessageFlags flags) {
  return send_all(chain.size(), flags,
                  [&](size_t, SendFlags send_flags) { return handle_->send(chain, send_flags); });
}

Result<size_t> TcpFile::send_small(OutgoingMessage& message) {
  std::array<std::byte, kSmallSend> buffer;
  auto bytes = std::span(buffer).first(message.data.remaining());
  bytes = bytes.first(ARIL_TRY(message.data.copy_in(bytes)));
  return send_all(bytes.size(), message.flags, [&](size_t done, SendFlags send_flags) {
    return handle_->send(bytes.subspan(done), send_flags);
  });
}

Result<size_t> TcpFile::send(OutgoingMessage& message) {
  if (has(message.flags, MessageFlags::kOutOfBand)) return fail(Errno::kOpNotSupp);
  if constexpr (kHasFastOpen) {
    if (has(message.flags, MessageFlags::kFastOpen) || std::exchange(may_defer_, false))
      return send_fast_open(message);
  }
  return send_stream(message);
}

Result<size_t> TcpFile::send_fast_open(OutgoingMessage& message) {
  Endpoint remote;
  bool connects = has(message.flags, MessageFlags::kFastOpen);
  if (connects) {
    if (message.destination == nullptr) return fail(Errno::kInval);
    if (message.destination->family() == Family::kUnspecified) return fail(Errno::kOpNotSupp);
    remote = ARIL_TRY(endpoint_of(*message.destination, family()));
  }
  std::array<std::byte, kFirstData> buffer;
  auto bytes = std::span(buffer).first(std::min(message.data.remaining(), buffer.size()));
  bytes = bytes.first(ARIL_TRY(message.data.copy_in(bytes)));
  Result<size_t> taken = fail(Errno::kAgain);
  {
    Runtime::Guard guard(runtime_);
    if (handle_->is_deferred()) {
      taken = handle_->send(bytes);
    } else if (connects) {
      taken = handle_->connect(remote, bytes);
      if (!taken && taken.error() != Errno::kInProgress) return taken;
    }
  }
  size_t total = taken.value_or(0);
  if (connects || taken) {
    // [Linux tcp_sendmsg_fastopen] The handshake is waited for in either case.
    if (!may_wait(message.flags)) {
      if (total != 0) return total;
      return fail(connects ? Errno::kInProgress : Errno::kAgain);
    }
    auto waited = wait_for(PollEvents::kOut, options_.send_timeout);
    if (!waited && total == 0) return fail(waited.error());
    if (!waited) return total;
    if (Errno error = take_error(); error != Errno{}) return fail(error);
  }
  auto rest = send_all(bytes.size() - total, message.flags, [&](size_t done, SendFlags flags) {
    return handle_->send(bytes.subspan(total + done), flags);
  });
  if (!rest && total == 0) return rest;
  total += rest.value_or(0);
  if (total < bytes.size() || message.data.remaining() == 0) return total;
  return total + send_stream(message).value_or(0);
}

Result<size_t> TcpFile::send_stream(OutgoingMessage& message) {
  if (message.data.remaining() <= kSmallSend) return send_small(message);
  size_t total = 0;
  do {
    // The application's memory is touched before the lock is taken: a fault there may sleep.
    size_t wanted = std::min(message.data.remaining(), kSendPass);
    BlockChain chain = ARIL_TRY(BlockChain::allocate(wanted));
    size_t filled = 0;
    for (size_t i = 0; i < chain.piece_count(); ++i) {
      auto copied = message.data.copy_in(chain.piece(i).bytes());
      if (!copied) {
        if (filled + total == 0) return copied;
        break;
      }
      filled += *copied;
      if (*copied < chain.piece(i).length) break;
    }
    chain.truncate(filled);
    MessageFlags flags = message.flags;
    if (message.data.remaining() != 0) flags |= MessageFlags::kMore;
    auto sent = send_chain(chain, flags);
    if (!sent) {
      if (total != 0) return total;
      return sent;
    }
    total += *sent;
    if (*sent < wanted) break;
  } while (message.data.remaining() != 0);
  return total;
}

namespace {

/// Drops the reference to each page of a block of pages.
void release_pages(void*, std::span<const std::byte> bytes) {
  for (; !bytes.empty(); bytes = bytes.subspan(kPageSize))
    PageRef::adopt(page_allocator::page_of(arch::virtual_to_physical(bytes.data()))).reset();
}

}  // namespace

ARIL_ONLY_FOR(send_pages)
Result<size_t> TcpFile::send_pages(std::span<const PagePiece> pieces, MessageFlags flags) {
  BlockChain chain;
  while (!pieces.empty()) {
    // Pages that lie one behind the other, as those of a file in the image do, make one block.
    const std::byte* first_page = pieces.front().page->data();
    const std::byte* start = first_page + pieces.front().offset;
    const std::byte* end = start + pieces.front().length;
    size_t count = 1;
    while (count < pieces.size() && pieces[count].offset == 0 && pieces[count].page->data() == end)
      end += pieces[count++].length;
    auto block = ARIL_TRY(Block::wrap({first_page, count * kPageSize}, release_pages, nullptr));
    // The stack shares the pages until the data is acknowledged; these references keep them.
    for (const PagePiece& piece : pieces.first(count)) (void)PageRef(piece.page).leak();
    std::byte* data = block->data() + (start - first_page);
    ARIL_TRY(chain.append({std::move(block), data, static_cast<uint32_t>(end - start)}));
    pieces = pieces.subspan(count);
  }
  return send_chain(chain, flags);
}

/// Copies out what is there now, at most; 0 is the end of the stream.
Result<size_t> TcpFile::receive_some(IoBuffer& data, bool peek, size_t skip) {
  LockGuard receiving(receive_mutex_);
  BlockChain chain;
  {
    std::byte bytes[kSmallReceive];
    Result<size_t> count = 0;
    {
      Runtime::Guard guard(runtime_);
      size_t available = std::min(handle_->readable_bytes(), data.remaining());
      if (!peek && available <= sizeof(bytes)) {
        count = handle_->receive(std::span(bytes).first(std::min(data.remaining(), sizeof(bytes))));
      } else {
        chain = ARIL_TRY(handle_->peek(data.remaining(), skip));
      }
    }
    if (!count) return count;
    if (*count != 0) return data.copy_out(std::span(bytes).first(*count));
  }
  if (chain.empty()) return 0;
  size_t total = 0;
  for (size_t i = 0; i < chain.piece_count(); ++i) {
    auto copied = data.copy_out(chain.piece(i).bytes());
    if (!copied) {
      if (total == 0) return copied;
      break;
    }
    total += *copied;
    if (*copied < chain.piece(i).length) break;
  }
  if (!peek) {
    Runtime::Guard guard(runtime_);
    handle_->consume(total);
  }
  return total;
}

Result<size_t> TcpFile::receive(IncomingMessage& message) {
  return receive_stream(message.data, message.flags);
}

// A stream has nothing to say about where the bytes come from.
Result<size_t> TcpFile::read(IoBuffer& buffer) {
  return receive_stream(buffer, MessageFlags::kNone);
}

Result<size_t> TcpFile::receive_stream(IoBuffer& data, MessageFlags flags) {
  if (has(flags, MessageFlags::kErrorQueue)) return fail(Errno::kAgain);
  if (has(flags, MessageFlags::kOutOfBand)) return fail(Errno::kInval);
  bool peek = has(flags, MessageFlags::kPeek);
  bool all = has(flags, MessageFlags::kWaitAll);
  size_t total = 0;
  if (data.remaining() == 0) return 0;
  for (;;) {
    auto count = receive_some(data, peek, total);
    if (count) {
      total += *count;
      if (*count == 0 || data.remaining() == 0 || !all) return total;
      continue;
    }
    Errno error = count.error();
    if (error == Errno::kAgain) {
      if (total != 0 && !all) return total;
      if (may_wait(flags)) {
        Result<void> waited;
        if (peek && total != 0) {
          // Readable already, but not enough: wait for more than what was seen.
          waited = queue_.wait_until(
              [&] {
                Runtime::Guard guard(runtime_);
                return handle_->readable_bytes() > total ||
                       has(handle_->events(),
                           PollEvents::kRdHup | PollEvents::kErr | PollEvents::kHup);
              },
              deadline_after(options_.receive_timeout));
          if (!waited) waited = wait_failed(waited.error(), options_.receive_timeout);
          if (waited) {
            Runtime::Guard guard(runtime_);
            if (handle_->readable_bytes() <= total) return total;
          }
        } else {
          waited = wait_for(PollEvents::kIn | PollEvents::kRdHup, options_.receive_timeout);
        }
        if (waited) continue;
        error = waited.error();
      }
    }
    if (total != 0) return total;
    return fail(error);
  }
}

ARIL_ONLY_FOR(ioctl)
Result<int64_t> TcpFile::ioctl(uint32_t request, uint64_t argument) {
  size_t value;
  {
    Runtime::Guard guard(runtime_);
    switch (request) {
      case kFionread:
        value = handle_->readable_bytes();
        break;
      case kSiocOutq:
        value = handle_->unacknowledged_bytes();
        break;
      case kSiocOutqNsd:
        value = handle_->unsent_bytes();
        break;
      case kSiocAtMark:
        value = 0;
        break;
      default:
        value = ~size_t{0};
        break;
    }
  }
  if (value == ~size_t{0}) return interface_ioctl(runtime_, request, argument);
  ARIL_TRY(UserPtr<int32_t>(argument).write(static_cast<int32_t>(value)));
  return 0;
}

Errno TcpFile::take_error() {
  Runtime::Guard guard(runtime_);
  auto taken = handle_->take_error();
  return taken ? Errno{} : taken.error();
}

bool TcpFile::is_listening() {
  Runtime::Guard guard(runtime_);
  return handle_->is_listening();
}

}  // namespace aril::net
