#include "ring.hpp"

/// The operations on sockets.
namespace aril::linux_abi::io_uring {

namespace {

using net::MessageFlags;

Outcome finish(const Request& request, Result<int64_t> result, MessageFlags flags) {
  if (result) return Outcome::done(*result);
  bool would_wait = result.error() == Errno::kRestart || result.error() == Errno::kIntr ||
                    result.error() == Errno::kAgain;
  if (!would_wait) {
    // What went through before the error counts.
    if (request.progress != 0) return Outcome::done(static_cast<int64_t>(request.progress));
    return Outcome::failed(result.error());
  }
  if (has(flags, MessageFlags::kDontWait)) return Outcome::failed(Errno::kAgain);
  return {.kind = Outcome::Kind::kMustWait};
}

/// MSG_WAITALL: goes on until everything went through.
template <typename Move>
Outcome move_all(Request& request, MessageFlags flags, Move move) {
  uint64_t length = request.entry.length;
  for (;;) {
    IoVector vector =
        IoVector::single(request.entry.address + request.progress, length - request.progress);
    IoBuffer buffer = vector.buffer();
    Result<int64_t> moved = move(buffer);
    if (!moved) return finish(request, moved, flags);
    request.progress += static_cast<uint64_t>(*moved);
    if (*moved == 0 || !has(flags, MessageFlags::kWaitAll) || request.progress >= length)
      return Outcome::done(static_cast<int64_t>(request.progress));
  }
}

Outcome send(Request& request, net::Socket& socket) {
  auto flags = static_cast<MessageFlags>(request.entry.operation_flags) | MessageFlags::kNoSignal;
  return move_all(request, flags, [&](IoBuffer& buffer) -> Result<int64_t> {
    net::OutgoingMessage message{.data = buffer, .flags = flags};
    return static_cast<int64_t>(ARIL_TRY(socket.send(message)));
  });
}

Outcome receive(Request& request, net::Socket& socket) {
  auto flags = static_cast<MessageFlags>(request.entry.operation_flags);
  bool is_stream = socket.type() == net::SocketType::kStream;
  auto passed = is_stream ? flags & ~MessageFlags::kWaitAll : flags;
  if (!is_stream) flags = flags & ~MessageFlags::kWaitAll;
  return move_all(request, flags, [&](IoBuffer& buffer) -> Result<int64_t> {
    net::IncomingMessage message{.data = buffer, .flags = passed};
    return static_cast<int64_t>(ARIL_TRY(socket.receive(message)));
  });
}

Outcome accept(Request& request) {
  const Submission& entry = request.entry;
  bool direct = entry.file_index != 0;
  auto accepted =
      accept_connection(*request.file, entry.address, entry.offset, entry.operation_flags);
  if (!accepted) return finish(request, fail(accepted.error()), MessageFlags::kNone);
  if (!direct) {
    auto close_on_exec = has(static_cast<OpenFlags>(entry.operation_flags), OpenFlags::kCloseOnExec)
                             ? CloseOnExec::kYes
                             : CloseOnExec::kNo;
    auto fd = current_process().files().install(std::move(*accepted), close_on_exec);
    return fd ? Outcome::done(*fd) : Outcome::failed(fd.error());
  }
  uint32_t slot = entry.file_index == kFileIndexAlloc ? kFileIndexAlloc : entry.file_index - 1;
  auto installed = request.ring->install_file(std::move(*accepted), slot);
  if (!installed) return Outcome::failed(installed.error());
  return Outcome::done(slot == kFileIndexAlloc ? *installed : 0);
}

Outcome connect(Request& request, net::Socket& socket) {
  constexpr int kSolSocket = 1, kSoError = 4;
  if (request.connecting) {
    if (!has(socket.poll(nullptr), PollEvents::kOut | PollEvents::kErr | PollEvents::kHup))
      return {.kind = Outcome::Kind::kMustWait};
    auto error = socket.get_option(kSolSocket, kSoError, sizeof(int32_t));
    int32_t number = 0;
    if (error) memcpy(&number, error->bytes.data(), sizeof number);
    return Outcome::done(-number);
  }
  auto connected = socket.connect(request.address);
  if (connected) return Outcome::done(0);
  switch (connected.error()) {
    case Errno::kRestart:
    case Errno::kIntr:
    case Errno::kInProgress:
      request.connecting = true;
      return {.kind = Outcome::Kind::kMustWait};
    case Errno::kAgain:
      return {.kind = Outcome::Kind::kMustWait};
    default:
      return Outcome::failed(connected.error());
  }
}

}  // namespace

Outcome execute_socket(Request& request) {
  net::Socket* socket = net::as_socket(*request.file);
  if (socket == nullptr) return Outcome::failed(Errno::kNotSock);
  auto flags = static_cast<MessageFlags>(request.entry.operation_flags);
  switch (request.opcode()) {
    case Opcode::kSend:
      return send(request, *socket);
    case Opcode::kRecv:
      return receive(request, *socket);
    case Opcode::kSendMsg:
      flags |= MessageFlags::kNoSignal;
      return finish(request, request.message.send(*socket, flags), flags);
    case Opcode::kRecvMsg:
      return finish(request, request.message.receive(*socket, flags), flags);
    case Opcode::kAccept:
      return accept(request);
    case Opcode::kConnect:
      return connect(request, *socket);
    default: {
      if (request.entry.length > std::to_underlying(net::ShutdownSide::kBoth))
        return Outcome::failed(Errno::kInval);
      auto ended = socket->shutdown(static_cast<net::ShutdownSide>(request.entry.length));
      return ended ? Outcome::done(0) : Outcome::failed(ended.error());
    }
  }
}

}  // namespace aril::linux_abi::io_uring
