#pragma once
#include <cstdint>
#include <memory>

#include "arch/layout.hpp"
#include "base/result.hpp"
#include "drivers/pci/pci.hpp"
#include "drivers/virtio/device_set.hpp"

namespace aril::virtio {

using arch::PhysicalAddress;

/// What a transport calls when its device interrupts. Interrupt context; calls may be spurious.
class InterruptSink {
 public:
  virtual void on_queue_interrupt(unsigned queue) = 0;
  virtual void on_config_interrupt() = 0;
  /// The CPU that serves the queue: its interrupts go there where each queue has one of its own.
  [[nodiscard]] virtual unsigned cpu_of_queue(unsigned /*queue*/) const { return 0; }

 protected:
  ~InterruptSink() = default;
};

/// How a driver reaches one device [virtio-1.2] 4. Little-endian registers of version 1.
class Transport {
 public:
  virtual ~Transport() = default;

  [[nodiscard]] virtual uint32_t device_id() const = 0;
  /// "mmio 0xfeb00000", "pci 00:02.0": for log lines.
  [[nodiscard]] virtual const char* place() const = 0;

  [[nodiscard]] virtual uint8_t status() = 0;
  virtual void set_status(uint8_t status) = 0;
  /// True when the device has confirmed: from then on it touches no memory [virtio-1.2] 2.1.2.
  virtual bool reset() = 0;

  [[nodiscard]] virtual uint64_t offered_features() = 0;
  virtual void accept_features(uint64_t features) = 0;

  /// Connects the device's interrupts, before start_queue: those of the first `queues` queues. One
  /// further queue may be started, which has none. Again after a reset, with no more queues.
  virtual Result<void> connect_interrupts(InterruptSink& sink, unsigned queues) = 0;

  /// The largest size of a queue; 0 when there is no such queue.
  [[nodiscard]] virtual uint16_t queue_limit(unsigned queue) = 0;
  struct QueueLayout {
    uint16_t size;
    PhysicalAddress descriptors, available, used;
  };
  virtual Result<void> start_queue(unsigned queue, const QueueLayout& layout) = 0;
  /// Tells the device that buffers were made available. Any context.
  virtual void notify(unsigned queue) = 0;

  /// A field of the device's configuration, `width` 1, 2 or 4 bytes at an offset aligned to it; 0
  /// past the end. Any context.
  [[nodiscard]] virtual uint32_t read_config(unsigned offset, unsigned width) = 0;
  [[nodiscard]] virtual uint32_t config_generation() = 0;
};

/// A transport over the registers at `registers` (0x200 bytes or more, mapped). Null for a slot
/// without a device, and, with a log line, for one that cannot be used.
std::unique_ptr<Transport> open_mmio(std::byte* registers, const MmioLocation& location);

/// Null for a function that is no virtio device, and, with a log line, for one that cannot be used.
std::unique_ptr<Transport> open_pci(const pci::Device& device);

}  // namespace aril::virtio
