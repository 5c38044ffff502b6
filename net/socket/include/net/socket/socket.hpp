#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "base/flags.hpp"
#include "base/packet_filter.hpp"
#include "base/time.hpp"
#include "kernel/io/file.hpp"

namespace aril::net {

/// AF_*.
enum class Family : uint16_t {
  kUnspecified = 0,
  kUnix = 1,
  kInet = 2,
  kInet6 = 10,
  kNetlink = 16,
  kPacket = 17
};
/// SOCK_*.
enum class SocketType : uint8_t { kStream = 1, kDatagram = 2, kRaw = 3, kSeqPacket = 5 };

/// A struct sockaddr of any family, as the application has it [socket(7)].
struct SocketAddress {
  static constexpr size_t kMaxLength = 128;  ///< sizeof(struct sockaddr_storage)
  std::array<std::byte, kMaxLength> bytes{};
  uint32_t length = 0;

  [[nodiscard]] Family family() const {
    uint16_t value = 0;
    if (length >= sizeof(value)) memcpy(&value, bytes.data(), sizeof(value));
    return static_cast<Family>(value);
  }
};

/// MSG_* of send(2) and recv(2); Linux's values.
enum class MessageFlags : uint32_t {
  kNone = 0,
  kOutOfBand = 1,
  kPeek = 2,
  kDontRoute = 4,
  kControlTruncated = 8,
  kTruncated = 0x20,
  kDontWait = 0x40,
  kEndOfRecord = 0x80,
  kWaitAll = 0x100,
  kConfirm = 0x800,
  kErrorQueue = 0x2000,
  kNoSignal = 0x4000,
  kMore = 0x8000,
  kWaitForOne = 0x10000,
  kFastOpen = 0x20000000,
  kCloseOnExec = 0x40000000,
};
ARIL_FLAG_OPERATORS(MessageFlags);

/// struct ucred.
struct PeerCredentials {
  int32_t pid = 0;
  uint32_t uid = ~0u;
  uint32_t gid = ~0u;
};

/// struct in_pktinfo, as seen by a receiver.
struct PacketInfo {
  int32_t interface = 0;
  uint32_t local = 0, destination = 0;  ///< network byte order
};

/// struct in6_pktinfo.
struct Ipv6PacketInfo {
  std::array<std::byte, 16> address{};
  uint32_t interface = 0;
};
static_assert(sizeof(Ipv6PacketInfo) == 20);

/// struct sock_extended_err with the offender's sockaddr behind it.
struct QueuedError {
  bool is_ipv6 = false;
  std::array<std::byte, 16 + 28> bytes{};
  size_t length = 0;
};

/// What travels beside the bytes: control messages in the kernel's form.
struct ControlData {
  std::vector<RefPtr<File>> files;  ///< SCM_RIGHTS
  std::optional<PeerCredentials> credentials;
  std::optional<PacketInfo> packet_info;
  std::optional<int32_t> time_to_live, type_of_service;
  std::optional<Ipv6PacketInfo> ipv6_packet_info;
  std::optional<int32_t> hop_limit, traffic_class;
  std::optional<int64_t> received_ns;                     ///< realtime, SO_TIMESTAMP
  std::optional<uint16_t> segment_size;                   ///< UDP_SEGMENT, UDP_GRO
  std::optional<QueuedError> error;                       ///< IP_RECVERR, IPV6_RECVERR
  std::optional<std::array<std::byte, 20>> packet_facts;  ///< PACKET_AUXDATA
};

struct OutgoingMessage {
  IoBuffer& data;
  MessageFlags flags = MessageFlags::kNone;
  const SocketAddress* destination = nullptr;
  ControlData* control = nullptr;  ///< taken from
};

struct IncomingMessage {
  IoBuffer& data;
  MessageFlags flags = MessageFlags::kNone;
  // Filled in.
  SocketAddress source;
  ControlData control;
  MessageFlags result_flags = MessageFlags::kNone;
};

/// A part of one page.
struct PagePiece {
  PageRef page;
  uint32_t offset = 0, length = 0;
};

enum class ShutdownSide : uint8_t { kRead = 0, kWrite = 1, kBoth = 2 };

/// Result of getsockopt: at most what fits.
struct OptionValue {
  std::array<std::byte, 256> bytes;
  size_t length = 0;

  static OptionValue of(std::span<const std::byte> value) {
    OptionValue result;
    result.length = value.size() < result.bytes.size() ? value.size() : result.bytes.size();
    memcpy(result.bytes.data(), value.data(), result.length);
    return result;
  }
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  static OptionValue of(const T& value) {
    return of(std::as_bytes(std::span(&value, 1)));
  }
};

/// The options of level SOL_SOCKET that every kind of socket keeps.
struct SocketOptions {
  bool reuse_address = false, reuse_port = false, keep_alive = false, broadcast = false;
  bool out_of_band_inline = false, dont_route = false, pass_credentials = false;
  bool timestamp = false, timestamp_ns = false, no_check = false, zero_copy = false;
  bool linger = false;
  Duration linger_time;
  /// Zero: none.
  Duration receive_timeout, send_timeout;
  uint32_t receive_buffer = 0, send_buffer = 0;  ///< as getsockopt shows; 0: default
  int32_t receive_low_water = 1;
  int32_t priority = 0;
  uint32_t mark = 0;
  uint32_t interface = 0;  ///< SO_BINDTODEVICE
  int32_t busy_poll = 0;
};

/// An open socket: what the socket calls work on. Calls of different threads may overlap.
///
/// A method that waits does so unless the file is non-blocking or the message says kDontWait, at
/// most for the option's time-out (then kAgain), and fails with kRestart when interrupted, or with
/// kIntr when a time-out is set [signal(7)].
class Socket : public File {
 public:
  Socket(Family family, SocketType type, int protocol, OpenFlags flags);

  virtual Result<void> bind(const SocketAddress& address) = 0;
  virtual Result<void> listen(int backlog);
  virtual Result<void> connect(const SocketAddress& address) = 0;
  /// `flags`: kNonBlock for the new socket. `peer` may be null.
  virtual Result<RefPtr<Socket>> accept(OpenFlags flags, SocketAddress* peer);
  virtual Result<void> shutdown(ShutdownSide side) = 0;
  virtual Result<SocketAddress> local_address() = 0;
  virtual Result<SocketAddress> peer_address() = 0;
  virtual Result<size_t> send(OutgoingMessage& message) = 0;
  virtual Result<size_t> receive(IncomingMessage& message) = 0;
  /// Sends bytes of pages without copying them where the protocol can (sendfile): the pages are
  /// shared until the peer has them.
  virtual Result<size_t> send_pages(std::span<const PagePiece> pieces, MessageFlags flags);

  Result<void> set_option(int level, int name, std::span<const std::byte> value);
  /// `given`: the beginning of what the application's buffer holds, which a few options look at.
  Result<OptionValue> get_option(int level, int name, size_t room,
                                 std::span<const std::byte> given = {});

  /// Options that say in their buffer what they are asked, and are answered there. The length of
  /// the answer; kNoProtoOpt when it is none of these.
  virtual Result<size_t> get_option_in_place(int level, int name, std::span<std::byte> buffer);
  /// These, which set_option() takes too, and their longest. Tiny kernels have none.
  static constexpr size_t kMaxLongOption = 144 + 64 * SocketAddress::kMaxLength;
  static bool is_long_option(int level, int name);

  /// Who acts: kept for SO_PEERCRED and SCM_CREDENTIALS. Set by the socket calls.
  void set_owner(const PeerCredentials& owner) { owner_ = owner; }
  [[nodiscard]] const PeerCredentials& owner() const { return owner_; }

  [[nodiscard]] Family family() const { return family_; }
  [[nodiscard]] SocketType type() const { return type_; }
  [[nodiscard]] uint64_t inode() const { return inode_; }
  [[nodiscard]] const SocketOptions& options() const { return options_; }

  /// Who answers the requests about interfaces that every socket takes [netdevice(7)]; once, before
  /// the first program. Without it they fail with kNoTty.
  static void set_interface_requests(Result<int64_t> (*answer)(uint32_t request,
                                                               uint64_t argument));
  /// Who knows the time of day; once, before the first program. Without it, it is since boot.
  static void set_wall_clock(int64_t (*realtime)(Instant));
  static int64_t realtime(Instant time);

  // File.
  Result<int64_t> ioctl(uint32_t request, uint64_t argument) override;
  Result<size_t> read(IoBuffer& buffer) override;
  Result<size_t> write(IoBuffer& buffer) override;
  [[nodiscard]] bool is_pollable() const override { return true; }
  [[nodiscard]] bool raises_broken_pipe() const override { return type_ != SocketType::kDatagram; }
  Result<FileStatus> status() override;
  [[nodiscard]] std::string description() const override;
  void* facet(const void* tag) override;

 protected:
  /// options_ changed: take over what concerns the protocol.
  virtual Result<void> apply_options() { return {}; }
  /// Levels other than SOL_SOCKET, and SOL_SOCKET's that only one family has. kNoProtoOpt.
  virtual Result<void> set_protocol_option(int level, int name, std::span<const std::byte> value);
  virtual Result<OptionValue> get_protocol_option(int level, int name);
  virtual Result<OptionValue> get_option_about(int level, int name,
                                               std::span<const std::byte> given);
  /// SO_ATTACH_FILTER; nullopt: SO_DETACH_FILTER. kNoProtoOpt where the kind has no filters.
  virtual Result<void> set_filter(std::optional<PacketFilter> filter);
  /// SO_ERROR: taken.
  virtual Errno take_error() { return Errno{}; }
  [[nodiscard]] virtual bool is_listening() { return false; }
  [[nodiscard]] virtual uint32_t default_buffer(bool send) const;

  [[nodiscard]] bool may_wait(MessageFlags flags) const {
    return !is_nonblocking() && !has(flags, MessageFlags::kDontWait);
  }
  [[nodiscard]] static Instant deadline_after(Duration timeout);
  /// What a failed wait means to the caller: kAgain at the time-out, kIntr or kRestart by signal.
  [[nodiscard]] static Failure wait_failed(Errno error, Duration timeout);

  SocketOptions options_;
  PeerCredentials owner_;

 private:
  Result<void> set_socket_option(int name, std::span<const std::byte> value);
  Result<OptionValue> get_socket_option(int name);

  const Family family_;
  const SocketType type_;
  const int protocol_;
  const uint64_t inode_;
};

/// The socket behind a file, or null.
Socket* as_socket(File& file);

/// Reads an int option value: kInval when shorter.
Result<int32_t> option_int(std::span<const std::byte> value);

}  // namespace aril::net
