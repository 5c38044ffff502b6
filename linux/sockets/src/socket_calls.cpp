#include "socket_calls.hpp"

#include <algorithm>
#include <memory>
#include <new>

#include "family_table.hpp"
#include "linux/signal/signal.hpp"
#include "net/socket/option_names.hpp"

/// socket, socketpair, bind, listen, accept, accept4, connect, getsockname, getpeername, shutdown,
/// setsockopt, getsockopt.
namespace aril::linux_abi {

Result<SocketRef> socket_of(int fd) {
  RefPtr<File> file = ARIL_TRY(current_process().files().get(fd));
  if (has(file->flags(), OpenFlags::kPath)) return fail(Errno::kBadF);
  net::Socket* socket = net::as_socket(*file);
  if (socket == nullptr) return fail(Errno::kNotSock);
  return SocketRef{std::move(file), socket};
}

net::PeerCredentials caller_credentials() {
  const Credentials& credentials = current_task().credentials;
  return {current_process().pid(), credentials.euid, credentials.egid};
}

Result<net::SocketAddress> read_address(uint64_t pointer, uint32_t length) {
  net::SocketAddress address;
  if (length > net::SocketAddress::kMaxLength) return fail(Errno::kInval);
  ARIL_TRY(copy_from_user(std::span(address.bytes).first(length), pointer));
  address.length = length;
  return address;
}

Result<void> write_address(const net::SocketAddress& address, uint64_t pointer,
                           UserPtr<uint32_t> length) {
  if (pointer == 0) return {};
  auto room = static_cast<int32_t>(ARIL_TRY(length.read()));
  if (room < 0) return fail(Errno::kInval);
  size_t count = std::min<size_t>(static_cast<size_t>(room), address.length);
  ARIL_TRY(copy_to_user(pointer, std::span(address.bytes).first(count)));
  return length.write(address.length);
}

Result<int64_t> finish_send(net::Socket& socket, Result<size_t> result, net::MessageFlags flags) {
  if (result) return static_cast<int64_t>(*result);
  if (result.error() == Errno::kPipe && socket.raises_broken_pipe() &&
      !has(flags, net::MessageFlags::kNoSignal))
    raise_signal(kSigPipe);
  return fail(result.error());
}

/// SOCK_NONBLOCK and SOCK_CLOEXEC have the values of O_NONBLOCK and O_CLOEXEC.
constexpr uint32_t kTypeMask = 0xf;
constexpr OpenFlags kTypeFlags = OpenFlags::kNonBlock | OpenFlags::kCloseOnExec;

Result<RefPtr<net::Socket>> accept_connection(File& file, uint64_t address, uint64_t address_length,
                                              uint32_t raw_flags) {
  auto flags = static_cast<OpenFlags>(raw_flags);
  if (has(flags, ~kTypeFlags)) return fail(Errno::kInval);
  net::Socket* listener = net::as_socket(file);
  if (listener == nullptr) return fail(Errno::kNotSock);
  net::SocketAddress peer;
  RefPtr<net::Socket> accepted = ARIL_TRY(listener->accept(flags & OpenFlags::kNonBlock, &peer));
  ARIL_TRY(write_address(peer, address, UserPtr<uint32_t>(address_length)));
  return accepted;
}

namespace {

struct TypeAndFlags {
  net::SocketType type;
  OpenFlags flags;
  CloseOnExec close_on_exec;
};
Result<TypeAndFlags> split_type(uint32_t raw) {
  auto flags = static_cast<OpenFlags>(raw & ~kTypeMask);
  if (has(flags, ~kTypeFlags)) return fail(Errno::kInval);
  return TypeAndFlags{static_cast<net::SocketType>(raw & kTypeMask), flags & OpenFlags::kNonBlock,
                      has(flags, OpenFlags::kCloseOnExec) ? CloseOnExec::kYes : CloseOnExec::kNo};
}

Result<int> sys_socket(int family, uint32_t raw_type, int protocol) {
  TypeAndFlags kind = ARIL_TRY(split_type(raw_type));
  FamilyOperations operations = ARIL_TRY(family_operations(family));
  RefPtr<net::Socket> socket = ARIL_TRY(operations.create(kind.type, protocol, kind.flags));
  socket->set_owner(caller_credentials());
  return current_process().files().install(std::move(socket), kind.close_on_exec);
}
ARIL_SYSCALL(41, socket, sys_socket, "int hex int");

Result<void> sys_socketpair(int family, uint32_t raw_type, int protocol, UserPtr<int32_t> fds) {
  TypeAndFlags kind = ARIL_TRY(split_type(raw_type));
  FamilyOperations operations = ARIL_TRY(family_operations(family));
  if (operations.create_pair == nullptr) return fail(Errno::kOpNotSupp);
  auto [first, second] =
      ARIL_TRY(operations.create_pair(kind.type, protocol, kind.flags, caller_credentials()));
  FileTable& files = current_process().files();
  int numbers[2];
  numbers[0] = ARIL_TRY(files.install(std::move(first), kind.close_on_exec));
  auto installed = files.install(std::move(second), kind.close_on_exec);
  if (!installed) {
    (void)files.close(numbers[0]);
    return fail(installed.error());
  }
  numbers[1] = *installed;
  auto written = fds.write_array(numbers);
  if (!written) {
    (void)files.close(numbers[1]);
    (void)files.close(numbers[0]);
  }
  return written;
}
ARIL_SYSCALL(53, socketpair, sys_socketpair, "int hex int >ptr");

using UserAddress = UserPtr<char>;

Result<void> sys_bind(int fd, UserAddress address, uint32_t length) {
  SocketRef socket = ARIL_TRY(socket_of(fd));
  return socket->bind(ARIL_TRY(read_address(address.address(), length)));
}
ARIL_SYSCALL(49, bind, sys_bind, "fd sockaddr int");

Result<void> sys_listen(int fd, int backlog) {
  SocketRef socket = ARIL_TRY(socket_of(fd));
  socket->set_owner(caller_credentials());
  return socket->listen(backlog);
}
ARIL_SYSCALL(50, listen, sys_listen, "fd int");

Result<int> sys_accept4(int fd, UserAddress address, UserPtr<uint32_t> length, uint32_t raw_flags) {
  SocketRef listener = ARIL_TRY(socket_of(fd));
  auto accepted =
      ARIL_TRY(accept_connection(*listener.file, address.address(), length.address(), raw_flags));
  bool close_on_exec = has(static_cast<OpenFlags>(raw_flags), OpenFlags::kCloseOnExec);
  return current_process().files().install(std::move(accepted),
                                           close_on_exec ? CloseOnExec::kYes : CloseOnExec::kNo);
}
ARIL_SYSCALL(288, accept4, sys_accept4, "fd >ptr ptr hex");

Result<int> sys_accept(int fd, UserAddress address, UserPtr<uint32_t> length) {
  return sys_accept4(fd, address, length, 0);
}
ARIL_SYSCALL(43, accept, sys_accept, "fd >ptr ptr");

Result<void> sys_connect(int fd, UserAddress address, uint32_t length) {
  SocketRef socket = ARIL_TRY(socket_of(fd));
  socket->set_owner(caller_credentials());
  return socket->connect(ARIL_TRY(read_address(address.address(), length)));
}
ARIL_SYSCALL(42, connect, sys_connect, "fd sockaddr int");

Result<void> sys_getsockname(int fd, UserAddress address, UserPtr<uint32_t> length) {
  SocketRef socket = ARIL_TRY(socket_of(fd));
  if (!address) return fail(Errno::kFault);
  return write_address(ARIL_TRY(socket->local_address()), address.address(), length);
}
ARIL_SYSCALL(51, getsockname, sys_getsockname, "fd >ptr ptr");

Result<void> sys_getpeername(int fd, UserAddress address, UserPtr<uint32_t> length) {
  SocketRef socket = ARIL_TRY(socket_of(fd));
  if (!address) return fail(Errno::kFault);
  return write_address(ARIL_TRY(socket->peer_address()), address.address(), length);
}
ARIL_SYSCALL(52, getpeername, sys_getpeername, "fd >ptr ptr");

Result<void> sys_shutdown(int fd, uint32_t how) {
  SocketRef socket = ARIL_TRY(socket_of(fd));
  if (how > std::to_underlying(net::ShutdownSide::kBoth)) return fail(Errno::kInval);
  return socket->shutdown(static_cast<net::ShutdownSide>(how));
}
ARIL_SYSCALL(48, shutdown, sys_shutdown, "fd int");

/// What a program's buffer holds, as far as an option can be long, in `bytes`.
Result<std::span<std::byte>> take_long_option(UserPtr<char> value, int length,
                                              std::unique_ptr<std::byte[]>& bytes) {
  size_t taken = std::min<size_t>(static_cast<size_t>(length), net::Socket::kMaxLongOption);
  bytes.reset(new (std::nothrow) std::byte[taken]);
  if (!bytes) return fail(Errno::kNoMem);
  std::span<std::byte> all(bytes.get(), taken);
  ARIL_TRY(copy_from_user(all, value.address()));
  return all;
}

Result<void> sys_setsockopt(int fd, int level, int name, UserPtr<char> value, int length) {
  SocketRef socket = ARIL_TRY(socket_of(fd));
  if (length < 0) return fail(Errno::kInval);
  if (net::Socket::is_long_option(level, name)) {
    std::unique_ptr<std::byte[]> bytes;
    return socket->set_option(level, name, ARIL_TRY(take_long_option(value, length, bytes)));
  }
  // No other option is longer; what is behind is not looked at.
  std::byte bytes[272];
  auto taken = std::span(bytes).first(std::min<size_t>(static_cast<size_t>(length), sizeof(bytes)));
  ARIL_TRY(copy_from_user(taken, value.address()));
  return socket->set_option(level, name, taken);
}
ARIL_SYSCALL(54, setsockopt, sys_setsockopt, "fd int int ptr int");

Result<void> sys_getsockopt(int fd, int level, int name, UserPtr<char> value,
                            UserPtr<int32_t> length) {
  SocketRef socket = ARIL_TRY(socket_of(fd));
  int32_t room = ARIL_TRY(length.read());
  if (room < 0) return fail(Errno::kInval);
  if (net::Socket::is_long_option(level, name)) {
    std::unique_ptr<std::byte[]> bytes;
    auto taken = ARIL_TRY(take_long_option(value, room, bytes));
    size_t answer = ARIL_TRY(socket->get_option_in_place(level, name, taken));
    ARIL_TRY(copy_to_user(value.address(), taken.first(answer)));
    return length.write(static_cast<int32_t>(answer));
  }
  // Few options read what the buffer holds; a buffer that cannot be read holds nothing.
  std::byte given[16];
  size_t known = std::min<size_t>(static_cast<size_t>(room), sizeof(given));
  if (level != net::SOL_PACKET || !copy_from_user(std::span(given).first(known), value.address()))
    known = 0;
  net::OptionValue result = ARIL_TRY(
      socket->get_option(level, name, static_cast<size_t>(room), std::span(given).first(known)));
  ARIL_TRY(copy_to_user(value.address(), std::span(result.bytes).first(result.length)));
  return length.write(static_cast<int32_t>(result.length));
}
ARIL_SYSCALL(55, getsockopt, sys_getsockopt, "fd int int >ptr ptr");

}  // namespace

}  // namespace aril::linux_abi
