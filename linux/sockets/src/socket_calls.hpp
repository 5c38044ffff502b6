#pragma once
#include "linux/abi/syscall.hpp"
#include "linux/files/file_table.hpp"
#include "linux/process/process.hpp"
#include "linux/sockets/messages.hpp"
#include "net/socket/socket.hpp"

/// What the socket calls share.
namespace aril::linux_abi {

/// A socket that a descriptor refers to. kBadF, kNotSock.
struct SocketRef {
  RefPtr<File> file;
  net::Socket* socket = nullptr;
  net::Socket* operator->() const { return socket; }
  net::Socket& operator*() const { return *socket; }
};
Result<SocketRef> socket_of(int fd);

net::PeerCredentials caller_credentials();

/// Writes as much as the application has room for and the real length; nothing for a null pointer.
Result<void> write_address(const net::SocketAddress& address, uint64_t pointer,
                           UserPtr<uint32_t> length);

/// The end of a send: a broken pipe is also signalled unless kNoSignal.
Result<int64_t> finish_send(net::Socket& socket, Result<size_t> result, net::MessageFlags flags);

/// Control messages [cmsg(3)] to and from the kernel's form.
Result<net::ControlData> read_control(uint64_t pointer, uint64_t length);
struct WrittenControl {
  uint64_t length = 0;
  bool truncated = false;
};
Result<WrittenControl> write_control(net::Socket& socket, net::ControlData& control,
                                     uint64_t pointer, uint64_t room, CloseOnExec close_on_exec);

}  // namespace aril::linux_abi
