#include <new>

#include "arch/cpu.hpp"
#include "drivers/virtio/device_set.hpp"
#include "kernel/log/log.hpp"
#include "memory_size.hpp"
#include "net.hpp"

namespace aril::virtio {
namespace {

std::unique_ptr<Driver> make(DeviceSet&, std::unique_ptr<Transport> transport) {
  return std::unique_ptr<Driver>(new (std::nothrow) NetDriver(
      std::move(transport), NetDriver::sizes_for(total_ram(), arch::cpu_count())));
}

void started(DeviceSet& set, Driver& driver) {
  auto& net = static_cast<NetDriver&>(driver);  // made above
  set.add_net(net);
  [[maybe_unused]] MacAddress mac = net.mac();
  [[maybe_unused]] NetOffload offloads = net.offloads();
  ARIL_LOG_INFO("virtio", "%s: %02x:%02x:%02x:%02x:%02x:%02x, mtu %u%s%s%s, pairs of queues: %u%s",
                net.place(), mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], net.mtu(),
                has(offloads, NetOffload::kTxChecksum) ? ", checksum" : "",
                has(offloads, NetOffload::kTsoIpv4) ? ", tso" : "",
                has(offloads, NetOffload::kRxGro) ? ", gro" : "", net.queue_count(),
                net.link_up() ? "" : ", link down");
}

}  // namespace

constinit const DriverKind kNetDriver = {kDeviceNet, "network interface", &make, &started};

}  // namespace aril::virtio
