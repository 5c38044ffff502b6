#include "machine/qemu_command.hpp"

#include <algorithm>
#include <format>

#include "manifest/values.hpp"
#include "support/error.hpp"
#include "support/process.hpp"
#include "support/text.hpp"

namespace aril::tool {

namespace {

/// Places virtio devices in order, so that every start finds them at the same place: slots of
/// microvm's virtio-mmio transports, or slots of the first PCI bus.
class DeviceSlots {
 public:
  DeviceSlots(MachineType type, std::vector<std::string>& command)
      : type_(type), command_(command) {}

  [[nodiscard]] bool has_room() const { return next_ < limit(); }

  /// `what`, for the error: the part of the machine that has no place.
  void add(const std::string& device, const std::string& properties, const std::string& what) {
    if (!has_room()) {
      throw Error(
          std::format("{}: no place is left in a machine of type {}, which takes {} devices", what,
                      machine_name(type_), limit()),
          type_ == MachineType::kMicrovm ? "--machine q35 takes more" : "");
    }
    command_.emplace_back("-device");
    if (type_ == MachineType::kMicrovm) {
      command_.push_back(
          std::format("virtio-{}-device,bus=virtio-mmio-bus.{}{}", device, next_++, properties));
    } else {
      command_.push_back(std::format("virtio-{}-pci,disable-legacy=on,addr={:#x}{}", device,
                                     kFirstPciSlot + next_++, properties));
    }
  }

 private:
  static constexpr unsigned kFirstPciSlot = 4;  // past the chipset's own
  static constexpr unsigned kMicrovmSlots = 8;
  static constexpr unsigned kPciSlots = 0x1f - kFirstPciSlot;  // q35's LPC bridge is the last

  [[nodiscard]] unsigned limit() const {
    return type_ == MachineType::kMicrovm ? kMicrovmSlots : kPciSlots;
  }

  MachineType type_;
  std::vector<std::string>& command_;
  unsigned next_ = 0;
};

std::string machine_word(MachineType type) {
  switch (type) {
    case MachineType::kQ35:
      return "q35,vmport=off,usb=off,sata=off,smbus=off";
    case MachineType::kPc:
      return "pc,vmport=off,usb=off";
    default:
      return "microvm,acpi=off,x-option-roms=off,pit=off,pic=off,rtc=on,isa-serial=on,"
             "auto-kernel-cmdline=on";
  }
}

/// In QEMU's option values a comma is written twice.
std::string escape(const std::string& value) {
  std::string result;
  for (const char c : value) {
    result += c;
    if (c == ',') result += ',';
  }
  return result;
}

void add_console(std::vector<std::string>& command, DeviceSlots& slots, const std::string& name,
                 int descriptor) {
  command.insert(command.end(), {"-chardev", std::format("socket,id={},fd={}", name, descriptor)});
  // A generic port, number 1: QEMU stops the guest's writer while nobody takes the output. Of a
  // virtconsole it would throw the output away.
  slots.add("serial", std::format(",id={}-bus,max_ports=2", name), name);
  command.insert(command.end(),
                 {"-device", std::format("virtserialport,bus={0}-bus.0,nr=1,chardev={0}", name)});
}

/// A tap that QEMU opens.
std::string tap_backend(const std::string& id, const MachineConfig& config,
                        const Network& network) {
  // QEMU before 8.0 captures the offloads' header as if it were the frame's.
  const bool plain = !config.capture.empty() && &network == &config.network;
  return std::format("tap,id={},ifname={},script=no,downscript=no{}", id, escape(network.tap),
                     plain ? ",vnet_hdr=off" : "");
}

/// A tap of which QEMU inherits some queues, `first` and those after it.
std::string inherited_backend(const std::string& id, int first, unsigned queues) {
  if (queues == 1) return std::format("tap,id={},fd={}", id, first);
  std::string backend = std::format("tap,id={},fds={}", id, first);
  for (unsigned i = 1; i < queues; ++i) backend += std::format(":{}", first + static_cast<int>(i));
  return backend;
}

std::string user_backend(const MachineConfig& config) {
  std::string backend = "user,id=net";
  for (const PortForward& port : config.ports) {
    backend += std::format(",hostfwd={}:{}:{}-:{}", port.protocol == Protocol::kUdp ? "udp" : "tcp",
                           port.address, port.host, port.guest);
  }
  return backend;
}

/// The device's properties for its queues: a pair for each of the backend's, and for each of a
/// pair's queues an interrupt, beside those of the control queue and the configuration.
std::string queue_properties(MachineType type, unsigned queues) {
  if (queues <= 1) return "";
  if (type == MachineType::kMicrovm) return ",mq=on";
  return std::format(",mq=on,vectors={}", 2 * queues + 2);
}

void add_network(std::vector<std::string>& command, DeviceSlots& slots,
                 const MachineConfig& config) {
  if (config.network.kind == NetworkKind::kNone) return;
  // No boot ROM: nothing boots from the network, and running it takes time.
  const std::string_view no_rom = config.type == MachineType::kMicrovm ? "" : ",romfile=";
  unsigned number = 0;
  int descriptor = kFirstTapDescriptor;
  const auto add = [&](const Network& network) {
    const std::string id = number == 0 ? "net" : std::format("net{}", number);
    const unsigned queues = number < config.tap_queues.size() ? config.tap_queues[number] : 0;
    const std::string backend = network.kind != NetworkKind::kTap ? user_backend(config)
                                : queues == 0                     ? tap_backend(id, config, network)
                                              : inherited_backend(id, descriptor, queues);
    descriptor += static_cast<int>(queues);
    ++number;
    command.insert(command.end(), {"-netdev", backend});
    const std::string_view plain =
        network.raw ? ",csum=off,guest_csum=off,guest_tso4=off,guest_tso6=off" : "";
    slots.add(
        "net",
        std::format(",netdev={}{}{}{}", id, no_rom, queue_properties(config.type, queues), plain),
        "the network");
  };
  add(config.network);
  if (!config.capture.empty()) {
    command.insert(command.end(),
                   {"-object", std::format("filter-dump,id=capture,netdev=net,file={}",
                                           escape(config.capture.string()))});
  }
  for (const Network& network : config.more_networks) add(network);
}

/// The machine without devices.
std::vector<std::string> bare_command(const std::string& qemu, const MachineConfig& config,
                                      const std::string& machine) {
  std::vector<std::string> command = {qemu,
                                      "-nodefaults",
                                      "-no-user-config",
                                      "-display",
                                      "none",
                                      "-no-reboot",
                                      "-M",
                                      machine,
                                      "-accel",
                                      std::string(accelerator_name(config.accelerator)),
                                      "-cpu",
                                      config.accelerator == Accelerator::kKvm ? "host" : "max",
                                      "-smp",
                                      std::format("{}", config.cpus),
                                      "-m",
                                      std::format("{}K", config.memory >> 10),
                                      "-global",
                                      "virtio-mmio.force-legacy=false",
                                      "-kernel",
                                      config.image.image.string()};
  if (!config.kernel_command_line.empty()) {
    command.insert(command.end(), {"-append", config.kernel_command_line});
  }
  return command;
}

}  // namespace

std::string find_qemu() {
  const auto qemu = find_executable("qemu-system-x86_64");
  if (!qemu) {
    throw Error("QEMU is not installed: there is no qemu-system-x86_64 in PATH",
                "apt-get install qemu-system-x86");
  }
  return *qemu;
}

std::vector<std::string> disk_words(const std::vector<Disk>& disks, bool has_root_disk) {
  std::vector<std::string> words;
  char letter = has_root_disk ? 'b' : 'a';
  for (const Disk& disk : disks) {
    const std::string value =
        std::format("vd{}:{}{}", letter++, disk.guest, disk.read_only ? ":ro" : "");
    words.push_back("disk=" + percent_encode(value));
  }
  return words;
}

std::string network_word(const Network& network) {
  switch (network.kind) {
    case NetworkKind::kNone:
      return "net=none";
    // What QEMU's user network always hands out: asking by DHCP would cost a round trip.
    case NetworkKind::kUser:
      return "net=10.0.2.15/24,10.0.2.2,10.0.2.3";
    case NetworkKind::kTap:
      if (network.raw) return "net=none";
      break;
  }
  std::string word = std::format("net={}", network.address.empty() ? "dhcp" : network.address);
  if (!network.gateway.empty() || !network.nameserver.empty()) word += "," + network.gateway;
  if (!network.nameserver.empty()) word += "," + network.nameserver;
  if (!network.address6.empty()) word += ",ip6=" + network.address6;
  if (!network.gateway6.empty()) word += ",gateway6=" + network.gateway6;
  return word;
}

unsigned wanted_tap_queues(const MachineConfig& config, const Network& network) {
  constexpr unsigned kMost = 8;  // the driver's own limit
  // What looks at frames one by one has them in one order; and QEMU captures a single queue only.
  const bool is_captured = !config.capture.empty() && &network == &config.network;
  if (network.raw || is_captured) return 1;
  return std::min(config.cpus, kMost);
}

std::vector<std::string> freezing_command(const std::string& qemu, const MachineConfig& config,
                                          const std::filesystem::path& memory) {
  std::vector<std::string> command =
      bare_command(qemu, config, machine_word(config.type) + ",memory-backend=ram");
  command.insert(command.end(),
                 {"-object",
                  std::format("memory-backend-file,id=ram,share=on,size={}K,mem-path={}",
                              config.memory >> 10, escape(memory.string())),
                  "-serial", "stdio"});
  return command;
}

std::vector<std::string> qemu_command(const std::string& qemu, const MachineConfig& config) {
  std::vector<std::string> command = bare_command(qemu, config, machine_word(config.type));
  command.insert(
      command.end(),
      {// Held until `aril` has seen where it stopped.
       "-action", "shutdown=pause", "-chardev",
       std::format("socket,id=control,fd={}", kControlDescriptor), "-serial", "chardev:control",
       "-chardev", std::format("socket,id=monitor,fd={}", kMonitorDescriptor), "-mon",
       "chardev=monitor,mode=control"});
  DeviceSlots slots(config.type, command);
  add_console(command, slots, "stdio", kConsoleDescriptor);
  add_console(command, slots, "stderr", kErrorDescriptor);
  slots.add("rng", "", "the source of entropy");
  add_network(command, slots, config);
  if (config.image.root) {
    command.insert(command.end(),
                   {"-drive", std::format("if=none,id=root,format=raw,readonly=on,file={}",
                                          escape(config.image.root->string()))});
    slots.add("blk", ",drive=root", "the root");
  }
  for (const SharedDirectory& shared : config.volumes) {
    command.insert(command.end(),
                   {"-fsdev", std::format("local,id={},path={},security_model={},multidevs=remap{}",
                                          shared.tag, escape(shared.volume.host.string()),
                                          shared.security_model,
                                          shared.volume.read_only ? ",readonly=on" : "")});
    slots.add("9p", std::format(",fsdev={0},mount_tag={0}", shared.tag),
              "the volume at " + shared.volume.guest.string());
  }
  for (size_t i = 0; i < config.disks.size(); ++i) {
    const Disk& disk = config.disks[i];
    // The disk's write cache is the host's: what the guest flushes is on the host's disk.
    command.insert(
        command.end(),
        {"-drive", std::format("if=none,id=disk{},format=raw,cache=writeback,aio=threads,"
                               "readonly={},file={}",
                               i, disk.read_only ? "on" : "off", escape(disk.host.string()))});
    slots.add("blk", std::format(",drive=disk{}", i), "the disk at " + disk.guest);
  }
  // Gives free memory back to the host; not worth a device where there is little.
  constexpr uint64_t kWorthGivingBack = uint64_t{64} << 20;
  if (config.memory >= kWorthGivingBack && slots.has_room()) {
    slots.add("balloon", ",free-page-reporting=on", "the balloon");
  }
  if (config.gdb_port) {
    command.insert(command.end(),
                   {"-S", "-gdb", std::format("tcp:127.0.0.1:{}", *config.gdb_port)});
  }
  return command;
}

}  // namespace aril::tool
