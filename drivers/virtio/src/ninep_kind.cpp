#include <new>

#include "drivers/virtio/device_set.hpp"
#include "ninep.hpp"

namespace aril::virtio {
namespace {

std::unique_ptr<Driver> make(DeviceSet&, std::unique_ptr<Transport> transport) {
  return std::unique_ptr<Driver>(new (std::nothrow) NinepDriver(std::move(transport)));
}

void started(DeviceSet& set, Driver& driver) {
  set.add_volume(static_cast<NinepDriver&>(driver));  // made above
}

}  // namespace

constinit const DriverKind kNinepDriver = {kDeviceNinep, "volume", &make, &started};

}  // namespace aril::virtio
