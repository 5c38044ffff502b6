#include <algorithm>

#include "kernel/sched/timer.hpp"
#include "linux/abi/time.hpp"
#include "linux/files/io_vector.hpp"
#include "linux/sockets/messages.hpp"
#include "socket_calls.hpp"

/// sendto, recvfrom, sendmsg, recvmsg, sendmmsg, recvmmsg.
namespace aril::linux_abi {

using net::MessageFlags;

Result<StoredMessage> StoredMessage::of(const MessageHeader& header, uint64_t origin) {
  // [Linux] The vector's own limit has an error of its own here.
  if (header.vector_length > IoVector::kMaxSegments) return fail(Errno::kMsgSize);
  StoredMessage message;
  message.header_ = header;
  message.vector_ = ARIL_TRY(IoVector::read(header.vector, header.vector_length));
  message.origin_ = origin;
  return message;
}

Result<StoredMessage> StoredMessage::read(uint64_t address) {
  return of(ARIL_TRY(UserPtr<MessageHeader>(address).read()), address);
}

Result<int64_t> StoredMessage::send(net::Socket& socket, MessageFlags flags) const {
  IoBuffer buffer = vector_.buffer();
  net::SocketAddress destination;
  net::ControlData control;
  net::OutgoingMessage message{.data = buffer, .flags = flags};
  if (header_.name != 0 && header_.name_length != 0) {
    destination = ARIL_TRY(read_address(
        header_.name, std::min<uint32_t>(header_.name_length, net::SocketAddress::kMaxLength)));
    message.destination = &destination;
  }
  if (header_.control != 0 && header_.control_length != 0) {
    control = ARIL_TRY(read_control(header_.control, header_.control_length));
    message.control = &control;
  }
  return finish_send(socket, socket.send(message), flags);
}

Result<int64_t> StoredMessage::receive(net::Socket& socket, MessageFlags flags) const {
  MessageHeader header = header_;
  if (header.name != 0 && static_cast<int32_t>(header.name_length) < 0) return fail(Errno::kInval);
  IoBuffer buffer = vector_.buffer();
  net::IncomingMessage message{.data = buffer, .flags = flags};
  size_t received = ARIL_TRY(socket.receive(message));
  if (header.name != 0) {
    size_t count = std::min(header.name_length, message.source.length);
    ARIL_TRY(copy_to_user(header.name, std::span(message.source.bytes).first(count)));
    header.name_length = message.source.length;
  }
  auto close_on_exec =
      has(flags, MessageFlags::kCloseOnExec) ? CloseOnExec::kYes : CloseOnExec::kNo;
  WrittenControl written = ARIL_TRY(
      write_control(socket, message.control, header.control, header.control_length, close_on_exec));
  header.control_length = written.length;
  MessageFlags result = message.result_flags;
  if (written.truncated) result |= MessageFlags::kControlTruncated;
  if (close_on_exec == CloseOnExec::kYes) result |= MessageFlags::kCloseOnExec;
  header.flags = std::to_underlying(result);
  ARIL_TRY(UserPtr<MessageHeader>(origin_).write(header));
  return static_cast<int64_t>(received);
}

namespace {

/// struct mmsghdr.
struct MultiMessage {
  MessageHeader header;
  uint32_t length;
  uint32_t padding;
};
static_assert(sizeof(MultiMessage) == 64);

constexpr uint32_t kMaxMessages = 1024;  // UIO_MAXIOV bounds sendmmsg, recvmmsg too

Result<int64_t> sys_sendto(int fd, UserPtr<char> bytes, uint64_t count, uint32_t raw_flags,
                           UserPtr<char> address, uint32_t length) {
  SocketRef socket = ARIL_TRY(socket_of(fd));
  auto flags = static_cast<MessageFlags>(raw_flags);
  IoVector vector = IoVector::single(bytes.address(), count);
  IoBuffer buffer = vector.buffer();
  net::SocketAddress destination;
  net::OutgoingMessage message{.data = buffer, .flags = flags};
  if (address) {
    destination = ARIL_TRY(read_address(address.address(), length));
    message.destination = &destination;
  }
  return finish_send(*socket, socket->send(message), flags);
}
ARIL_SYSCALL(44, sendto, sys_sendto, "fd buf size hex sockaddr int");

Result<int64_t> sys_recvfrom(int fd, UserPtr<char> bytes, uint64_t count, uint32_t flags,
                             UserPtr<char> address, UserPtr<uint32_t> length) {
  SocketRef socket = ARIL_TRY(socket_of(fd));
  IoVector vector = IoVector::single(bytes.address(), count);
  IoBuffer buffer = vector.buffer();
  net::IncomingMessage message{.data = buffer, .flags = static_cast<MessageFlags>(flags)};
  size_t received = ARIL_TRY(socket->receive(message));
  if (address) ARIL_TRY(write_address(message.source, address.address(), length));
  return static_cast<int64_t>(received);
}
ARIL_SYSCALL(45, recvfrom, sys_recvfrom, "fd >buf size hex >ptr ptr");

Result<int64_t> send_message(net::Socket& socket, const MessageHeader& header, MessageFlags flags) {
  return ARIL_TRY(StoredMessage::of(header, 0)).send(socket, flags);
}

Result<int64_t> receive_message(net::Socket& socket, UserPtr<MessageHeader> pointer,
                                MessageFlags flags) {
  return ARIL_TRY(StoredMessage::read(pointer.address())).receive(socket, flags);
}

Result<int64_t> sys_sendmsg(int fd, UserPtr<MessageHeader> pointer, uint32_t flags) {
  SocketRef socket = ARIL_TRY(socket_of(fd));
  return send_message(*socket, ARIL_TRY(pointer.read()), static_cast<MessageFlags>(flags));
}
ARIL_SYSCALL(46, sendmsg, sys_sendmsg, "fd msghdr hex");

Result<int64_t> sys_recvmsg(int fd, UserPtr<MessageHeader> pointer, uint32_t flags) {
  SocketRef socket = ARIL_TRY(socket_of(fd));
  return receive_message(*socket, pointer, static_cast<MessageFlags>(flags));
}
ARIL_SYSCALL(47, recvmsg, sys_recvmsg, "fd msghdr hex");

Result<int64_t> sys_sendmmsg(int fd, UserPtr<MultiMessage> messages, uint32_t count,
                             uint32_t raw_flags) {
  SocketRef socket = ARIL_TRY(socket_of(fd));
  count = std::min(count, kMaxMessages);
  for (uint32_t i = 0; i < count; ++i) {
    auto sent = [&]() -> Result<void> {
      MultiMessage message = ARIL_TRY((messages + i).read());
      message.length = static_cast<uint32_t>(
          ARIL_TRY(send_message(*socket, message.header, static_cast<MessageFlags>(raw_flags))));
      return (messages + i).write(message);
    }();
    if (sent) continue;
    // [sendmmsg(2)] What went out counts; the error shows at the next call.
    if (i != 0) return i;
    return fail(sent.error());
  }
  return count;
}
ARIL_SYSCALL(307, sendmmsg, sys_sendmmsg, "fd ptr uint hex");

Result<int64_t> sys_recvmmsg(int fd, UserPtr<MultiMessage> messages, uint32_t count,
                             uint32_t raw_flags, UserPtr<Timespec> timeout) {
  SocketRef socket = ARIL_TRY(socket_of(fd));
  Instant deadline = Instant::never();
  if (timeout) deadline = now() + ARIL_TRY(read_timeout(timeout));
  count = std::min(count, kMaxMessages);
  auto flags = static_cast<MessageFlags>(raw_flags);
  for (uint32_t i = 0; i < count; ++i) {
    UserPtr<MessageHeader> header((messages + i).address());
    auto received = receive_message(*socket, header, flags & ~MessageFlags::kWaitForOne);
    if (!received) {
      if (i != 0) return i;
      return received;
    }
    UserPtr<uint32_t> length((messages + i).address() + offsetof(MultiMessage, length));
    ARIL_TRY(length.write(static_cast<uint32_t>(*received)));
    if (has(flags, MessageFlags::kWaitForOne)) flags |= MessageFlags::kDontWait;
    // [recvmmsg(2)] The time-out is looked at after each message only.
    if (now() >= deadline) return i + 1;
  }
  return count;
}
ARIL_SYSCALL(299, recvmmsg, sys_recvmmsg, "fd ptr uint hex timespec");

}  // namespace

}  // namespace aril::linux_abi
