#pragma once
#include "linux/files/io_vector.hpp"
#include "net/socket/socket.hpp"

/// What other ways to the sockets than the socket calls need (io_uring).
namespace aril::linux_abi {

/// struct msghdr.
struct MessageHeader {
  uint64_t name;
  uint32_t name_length;
  uint32_t padding;
  uint64_t vector;
  uint64_t vector_length;
  uint64_t control;
  uint64_t control_length;
  uint32_t flags;
  uint32_t padding2;
};
static_assert(sizeof(MessageHeader) == 56);

/// sendmsg's and recvmsg's argument, read once: header and vector, not what they point to.
class StoredMessage {
 public:
  StoredMessage() = default;
  /// kFault, kMsgSize for too long a vector, kNoMem.
  static Result<StoredMessage> read(uint64_t address);
  /// `origin`: where results are written.
  static Result<StoredMessage> of(const MessageHeader& header, uint64_t origin);

  Result<int64_t> send(net::Socket& socket, net::MessageFlags flags) const;
  /// Writes the header's results to where it was read from.
  Result<int64_t> receive(net::Socket& socket, net::MessageFlags flags) const;

 private:
  MessageHeader header_{};
  IoVector vector_;
  uint64_t origin_ = 0;
};

/// A sockaddr of the application. kInval for a length that is too long.
Result<net::SocketAddress> read_address(uint64_t pointer, uint32_t length);

/// accept4 but for the descriptor: `flags` are SOCK_NONBLOCK and SOCK_CLOEXEC. kNotSock.
Result<RefPtr<net::Socket>> accept_connection(File& listener, uint64_t address,
                                              uint64_t address_length, uint32_t flags);

}  // namespace aril::linux_abi
