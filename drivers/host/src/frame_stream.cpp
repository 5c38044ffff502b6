#include <cstring>
#include <new>

#include "base/endian.hpp"
#include "base/unique.hpp"
#include "kernel/sync/spin_lock.hpp"
#include "network_device.hpp"

namespace aril::host {
namespace {

using Length = Be<uint32_t>;

/// Frames in a byte stream. A frame of which the host took only a part is finished before the next;
/// one that found no room at all is the caller's to send again.
class FrameStream final : public NetworkDevice {
 public:
  static constexpr size_t kBufferSize = sizeof(Length) + kMaxFrame;
  using Buffer = std::unique_ptr<std::byte[]>;

  FrameStream(const NetworkConfig& config, Buffer received, Buffer unsent)
      : NetworkDevice(config), received_(std::move(received)), unsent_(std::move(unsent)) {}

  [[nodiscard]] NetOffload offloads() const override { return NetOffload::kNone; }

  Result<void> transmit(const TxFrame& frame, void (*release)(void*), void* context) override {
    if (!link_up()) return fail(Errno::kIo);
    size_t size = 0;
    for (const TxFrame::Piece& piece : frame.pieces) size += piece.length;
    if (size > kMaxFrame) return fail(Errno::kInval);
    const Length length(static_cast<uint32_t>(size));
    Vectors vectors;
    bool fits = vectors.add(&length, sizeof length);
    for (const TxFrame::Piece& piece : frame.pieces)
      fits = fits && vectors.add(piece.data, piece.length);
    if (!fits) return fail(Errno::kInval);
    {
      LockGuard guard(lock_);
      ARIL_TRY(send_locked(vectors));
    }
    note_sent();
    if (release != nullptr) release(context);
    return {};
  }

  unsigned poll_receive(unsigned, unsigned budget, Sink sink, void* context) override {
    {
      LockGuard guard(lock_);
      static_cast<void>(send_rest_locked());
    }
    unsigned count = 0;
    while (count < budget && link_up()) {
      if (take_frame(sink, context)) {
        ++count;
      } else if (!fill()) {
        break;
      }
    }
    return count;
  }

 private:
  Result<void> send_locked(const Vectors& vectors) {
    ARIL_TRY(send_rest_locked());
    size_t sent = ARIL_TRY(write_locked(vectors.all()));
    // The rest is kept: the stream must go on within this frame.
    for (const arch::HostVector& piece : vectors.all()) {
      size_t skip = std::min(sent, piece.length);
      sent -= skip;
      std::memcpy(unsent_.get() + unsent_end_, static_cast<std::byte*>(piece.base) + skip,
                  piece.length - skip);
      unsent_end_ += piece.length - skip;
    }
    return {};
  }

  Result<void> send_rest_locked() {
    while (unsent_start_ < unsent_end_) {
      const arch::HostVector rest{unsent_.get() + unsent_start_, unsent_end_ - unsent_start_};
      unsent_start_ += ARIL_TRY(write_locked({&rest, 1}));
    }
    unsent_start_ = unsent_end_ = 0;
    return {};
  }

  Result<size_t> write_locked(std::span<const arch::HostVector> pieces) {
    for (;;) {
      Result<size_t> sent = arch::host_write(descriptor(), pieces);
      if (sent) return sent;
      if (sent.error() == Errno::kIntr) continue;
      if (sent.error() == Errno::kAgain) {
        set_blocked();
        return sent;
      }
      fail_device("write", sent.error());
      return fail(Errno::kIo);
    }
  }

  /// Hands on the frame at the front of what was received; false when it is not all there yet.
  bool take_frame(Sink sink, void* context) {
    if (end_ - start_ < sizeof(Length)) return false;
    Length length;
    std::memcpy(&length, received_.get() + start_, sizeof length);
    if (length > kMaxFrame) {
      fail_device("a frame's length", Errno::kProto);
      return false;
    }
    if (end_ - start_ < sizeof length + length) return false;
    std::span<const std::byte> frame(received_.get() + start_ + sizeof length, length);
    if (frame.size() >= kEthernetHeader) hand_on(sink, context, frame, RxChecksum::kUnknown);
    start_ += sizeof length + length;
    return true;
  }

  /// Reads more; false when there is nothing.
  bool fill() {
    if (start_ != 0) {
      std::memmove(received_.get(), received_.get() + start_, end_ - start_);
      end_ -= start_;
      start_ = 0;
    }
    for (;;) {
      Result<size_t> count =
          arch::host_read(descriptor(), {received_.get() + end_, kBufferSize - end_});
      if (count && *count != 0) {
        end_ += *count;
        return true;
      }
      if (!count && count.error() == Errno::kIntr) continue;
      if (!count && count.error() == Errno::kAgain) return false;
      fail_device("read", count ? Errno::kPipe : count.error());
      return false;
    }
  }

  // Receiving: one caller at a time.
  Buffer received_;
  size_t start_ = 0, end_ = 0;

  SpinLock lock_{LockRank::kDevice};
  Buffer unsent_;
  size_t unsent_start_ = 0, unsent_end_ = 0;
};

}  // namespace

Result<std::unique_ptr<NetDevice>> open_frame_stream(const NetworkConfig& config) {
  FrameStream::Buffer received(new (std::nothrow) std::byte[FrameStream::kBufferSize]);
  FrameStream::Buffer unsent(new (std::nothrow) std::byte[FrameStream::kBufferSize]);
  if (received == nullptr || unsent == nullptr) return fail(Errno::kNoMem);
  auto stream =
      ARIL_TRY(try_make_unique<FrameStream>(config, std::move(received), std::move(unsent)));
  stream->start();
  return std::unique_ptr<NetDevice>(std::move(stream));
}

}  // namespace aril::host
