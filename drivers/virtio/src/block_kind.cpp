#include <new>

#include "block.hpp"
#include "drivers/virtio/device_set.hpp"
#include "kernel/log/log.hpp"
#include "memory_size.hpp"

namespace aril::virtio {
namespace {

std::unique_ptr<Driver> make(DeviceSet& set, std::unique_ptr<Transport> transport) {
  return std::unique_ptr<Driver>(
      new (std::nothrow) BlockDriver(std::move(transport), total_ram() < kSmallRam ? 8 : 32,
                                     static_cast<unsigned>(set.block().size())));
}

void started(DeviceSet& set, Driver& driver) {
  auto& block = static_cast<BlockDriver&>(driver);  // made above
  set.add_block(block);
  ARIL_LOG_INFO("virtio", "%s: %s, %lu KiB%s", block.place(), block.name().data(),
                static_cast<unsigned long>(block.sector_count() / 2),
                block.is_read_only() ? ", read-only" : "");
}

}  // namespace

constinit const DriverKind kBlockDriver = {kDeviceBlock, "disk", &make, &started};

}  // namespace aril::virtio
