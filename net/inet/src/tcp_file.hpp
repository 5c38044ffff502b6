#pragma once
#include "inet_base.hpp"

namespace aril::net {

/// A TCP socket as a file. The handle is used, and released, under the stack's lock.
class TcpFile final : public InetSocket {
 public:
  TcpFile(Runtime& runtime, Family family, RefPtr<TcpSocket> handle, OpenFlags flags);
  ~TcpFile() override;

  Result<void> bind(const SocketAddress& address) override;
  Result<void> listen(int backlog) override;
  Result<void> connect(const SocketAddress& address) override;
  Result<RefPtr<Socket>> accept(OpenFlags flags, SocketAddress* peer) override;
  Result<void> shutdown(ShutdownSide side) override;
  Result<SocketAddress> local_address() override;
  Result<SocketAddress> peer_address() override;
  Result<size_t> send(OutgoingMessage& message) override;
  Result<size_t> receive(IncomingMessage& message) override;
  Result<size_t> read(IoBuffer& buffer) override;
  Result<size_t> send_pages(std::span<const PagePiece> pieces, MessageFlags flags) override;
  Result<int64_t> ioctl(uint32_t request, uint64_t argument) override;

 protected:
  [[nodiscard]] PollEvents events_locked() const override { return handle_->events(); }
  Result<void> apply_options() override;
  Result<void> set_protocol_option(int level, int name, std::span<const std::byte> value) override;
  Result<OptionValue> get_protocol_option(int level, int name) override;
  Errno take_error() override;
  bool is_listening() override;
  [[nodiscard]] uint32_t default_buffer(bool send) const override;

 private:
  /// MSG_FASTOPEN, and the first data after a connect() that waits for it.
  Result<size_t> send_fast_open(OutgoingMessage& message);
  Result<size_t> send_stream(OutgoingMessage& message);
  Result<size_t> send_chain(BlockChain& chain, MessageFlags flags);
  /// Copies through the kernel stack.
  Result<size_t> send_small(OutgoingMessage& message);
  /// Calls `send(bytes done, flags)` under the lock until all `size` bytes are taken, waiting for
  /// room where that is allowed.
  template <typename Send>
  Result<size_t> send_all(size_t size, MessageFlags flags, Send send);
  Result<size_t> receive_stream(IoBuffer& data, MessageFlags flags);
  Result<size_t> receive_some(IoBuffer& data, bool peek, size_t skip);
  Result<void> set_fast_open_option(int name, int32_t value);
  Result<void> set_tcp_option(int name, std::span<const std::byte> value);
  Result<void> set_ip_option(int name, std::span<const std::byte> value);
  Result<void> set_ipv6_option(int name, std::span<const std::byte> value);
  Result<OptionValue> get_ipv6_option(int name);
  Result<OptionValue> get_tcp_option(int name);
  Result<OptionValue> get_ip_option(int name);
  template <typename Change>
  Result<void> change_options(Change change);
  [[nodiscard]] TcpOptions tcp_options();

  /// [listen(2)] net.core.somaxconn.
  static constexpr uint32_t kMaxBacklog = 4096;

  RefPtr<TcpSocket> handle_;
  bool may_defer_ = false;  // TCP_FASTOPEN_CONNECT: the first data may have to make the connection
};

}  // namespace aril::net
