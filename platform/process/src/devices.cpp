#include <array>

#include "arch/startup.hpp"
#include "control.hpp"
#include "drivers/host/disk.hpp"
#include "drivers/host/message_socket.hpp"
#include "drivers/host/network.hpp"
#include "drivers/host/stream.hpp"
#include "kernel/log/log.hpp"
#include "platform/common/boot_part.hpp"
#include "platform/common/control_line.hpp"

// What the tender has opened, as devices.
namespace aril::platform {
namespace {

host::Stream& start_stream(int descriptor) {
  auto& stream = *new host::Stream(descriptor);  // lives for ever
  stream.start();
  return stream;
}

void open_streams(Boot& boot) {
  const auto& descriptors = arch::boot_information().console_descriptors;
  host::Stream& input = start_stream(descriptors[0]);
  input.set_end_callback(&end_input);
  boot.machine.input = &input;
  boot.machine.output = &start_stream(descriptors[1]);
  boot.machine.error = &start_stream(descriptors[2]);
}
ARIL_BOOT_PART(200, streams, open_streams);

void open_network(Boot& boot) {
  const ProcessBoot& given = arch::boot_information();
  if (given.network_descriptor < 0) return;
  host::NetworkConfig config{.descriptor = given.network_descriptor,
                             .address = std::to_array(given.network_address),
                             .mtu = given.network_mtu};
  auto opened = given.network_kind == 0 ? host::open_tap(config) : host::open_frame_stream(config);
  if (!opened) panic("no memory for the network interface: give the instance more (--memory)");
  boot.machine.net.push_back(opened->release());  // lives for ever
}
ARIL_BOOT_PART(210, net, open_network);

void open_disks(Boot& boot) {
  const ProcessBoot& given = arch::boot_information();
  for (uint32_t i = 0; i < given.disk_count; ++i) {
    const ProcessDisk& disk = given.disks[i];
    boot.machine.block.push_back(new host::Disk({.descriptor = disk.descriptor,
                                                 .read_only = disk.read_only != 0,
                                                 .size = disk.size,
                                                 .letter = static_cast<char>('a' + i)}));
  }
}
ARIL_BOOT_PART(220, disks, open_disks);

void open_volumes(Boot& boot) {
  const ProcessBoot& given = arch::boot_information();
  for (uint32_t i = 0; i < given.volume_count; ++i) {
    auto& volume = *new host::MessageSocket(given.volume_descriptors[i], i);  // lives for ever
    volume.start();
    boot.machine.volumes.push_back(&volume);
  }
}
ARIL_BOOT_PART(230, volume_sockets, open_volumes);

void obey_host(Boot&) {
  start_control();
  const int descriptor = arch::boot_information().control_descriptor;
  if (descriptor < 0) return;
  host::Stream& line = start_stream(descriptor);
  // Nobody is left who could end it.
  constexpr int kHungUp = 128 + 1;
  line.set_end_callback([](uint64_t) { stop_machine(kHungUp); });
  start_control_line(line);
}
ARIL_BOOT_PART(910, control, obey_host);

}  // namespace
}  // namespace aril::platform
