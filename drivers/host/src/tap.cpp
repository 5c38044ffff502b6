#include <cstring>
#include <new>

#include "base/unique.hpp"
#include "kernel/log/log.hpp"
#include "network_device.hpp"

namespace aril::host {

void NetworkDevice::fail_device(const char* what, Errno error) {
  if (failed_.exchange(true)) return;
  // It cannot come back, and nobody could reach the program to end it.
  write_record("report network: the host's interface is gone (%s: error %d)", what,
               static_cast<int>(error));
  constexpr int kStatus = 255;
  stop_machine(kStatus);
}

namespace {

/// [virtio-1.2] 5.1.6, without the buffer count: Linux's struct virtio_net_hdr, little-endian.
struct TapHeader {
  uint8_t flags, gso_type;
  uint16_t header_length, gso_size, checksum_start, checksum_offset;
};
static_assert(sizeof(TapHeader) == 10);
constexpr uint8_t kNeedsChecksum = 1, kDataValid = 2;
constexpr uint8_t kGsoTcp4 = 1, kGsoUdp = 3, kGsoTcp6 = 4;

class Tap final : public NetworkDevice {
 public:
  Tap(const NetworkConfig& config, std::unique_ptr<std::byte[]> buffer)
      : NetworkDevice(config), buffer_(std::move(buffer)) {}
  static constexpr size_t kBufferSize = sizeof(TapHeader) + kMaxFrame;

  [[nodiscard]] NetOffload offloads() const override {
    using enum NetOffload;
    return kTxChecksum | kTsoIpv4 | kTsoIpv6 | kUfo | kRxChecksum | kRxGro;
  }

  Result<void> transmit(const TxFrame& frame, void (*release)(void*), void* context) override {
    if (!link_up()) return fail(Errno::kIo);
    TapHeader header{};
    if (frame.checksum_start != 0) {
      header.flags = kNeedsChecksum;
      header.checksum_start = frame.checksum_start;
      header.checksum_offset = frame.checksum_offset;
    }
    if (frame.segment_size != 0) {
      header.gso_type = frame.is_datagram ? kGsoUdp : frame.is_ipv6 ? kGsoTcp6 : kGsoTcp4;
      header.gso_size = frame.segment_size;
      header.header_length = frame.header_length;
    }
    Vectors vectors;
    bool fits = vectors.add(&header, sizeof header);
    for (const TxFrame::Piece& piece : frame.pieces)
      fits = fits && vectors.add(piece.data, piece.length);
    if (!fits) return fail(Errno::kInval);
    Result<size_t> sent = arch::host_write(descriptor(), vectors.all());
    while (!sent && sent.error() == Errno::kIntr)
      sent = arch::host_write(descriptor(), vectors.all());
    if (!sent) return refused(sent.error());
    note_sent();
    if (release != nullptr) release(context);
    return {};
  }

  unsigned poll_receive(unsigned, unsigned budget, Sink sink, void* context) override {
    unsigned count = 0;
    while (count < budget && link_up()) {
      Result<size_t> length = arch::host_read(descriptor(), {buffer_.get(), kBufferSize});
      if (!length && length.error() == Errno::kIntr) continue;
      if (!length && length.error() == Errno::kAgain) break;
      if (!length) {
        fail_device("read", length.error());
        break;
      }
      ++count;
      if (*length < sizeof(TapHeader) + kEthernetHeader) continue;
      TapHeader header;
      std::memcpy(&header, buffer_.get(), sizeof header);
      // A frame that still needs its checksum came from the host itself and never crossed a wire.
      bool verified = (header.flags & (kNeedsChecksum | kDataValid)) != 0;
      hand_on(sink, context, {buffer_.get() + sizeof header, *length - sizeof header},
              verified ? RxChecksum::kVerified : RxChecksum::kUnknown);
    }
    return count;
  }

 private:
  Result<void> refused(Errno error) {
    if (error == Errno::kAgain || error == Errno::kNoBufs) {
      set_blocked();
      return fail(Errno::kAgain);
    }
    // A frame that the host finds wrong is lost, as on any wire; an interface that is gone stays
    // so.
    if (error == Errno::kInval || error == Errno::kIo) return fail(error);
    fail_device("write", error);
    return fail(Errno::kIo);
  }

  std::unique_ptr<std::byte[]> buffer_;
};

}  // namespace

Result<std::unique_ptr<NetDevice>> open_tap(const NetworkConfig& config) {
  std::unique_ptr<std::byte[]> buffer(new (std::nothrow) std::byte[Tap::kBufferSize]);
  if (buffer == nullptr) return fail(Errno::kNoMem);
  auto tap = ARIL_TRY(try_make_unique<Tap>(config, std::move(buffer)));
  tap->start();
  return std::unique_ptr<NetDevice>(std::move(tap));
}

}  // namespace aril::host
