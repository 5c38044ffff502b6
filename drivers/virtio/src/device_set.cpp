#include "drivers/virtio/device_set.hpp"

#include <algorithm>
#include <new>

#include "base/insertion_sort.hpp"
#include "base/units.hpp"
#include "driver.hpp"
#include "kernel/log/log.hpp"
#include "kernel/memory/heap.hpp"

namespace aril::virtio {

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
  insertion_sort(std::span(sorted), [](const MmioLocation& a, const MmioLocation& b) {
    return a.address < b.address;
  });
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
  auto found = std::ranges::find(kinds_, id, &DriverKind::device_id);
  if (found == kinds_.end()) {
    ARIL_LOG_INFO("virtio", "%s: no driver for device %u", transport->place(), id);
    return;
  }
  if ((*found)->can_wait != nullptr && (*found)->can_wait()) {
    waiting_.push_back({*found, std::move(transport)});
  } else {
    start(**found, std::move(transport));
  }
}

void DeviceSet::start_waiting() {
  for (Waiting& device : waiting_) start(*device.kind, std::move(device.transport));
  waiting_.clear();
}

void DeviceSet::start(const DriverKind& kind, std::unique_ptr<Transport> transport) {
  std::unique_ptr<Driver> driver = kind.make(*this, std::move(transport));
  if (driver == nullptr) {
    ARIL_LOG_ERROR("virtio", "no memory for a %s", kind.name);
    return;
  }
  if (Result<void> started = driver->start(); !started) {
    ARIL_LOG_ERROR("virtio", "%s: the %s cannot be started: error %d", driver->place(), kind.name,
                   static_cast<int>(started.error()));
    // Its interrupts stay connected to it, so it is kept, stopped.
    driver->stop();
    drivers_.push_back(std::move(driver));
    return;
  }
  ARIL_LOG_INFO("virtio", "%s: %s", driver->place(), kind.name);
  kind.started(*this, *driver);
  drivers_.push_back(std::move(driver));
}

}  // namespace aril::virtio
