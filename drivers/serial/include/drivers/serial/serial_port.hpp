#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "kernel/io/devices.hpp"
#include "kernel/sync/spin_lock.hpp"

namespace aril {

/// A 16550 UART on I/O ports [PC16550D]. Output is polled, so that a panic can use it; input is by
/// interrupt into a small ring. COM1 is the control line to `aril` (base/image_abi.hpp).
class SerialPort final : public CharDevice {
 public:
  static constexpr uint16_t kCom1 = 0x3f8;
  static constexpr uint8_t kCom1Line = 4;

  constexpr explicit SerialPort(uint16_t base) : base_(base) {}

  /// Sets 115200 8N1 with FIFOs; false when no UART answers. Boot CPU, before any other use.
  bool initialize();
  [[nodiscard]] bool is_present() const { return present_; }

  /// Writes `text` with "\n" sent as it is. Any context, interleaving callers are kept apart only
  /// by their own lock. Gives up on a line that the UART does not take within a bounded time.
  void write_polled(std::string_view text);

  /// Lets received bytes interrupt (after the interrupt controllers stand). kNoEnt when the line
  /// cannot be connected.
  Result<void> enable_input(uint8_t isa_line);

  // CharDevice.
  Result<void> write(std::span<const std::byte> bytes) override;
  size_t read_available(std::span<std::byte> bytes) override;
  void set_receive_callback(void (*callback)(void*), void* context) override;

 private:
  static void on_interrupt(void* argument);
  void drain_receiver();
  /// Moves one received byte to the ring; false when there is none.
  bool keep_received_byte();

  static constexpr size_t kRingSize = 1024;
  const uint16_t base_;
  bool present_ = false;
  bool stalled_ = false;  ///< the transmitter did not take what was written last
  SpinLock lock_{LockRank::kDevice};
  // Guarded by lock_.
  uint32_t head_ = 0, tail_ = 0;
  uint64_t dropped_ = 0;
  void (*callback_)(void*) = nullptr;
  void* callback_context_ = nullptr;
  std::byte ring_[kRingSize] = {};
};

}  // namespace aril
