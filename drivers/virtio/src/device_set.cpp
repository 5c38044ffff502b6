#include "drivers/virtio/device_set.hpp"

#include <algorithm>
#include <new>

#include "base/units.hpp"
#include "block.hpp"
#include "console.hpp"
#include "driver.hpp"
#include "kernel/log/log.hpp"
#include "kernel/memory/heap.hpp"
#include "kernel/sched/timer.hpp"
#include "net.hpp"
#include "ninep.hpp"

namespace aril::virtio {
namespace {

constexpr size_t kSmallRam = 32 * kMiB;

size_t total_ram() { return page_allocator::statistics().total_pages * kPageSize; }

const char* kind_of(uint32_t device_id) {
  switch (device_id) {
    case kDeviceNet:
      return "network interface";
    case kDeviceBlock:
      return "disk";
    case kDeviceConsole:
      return "console";
    case kDeviceEntropy:
      return "entropy source";
    case kDeviceNinep:
      return "volume";
    default:
      return nullptr;
  }
}

void log_net(const NetDriver& net) {
  MacAddress mac = net.mac();
  NetOffload offloads = net.offloads();
  ARIL_LOG_INFO("virtio", "%s: network interface %02x:%02x:%02x:%02x:%02x:%02x, mtu %u%s%s%s%s",
                net.place(), mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], net.mtu(),
                has(offloads, NetOffload::kTxChecksum) ? ", checksum" : "",
                has(offloads, NetOffload::kTsoIpv4) ? ", tso" : "",
                has(offloads, NetOffload::kRxGro) ? ", gro" : "",
                net.link_up() ? "" : ", link down");
}

void log_block(const BlockDriver& block) {
  ARIL_LOG_INFO("virtio", "%s: disk %s, %lu KiB%s", block.place(), block.name().data(),
                static_cast<unsigned long>(block.sector_count() / 2),
                block.is_read_only() ? ", read-only" : "");
}

}  // namespace

DeviceSet::DeviceSet() = default;

DeviceSet::~DeviceSet() {
  for (auto& driver : drivers_) driver->stop();
}

std::byte* DeviceSet::map_registers(PhysicalAddress address, uint32_t size) {
  // Neighbouring transports share a page, which needs mapping once only.
  for (const Mapping& mapping : mappings_) {
    if (address >= mapping.start && address - mapping.start <= mapping.size &&
        mapping.size - (address - mapping.start) >= size)
      return mapping.registers + (address - mapping.start);
  }
  PhysicalAddress start = align_down(address, kPageSize);
  size_t bytes = align_up(address + size - start, kPageSize);
  std::byte* registers = heap::map_device(start, bytes);
  if (registers == nullptr) return nullptr;
  mappings_.push_back({start, bytes, registers});
  return registers + (address - start);
}

void DeviceSet::probe_mmio(std::span<const MmioLocation> locations) {
  std::vector<MmioLocation> sorted(locations.begin(), locations.end());
  std::ranges::sort(sorted, {}, &MmioLocation::address);
  PhysicalAddress last = 0;
  for (const MmioLocation& location : sorted) {
    if (location.address == last) continue;
    last = location.address;
    if (location.size < 0x100 || page_allocator::page_of(location.address) != nullptr) {
      ARIL_LOG_WARNING("virtio", "mmio 0x%lx: not a place for a device",
                       static_cast<unsigned long>(location.address));
      continue;
    }
    std::byte* registers = map_registers(location.address, location.size);
    if (registers == nullptr) {
      ARIL_LOG_ERROR("virtio", "mmio 0x%lx: the registers cannot be mapped",
                     static_cast<unsigned long>(location.address));
      continue;
    }
    if (auto transport = open_mmio(registers, location)) add(std::move(transport));
  }
}

void DeviceSet::probe_pci(pci::Host& host) {
  pci::enumerate(
      host,
      [](void* set, const pci::Device& device) {
        if (auto transport = open_pci(device))
          static_cast<DeviceSet*>(set)->add(std::move(transport));
      },
      this);
}

void DeviceSet::add(std::unique_ptr<Transport> transport) {
  uint32_t id = transport->device_id();
  const char* kind = kind_of(id);
  if (kind == nullptr) {
    ARIL_LOG_INFO("virtio", "%s: no driver for device %u", transport->place(), id);
    return;
  }
  size_t ram = total_ram();
  std::unique_ptr<Driver> driver;
  NetDriver* net = nullptr;
  BlockDriver* block = nullptr;
  ConsoleDriver* console = nullptr;
  NinepDriver* volume = nullptr;
  if (id == kDeviceNet) {
    net = new (std::nothrow) NetDriver(std::move(transport), NetDriver::sizes_for(ram));
    driver.reset(net);
  } else if (id == kDeviceBlock) {
    block = new (std::nothrow) BlockDriver(std::move(transport), ram < kSmallRam ? 8 : 32,
                                           static_cast<unsigned>(block_.size()));
    driver.reset(block);
  } else if (id == kDeviceConsole) {
    console = new (std::nothrow) ConsoleDriver(std::move(transport));
    driver.reset(console);
  } else if (id == kDeviceNinep) {
    volume = new (std::nothrow) NinepDriver(std::move(transport));
    driver.reset(volume);
  } else {
    driver = make_entropy_driver(std::move(transport));
  }
  if (driver == nullptr) {
    ARIL_LOG_ERROR("virtio", "no memory for a %s", kind);
    return;
  }
  if (Result<void> started = driver->start(); !started) {
    ARIL_LOG_ERROR("virtio", "%s: the %s cannot be started: error %d", driver->place(), kind,
                   static_cast<int>(started.error()));
    // Its interrupts stay connected to it, so it is kept, stopped.
    driver->stop();
    drivers_.push_back(std::move(driver));
    return;
  }
  if (net != nullptr) {
    net_.push_back(net);
    log_net(*net);
  } else if (block != nullptr) {
    block_.push_back(block);
    log_block(*block);
  } else if (volume != nullptr) {
    volumes_.push_back(volume);
    ARIL_LOG_INFO("virtio", "%s: volume %s", volume->place(), volume->tag().data());
  } else {
    if (console != nullptr) consoles_.push_back(console);
    ARIL_LOG_INFO("virtio", "%s: %s", driver->place(), kind);
  }
  drivers_.push_back(std::move(driver));
}

void DeviceSet::drain_consoles(Duration limit) {
  Instant deadline = now() + limit;
  for (CharDevice* device : consoles_) {
    // Only ConsoleDrivers are put there.
    auto* console = static_cast<ConsoleDriver*>(device);
    while (!console->is_drained() && now() < deadline) arch::relax();
  }
}

}  // namespace aril::virtio
