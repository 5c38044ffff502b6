#pragma once
#include <atomic>
#include <memory>

#include "base/intrusive_list.hpp"
#include "kernel/sched/mutex.hpp"
#include "net/socket/socket.hpp"

namespace aril::net {

/// One write to a Unix socket on its way: bytes, and what travels with them.
struct UnixPacket {
  ListNode node;
  std::unique_ptr<std::byte[]> bytes;
  size_t length = 0;
  size_t taken = 0;  ///< of a stream: bytes that were read already
  SocketAddress source;
  ControlData control;

  /// Copies the next `count` bytes of `data`. kNoMem, kFault.
  static Result<std::unique_ptr<UnixPacket>> make(IoBuffer& data, size_t count);
  [[nodiscard]] std::span<const std::byte> rest() const {
    return {bytes.get() + taken, length - taken};
  }
};

/// One direction of a Unix connection, or the inbox of a datagram socket: a bounded queue of
/// packets between writers and one reader. Never sleeps: kAgain says wait. Files in flight are
/// released with no lock held. Any thread.
class UnixChannel final : public RefCounted {
 public:
  enum class Kind : uint8_t { kStream, kPackets };
  static constexpr size_t kDefaultLimit = 212992;  // net.core.wmem_default

  explicit UnixChannel(Kind kind) : kind_(kind) {}
  ~UnixChannel();

  /// kAgain when it is full; kPipe when the reader is gone; kMsgSize when it could never fit. On
  /// success the packet is taken.
  Result<void> push(std::unique_ptr<UnixPacket>& packet);
  /// Bytes that a stream writer may add now; 0 when full.
  [[nodiscard]] size_t room();
  /// Takes, or with kPeek copies, what is there: of a stream up to the first change of what travels
  /// along, of packets one. 0 at the end. kAgain; kConnReset once after the writer left unread data
  /// of its own behind.
  Result<size_t> take(IncomingMessage& message);
  /// No more will come. `reset`: the reader shall see kConnReset.
  enum class Ending : uint8_t { kOrderly, kReset };
  void close_writer(Ending ending);
  /// Nobody reads any more: what is queued is dropped. True when there was any.
  bool close_reader();
  [[nodiscard]] bool reader_closed();
  [[nodiscard]] bool writer_closed();

  /// kReadable and kRdHup, or kWritable, as they hold.
  PollEvents poll_reader();
  PollEvents poll_writer();
  [[nodiscard]] size_t readable_bytes();
  void set_limit(size_t limit);
  /// The inode of the socket that reads, for who lists sockets; 0: nobody does.
  std::atomic<uint64_t> reader_inode{0};

  WaitQueue readers;  ///< woken when something is to read, or the end
  WaitQueue writers;  ///< woken when there is room, or the reader is gone

 private:
  using PacketList = IntrusiveList<UnixPacket, &UnixPacket::node>;
  static void free_all(PacketList& packets);
  Result<size_t> take_stream_locked(IncomingMessage& message, PacketList& done);
  Result<size_t> take_packet_locked(IncomingMessage& message, PacketList& done);

  const Kind kind_;
  Mutex mutex_{LockRank::kSocket};
  PacketList packets_;
  size_t bytes_ = 0;
  size_t limit_ = kDefaultLimit;
  bool writer_closed_ = false, reader_closed_ = false;
  bool reset_ = false;
};

}  // namespace aril::net
