#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>

#include "elf/elf_file.hpp"
#include "machine/ports.hpp"
#include "machine/probe_image.hpp"
#include "machine/qemu_command.hpp"
#include "support/error.hpp"
#include "support/file.hpp"

namespace aril::tool {
namespace {

bool contains(const std::vector<std::string>& command, const std::string& word) {
  return std::ranges::contains(command, word);
}

TEST(QemuCommand, PlacesDevicesOnEveryMachine) {
  MachineConfig config;
  config.image = {.image = "/i", .root = "/a,b"};
  config.ports = {{.host = 8080, .guest = 80}};
  auto command = qemu_command("qemu", config);
  EXPECT_TRUE(
      contains(command, "virtio-serial-device,bus=virtio-mmio-bus.0,id=stdio-bus,max_ports=2"));
  EXPECT_TRUE(contains(command, "virtio-net-device,bus=virtio-mmio-bus.3,netdev=net"));
  EXPECT_TRUE(contains(command, "user,id=net,hostfwd=tcp:127.0.0.1:8080-:80"));
  EXPECT_TRUE(contains(command, "if=none,id=root,format=raw,readonly=on,file=/a,,b"));
  config.type = MachineType::kQ35;
  command = qemu_command("qemu", config);
  EXPECT_TRUE(contains(command, "virtio-blk-pci,disable-legacy=on,addr=0x8,drive=root"));
}

TEST(QemuCommand, CapturesWholeFramesOfATap) {
  MachineConfig config;
  config.image = {.image = "/i", .root = "/r"};
  config.network = {.kind = NetworkKind::kTap, .tap = "t"};
  EXPECT_TRUE(
      contains(qemu_command("qemu", config), "tap,id=net,ifname=t,script=no,downscript=no"));
  config.capture = "/c";
  auto command = qemu_command("qemu", config);
  EXPECT_TRUE(contains(command, "tap,id=net,ifname=t,script=no,downscript=no,vnet_hdr=off"));
  EXPECT_TRUE(contains(command, "filter-dump,id=capture,netdev=net,file=/c"));
}

TEST(QemuCommand, GivesEachQueueOfATapItsDescriptor) {
  MachineConfig config;
  config.image = {.image = "/i", .root = "/r"};
  config.cpus = 2;
  config.network = {.kind = NetworkKind::kTap, .tap = "t"};
  config.more_networks = {{.kind = NetworkKind::kTap, .tap = "u"},
                          {.kind = NetworkKind::kTap, .raw = true, .tap = "v"},
                          {.kind = NetworkKind::kTap, .tap = "w"}};
  config.tap_queues = {2, 0, 1, 3};
  auto command = qemu_command("qemu", config);
  EXPECT_TRUE(contains(command, "tap,id=net,fds=7:8"));
  EXPECT_TRUE(contains(command, "virtio-net-device,bus=virtio-mmio-bus.3,netdev=net,mq=on"));
  EXPECT_TRUE(contains(command, "tap,id=net1,ifname=u,script=no,downscript=no"));
  EXPECT_TRUE(contains(command, "virtio-net-device,bus=virtio-mmio-bus.4,netdev=net1"));
  EXPECT_TRUE(contains(command, "tap,id=net2,fd=9"));
  EXPECT_TRUE(contains(command, "tap,id=net3,fds=10:11:12"));
  config.type = MachineType::kQ35;
  command = qemu_command("qemu", config);
  EXPECT_TRUE(contains(command,
                       "virtio-net-pci,disable-legacy=on,addr=0x7,netdev=net,romfile=,mq=on,"
                       "vectors=6"));
}

TEST(QemuCommand, WantsAQueueForEachCpu) {
  MachineConfig config;
  config.network = {.kind = NetworkKind::kTap, .tap = "t"};
  EXPECT_EQ(wanted_tap_queues(config, config.network), 1u);
  config.cpus = 2;
  EXPECT_EQ(wanted_tap_queues(config, config.network), 2u);
  config.cpus = 100;
  EXPECT_EQ(wanted_tap_queues(config, config.network), 8u);
  // Those who look at frames see them in one order.
  config.capture = "/c";
  config.more_networks = {config.network, config.network};
  config.more_networks[1].raw = true;
  EXPECT_EQ(wanted_tap_queues(config, config.network), 1u);
  EXPECT_EQ(wanted_tap_queues(config, config.more_networks[0]), 8u);
  EXPECT_EQ(wanted_tap_queues(config, config.more_networks[1]), 1u);
}

TEST(QemuCommand, NamesTheDeviceThatHasNoPlace) {
  const std::pair<MachineType, size_t> kRoom[] = {
      {MachineType::kMicrovm, 4}, {MachineType::kQ35, 23}, {MachineType::kPc, 23}};
  for (const auto& [type, room] : kRoom) {
    MachineConfig config;
    config.type = type;
    for (size_t i = 0; i < room; ++i) config.volumes.push_back({.volume = {.guest = "/v"}});
    EXPECT_NO_THROW(qemu_command("qemu", config));
    config.disks.push_back({.guest = "/data"});
    try {
      qemu_command("qemu", config);
      FAIL();
    } catch (const Error& error) {
      EXPECT_TRUE(std::string_view(error.what()).starts_with("the disk at /data: no place"));
    }
  }
}

TEST(NetworkWord, LeavesOutWhatIsNotKnown) {
  EXPECT_EQ(network_word({.kind = NetworkKind::kTap, .tap = "t"}), "net=dhcp");
  EXPECT_EQ(network_word({.kind = NetworkKind::kTap, .tap = "t", .address = "1.2.3.4/8"}),
            "net=1.2.3.4/8");
  EXPECT_EQ(
      network_word(
          {.kind = NetworkKind::kTap, .tap = "t", .address = "1.2.3.4/8", .nameserver = "9.9.9.9"}),
      "net=1.2.3.4/8,,9.9.9.9");
  EXPECT_EQ(network_word({.kind = NetworkKind::kTap,
                          .tap = "t",
                          .address = "1.2.3.4/8",
                          .address6 = "fd00::2/64",
                          .gateway6 = "fd00::1"}),
            "net=1.2.3.4/8,ip6=fd00::2/64,gateway6=fd00::1");
  EXPECT_EQ(network_word({.kind = NetworkKind::kTap, .tap = "t", .address6 = "fd00::2/64"}),
            "net=dhcp,ip6=fd00::2/64");
}

TEST(Ports, NamesATakenPort) {
  const Descriptor fd(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in name = {};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* generic = reinterpret_cast<sockaddr*>(&name);
  ASSERT_EQ(bind(fd.get(), generic, sizeof name), 0);
  ASSERT_EQ(listen(fd.get(), 1), 0);
  socklen_t size = sizeof name;
  getsockname(fd.get(), generic, &size);
  const uint16_t port = ntohs(name.sin_port);
  try {
    check_ports({{.host = port, .guest = 80}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.what(), std::format("TCP port {} of 127.0.0.1 is already taken", port));
  }
  EXPECT_NE(free_port(port), port);
}

TEST(Ports, RefusesTheSamePortTwice) {
  const uint16_t port = free_port(0);
  EXPECT_THROW(check_ports({{.host = port, .guest = 80}, {.host = port, .guest = 81}}), Error);
}

TEST(ProbeImage, IsAnElfFile) {
  const std::string image = probe_image();
  EXPECT_EQ(parse_elf(bytes_of(image)).segments.size(), 1u);
}

}  // namespace
}  // namespace aril::tool
