#include <new>

#include "console.hpp"
#include "drivers/virtio/device_set.hpp"
#include "kernel/sched/timer.hpp"

namespace aril::virtio {
namespace {

std::unique_ptr<Driver> make(DeviceSet&, std::unique_ptr<Transport> transport) {
  return std::unique_ptr<Driver>(new (std::nothrow) ConsoleDriver(std::move(transport)));
}

void drain(DeviceSet& set, Duration limit) {
  Instant deadline = now() + limit;
  for (CharDevice* device : set.consoles()) {
    // Only ConsoleDrivers are put there.
    auto* console = static_cast<ConsoleDriver*>(device);
    while (!console->is_drained() && now() < deadline) arch::relax();
  }
}

void started(DeviceSet& set, Driver& driver) {
  set.add_console(static_cast<ConsoleDriver&>(driver), &drain);  // made above
}

}  // namespace

constinit const DriverKind kConsoleDriver = {kDeviceConsole, "console", &make, &started};

}  // namespace aril::virtio
