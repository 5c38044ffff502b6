#include "drivers/serial/serial_port.hpp"

#include <algorithm>
#include <cstring>

#include "arch/interrupts.hpp"
#include "arch/port_io.hpp"

namespace aril {
namespace {

// Registers, relative to the base port [PC16550D, table II].
enum Register : uint16_t {
  kData = 0,             // and the divisor's low byte
  kInterruptEnable = 1,  // and the divisor's high byte
  kFifoControl = 2,
  kLineControl = 3,
  kModemControl = 4,
  kLineStatus = 5,
  kScratch = 7,
};
constexpr uint8_t kReceivedDataInterrupt = 1;
constexpr uint8_t kEnableAndClearFifos = 0x07;
constexpr uint8_t kEightBitsNoParity = 0x03, kDivisorAccess = 0x80;
constexpr uint8_t kLoopback = 0x10;
constexpr uint8_t kReadyToSend = 0x0b;  // DTR, RTS, and OUT2, which gates the interrupt line
constexpr uint8_t kDataReady = 0x01, kTransmitterEmpty = 0x20;
constexpr size_t kFifoSize = 16;
/// Polls of the line status before the text is given up: some seconds. A host that reads the other
/// end slowly (a full socket behind QEMU's UART) holds the transmitter up for much longer than 16
/// bytes take at 115200 baud.
constexpr unsigned kPatience = 10'000'000;

}  // namespace

bool SerialPort::initialize() {
  // A register that does not hold what was written is no UART.
  constexpr uint8_t kProbe = 0xa5;
  arch::out8(base_ + kScratch, kProbe);
  if (arch::in8(base_ + kScratch) != kProbe) return false;
  arch::out8(base_ + kInterruptEnable, 0);
  // The host may have sent something before this: turning the FIFOs on would lose it. In loopback
  // mode the receiver is cut off (and a virtual one does not ask for more) while the one byte that
  // can be there is saved.
  arch::out8(base_ + kModemControl, kLoopback);
  keep_received_byte();
  arch::out8(base_ + kLineControl, kDivisorAccess);
  arch::out8(base_ + kData, 1);  // 115200 baud
  arch::out8(base_ + kInterruptEnable, 0);
  arch::out8(base_ + kLineControl, kEightBitsNoParity);
  arch::out8(base_ + kFifoControl, kEnableAndClearFifos);
  arch::out8(base_ + kModemControl, kReadyToSend);
  // Also when there is nothing: a virtual receiver sends on what waits only after such a read.
  if (!keep_received_byte()) static_cast<void>(arch::in8(base_ + kData));
  present_ = true;
  return true;
}

bool SerialPort::keep_received_byte() {
  if ((arch::in8(base_ + kLineStatus) & kDataReady) == 0) return false;
  auto byte = static_cast<std::byte>(arch::in8(base_ + kData));
  if (head_ - tail_ == kRingSize) {
    ++dropped_;
  } else {
    ring_[head_++ % kRingSize] = byte;
  }
  return true;
}

void SerialPort::write_polled(std::string_view text) {
  if (!present_) return;
  // An empty transmitter takes a FIFO's worth without another look at the status: each look is an
  // exit to the hypervisor.
  while (!text.empty()) {
    unsigned polls = 0;
    while ((arch::in8(base_ + kLineStatus) & kTransmitterEmpty) == 0) {
      // A line that nobody reads costs this wait once, not with every text.
      if (stalled_ || ++polls == kPatience) {
        stalled_ = true;
        return;
      }
    }
    stalled_ = false;
    size_t count = std::min(text.size(), kFifoSize);
    for (char c : text.substr(0, count)) arch::out8(base_ + kData, static_cast<uint8_t>(c));
    text.remove_prefix(count);
  }
}

Result<void> SerialPort::enable_input(uint8_t isa_line) {
  if (!present_) return fail(Errno::kNoDev);
  ARIL_TRY(arch::connect_isa_interrupt(isa_line, &on_interrupt, this));
  arch::out8(base_ + kInterruptEnable, kReceivedDataInterrupt);
  drain_receiver();  // what came before would never interrupt
  return {};
}

void SerialPort::on_interrupt(void* argument) {
  static_cast<SerialPort*>(argument)->drain_receiver();
}

void SerialPort::drain_receiver() {
  void (*callback)(void*) = nullptr;
  void* context = nullptr;
  {
    LockGuard guard(lock_);
    // Bounded: a port that is not there any more reads as all ones.
    bool received = false;
    for (size_t i = 0; i < kRingSize && keep_received_byte(); ++i) received = true;
    if (received) {
      callback = callback_;
      context = callback_context_;
    }
  }
  if (callback != nullptr) callback(context);
}

Result<void> SerialPort::write(std::span<const std::byte> bytes) {
  write_polled({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  return {};
}

size_t SerialPort::read_available(std::span<std::byte> bytes) {
  LockGuard guard(lock_);
  size_t count = 0;
  while (count < bytes.size() && tail_ != head_) bytes[count++] = ring_[tail_++ % kRingSize];
  return count;
}

void SerialPort::set_receive_callback(void (*callback)(void*), void* context) {
  LockGuard guard(lock_);
  callback_ = callback;
  callback_context_ = context;
}

}  // namespace aril
