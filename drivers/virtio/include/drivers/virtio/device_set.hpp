#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "arch/interrupts.hpp"
#include "base/time.hpp"
#include "drivers/pci/pci.hpp"
#include "kernel/io/devices.hpp"

namespace aril::virtio {

class Driver;
class Transport;
class DeviceSet;

/// A driver as a device set knows it: what it serves, and how it takes over a device. Each is
/// there only where something names it, so that an image has just the drivers that it needs.
struct DriverKind {
  uint32_t device_id;  ///< [virtio-1.2] 5
  const char* name;    ///< "network interface"
  /// Makes the driver; null when memory is short.
  std::unique_ptr<Driver> (*make)(DeviceSet& set, std::unique_ptr<Transport> transport);
  /// The device has started: puts it where its users find it.
  void (*started)(DeviceSet& set, Driver& driver);
  /// Whether the program can start without it. Null: it cannot.
  bool (*can_wait)() = nullptr;
};
extern const DriverKind kNetDriver, kBlockDriver, kConsoleDriver, kEntropyDriver, kNinepDriver,
    kBalloonDriver;

/// Where a virtio-mmio device sits, from the command line or from ACPI.
struct MmioLocation {
  PhysicalAddress address = 0;
  uint32_t size = 0x200;
  uint32_t gsi = 0;
  /// Edge suits every VMM: QEMU holds the line until it is acknowledged, which the handler does
  /// until nothing is left; Firecracker only pulses it, which a level-triggered pin can lose.
  arch::TriggerMode trigger = arch::TriggerMode::kEdge;
  arch::Polarity polarity = arch::Polarity::kActiveHigh;
};

/// The value of Linux's option "virtio_mmio.device=": SIZE@ADDRESS:GSI[:ID], the size with an
/// optional K, M or G ("512@0xfeb00000:5", "4K@0xd0000000:5"). Nothing when it is malformed.
std::optional<MmioLocation> parse_mmio_option(std::string_view value);

/// The virtio devices of this machine. The platform makes one at boot, shows it the places where
/// devices may be, and hands what it found to net/, fs/ and linux/. Devices are started when they
/// are found, or after the boot when that can wait, and live as long as the set: forever, outside
/// tests. Start-up is thread context on the boot CPU with interrupts and the scheduler running, and
/// waits for nothing.
///
/// Every probe logs one line: what was found, or why it cannot be used.
class DeviceSet {
 public:
  DeviceSet();
  ~DeviceSet();
  DeviceSet(const DeviceSet&) = delete;
  DeviceSet& operator=(const DeviceSet&) = delete;

  /// Devices of this kind are started when they are found from now on. `kind` must outlive the set.
  void serve(const DriverKind& kind) { kinds_.push_back(&kind); }

  /// Looks at each place, in order of address whatever the order given; the same address twice
  /// counts once. A slot without a device is passed over silently.
  void probe_mmio(std::span<const MmioLocation> locations);

  /// Starts every virtio device behind `host`, in order of bus, device and function.
  void probe_pci(pci::Host& host);

  /// Starts the devices that could wait. Once, when the program runs. Thread context.
  void start_waiting();
  [[nodiscard]] bool has_waiting() const { return !waiting_.empty(); }

  /// In order of discovery.
  [[nodiscard]] std::span<NetDevice* const> net() const { return net_; }
  [[nodiscard]] std::span<BlockDevice* const> block() const { return block_; }
  /// Volumes of the host, by 9P.
  [[nodiscard]] std::span<MessageDevice* const> volumes() const { return volumes_; }
  /// hvc0, hvc1, ...
  [[nodiscard]] std::span<CharDevice* const> consoles() const { return consoles_; }

  /// Waits, without sleeping, until the host has taken all console output, for at most `limit`.
  /// For the end of the machine: any context, panic included.
  void drain_consoles(Duration limit) {
    if (drain_ != nullptr) drain_(*this, limit);
  }

  /// Takes over a device behind any transport: what the probes do, and tests with a fake one.
  void add(std::unique_ptr<Transport> transport);

  // For drivers: where their devices are found.
  void add_net(NetDevice& device) { net_.push_back(&device); }
  void add_block(BlockDevice& device) { block_.push_back(&device); }
  void add_volume(MessageDevice& device) { volumes_.push_back(&device); }
  /// `drain` waits as drain_consoles() does.
  void add_console(CharDevice& device, void (*drain)(DeviceSet& set, Duration limit)) {
    consoles_.push_back(&device);
    drain_ = drain;
  }

 private:
  std::byte* map_registers(PhysicalAddress address, uint32_t size);
  void start(const DriverKind& kind, std::unique_ptr<Transport> transport);

  struct Waiting {
    const DriverKind* kind;
    std::unique_ptr<Transport> transport;
  };
  std::vector<Waiting> waiting_;
  struct Mapping {
    PhysicalAddress start;
    size_t size;
    std::byte* registers;
  };
  std::vector<Mapping> mappings_;
  std::vector<std::unique_ptr<Driver>> drivers_;
  std::vector<const DriverKind*> kinds_;
  void (*drain_)(DeviceSet& set, Duration limit) = nullptr;
  std::vector<NetDevice*> net_;
  std::vector<BlockDevice*> block_;
  std::vector<CharDevice*> consoles_;
  std::vector<MessageDevice*> volumes_;
};

}  // namespace aril::virtio
