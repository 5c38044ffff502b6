#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "arch/interrupts.hpp"
#include "base/result.hpp"
#include "kernel/memory/page_allocator.hpp"

namespace aril::pci {

/// Where a function sits on the bus.
struct Address {
  uint8_t bus = 0, device = 0, function = 0;
  constexpr auto operator<=>(const Address&) const = default;
};

/// Access to configuration space by aligned 32-bit words, which is all that any register here
/// needs. Start-up code only: not synchronised.
class ConfigSpace {
 public:
  virtual ~ConfigSpace() = default;
  /// All ones where nothing answers or `offset` is out of reach.
  [[nodiscard]] virtual uint32_t read(Address address, uint16_t offset) = 0;
  virtual void write(Address address, uint16_t offset, uint32_t value) = 0;
  [[nodiscard]] virtual uint8_t last_bus() const = 0;

  [[nodiscard]] uint16_t read16(Address address, uint16_t offset) {
    return static_cast<uint16_t>(read(address, offset & ~3) >> ((offset & 2) * 8));
  }
  [[nodiscard]] uint8_t read8(Address address, uint16_t offset) {
    return static_cast<uint8_t>(read(address, offset & ~3) >> ((offset & 3) * 8));
  }
};

/// Memory-mapped configuration [PCIe 7.2.2]: 1 MiB per bus from the MCFG table's base address.
/// Functions are mapped when they are first touched.
Result<std::unique_ptr<ConfigSpace>> ecam_config_space(PhysicalAddress base, uint8_t first_bus,
                                                       uint8_t last_bus);
/// The ports 0xcf8 and 0xcfc [PCI 3.0 3.2.2.3.2]; null when no host bridge answers there.
std::unique_ptr<ConfigSpace> port_config_space();

/// Addresses behind the host bridge that no firmware has given out, for BARs that it left unset
/// (microvm boots without a firmware that does). Empty: such devices fail with kNoSpc.
class MemoryWindow {
 public:
  constexpr MemoryWindow() = default;
  constexpr explicit MemoryWindow(PhysicalRange range) : next_(range.start), end_(range.end) {}
  /// `size` is a power of two; the result is aligned to it.
  Result<PhysicalAddress> allocate(uint64_t size);

 private:
  PhysicalAddress next_ = 0, end_ = 0;
};

/// A root complex as the platform describes it. Outlives its devices' set-up.
struct Host {
  ConfigSpace& config;
  MemoryWindow memory_window{};
};

inline constexpr uint8_t kCapabilityMsix = 0x11;
inline constexpr uint8_t kCapabilityVendor = 0x09;

/// One PCI function. A small value: copy it freely; the host must stay. Thread context, during
/// device start-up.
class Device {
 public:
  Device(Host& host, Address address, uint32_t identity)
      : host_(&host),
        address_(address),
        vendor_(static_cast<uint16_t>(identity)),
        device_(static_cast<uint16_t>(identity >> 16)) {}

  [[nodiscard]] Address address() const { return address_; }
  [[nodiscard]] uint16_t vendor_id() const { return vendor_; }
  [[nodiscard]] uint16_t device_id() const { return device_; }
  [[nodiscard]] uint16_t subsystem_id() const { return config().read16(address_, 0x2e); }

  [[nodiscard]] uint32_t read(uint16_t offset) const { return config().read(address_, offset); }
  void write(uint16_t offset, uint32_t value) const { config().write(address_, offset, value); }
  [[nodiscard]] uint16_t read16(uint16_t offset) const { return config().read16(address_, offset); }
  [[nodiscard]] uint8_t read8(uint16_t offset) const { return config().read8(address_, offset); }

  /// The offset of the first capability `id` after the one at `after` (0: from the start). The
  /// list is the device's: a loop in it ends the search.
  [[nodiscard]] std::optional<uint8_t> find_capability(uint8_t id, uint8_t after = 0) const;

  /// Where memory BAR `index` begins, of which the first `needed` bytes will be used. One that the
  /// firmware set is taken as it is: asking for its size would make the VMM rebuild its memory map
  /// several times, a millisecond each. One that it did not set is given an address. kNoDev for a
  /// BAR that is absent, too small or in I/O space, kNoSpc when the window has no room, kInval for
  /// an address in RAM.
  Result<PhysicalAddress> memory_bar(unsigned index, uint64_t needed) const;

  /// Lets the device answer in memory space and write to memory [PCI 3.0 6.2.2].
  void enable_bus_mastering() const;

  /// The line that INTx was routed to by the firmware; nothing when it was not.
  [[nodiscard]] std::optional<uint8_t> interrupt_line() const;

 private:
  struct Bar {
    uint16_t offset;
    uint32_t low;
    bool is_wide = false;
  };
  Result<PhysicalAddress> assign(const Bar& bar, uint64_t needed) const;
  [[nodiscard]] ConfigSpace& config() const { return host_->config; }

  Host* host_;
  Address address_;
  uint16_t vendor_, device_;
};

/// A function's MSI-X table [PCI 3.0 6.8.2]. Enabling it turns INTx off.
class MsixTable {
 public:
  /// Maps the table with every entry masked, and enables it. kNoDev without the capability.
  static Result<MsixTable> enable(const Device& device);

  [[nodiscard]] unsigned size() const { return size_; }
  /// Points entry `index` at a fresh vector of `cpu` and unmasks it. kNoSpc without a free vector,
  /// kInval past the table.
  Result<void> connect(unsigned index, unsigned cpu, arch::InterruptHandler handler,
                       void* argument);

 private:
  MsixTable(volatile uint32_t* entries, unsigned size) : entries_(entries), size_(size) {}
  volatile uint32_t* entries_;
  unsigned size_;
};

/// Calls `visit(context, device)` for every function in order of bus, device and function. Looks
/// only at buses that a bridge leads to: each absent slot costs one exit of the virtual machine.
void enumerate(Host& host, void (*visit)(void* context, const Device& device), void* context);

}  // namespace aril::pci
