#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "image/cache.hpp"
#include "machine/accelerator.hpp"
#include "machine/volumes.hpp"
#include "manifest/manifest.hpp"

namespace aril::tool {

/// A virtual machine, decided in full.
struct MachineConfig {
  ImageFiles image;
  std::string kernel_command_line;
  MachineType type = MachineType::kMicrovm;
  Accelerator accelerator = Accelerator::kTcg;
  uint64_t memory = kDefaultMemory;
  unsigned cpus = 1;
  Network network;
  std::vector<Network> more_networks;  ///< of further interfaces: taps
  /// For `network` and each of `more_networks`: how many queues of the tap QEMU inherits, by
  /// numbers from kFirstTapDescriptor on. 0, or missing: none, it opens the tap by name.
  std::vector<unsigned> tap_queues;
  std::vector<PortForward> ports;
  std::vector<SharedDirectory> volumes;
  std::vector<Disk> disks;
  std::filesystem::path capture;     ///< frames go to this file, in pcap's format; empty: nowhere
  std::optional<uint16_t> gdb_port;  ///< wait there for gdb before the first instruction
};

/// Descriptors that the QEMU process inherits, by number: each but the taps is one end of a stream
/// socket.
inline constexpr int kConsoleDescriptor = 3;  ///< the program's stdin and stdout
inline constexpr int kErrorDescriptor = 4;    ///< its stderr
inline constexpr int kControlDescriptor = 5;  ///< COM1
inline constexpr int kMonitorDescriptor = 6;  ///< QEMU's monitor (QMP)
/// The taps' queues, as MachineConfig::tap_queues counts them: tap devices, no sockets.
inline constexpr int kFirstTapDescriptor = 7;

/// QEMU's path. Throws Error naming the package when it is not installed.
std::string find_qemu();

/// How many queues a tap of the machine should have: one for each CPU, as far as that is of use.
unsigned wanted_tap_queues(const MachineConfig& config, const Network& network);

/// The command that starts the machine.
std::vector<std::string> qemu_command(const std::string& qemu, const MachineConfig& config);

/// The command that starts the same machine without devices but COM1, which is its stdin and
/// stdout. Its memory is the file, which exists and is as large.
std::vector<std::string> freezing_command(const std::string& qemu, const MachineConfig& config,
                                          const std::filesystem::path& memory);

/// "disk=..." for the kernel's command line, for each disk; `has_root_disk`: the first is taken.
std::vector<std::string> disk_words(const std::vector<Disk>& disks, bool has_root_disk);
/// "net=..." for the kernel's command line.
std::string network_word(const Network& network);

}  // namespace aril::tool
