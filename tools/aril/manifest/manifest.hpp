#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace aril::tool {

/// A file or directory tree of the host and its place in the image.
struct FileMapping {
  std::filesystem::path host;
  std::filesystem::path guest;  ///< absolute
};

enum class Protocol { kTcp, kUdp };

/// A port of the host that leads to one of the guest (user networking).
struct PortForward {
  Protocol protocol = Protocol::kTcp;
  std::string address = "127.0.0.1";
  uint16_t host = 0;
  uint16_t guest = 0;
  bool operator==(const PortForward&) const = default;
};

/// A directory of the host that the guest reads and writes in place.
struct Volume {
  std::filesystem::path host;   ///< absolute
  std::filesystem::path guest;  ///< absolute
  bool read_only = false;
  bool from_command_line = false;
};

enum class NetworkKind { kUser, kTap, kNone };

struct Network {
  NetworkKind kind = NetworkKind::kUser;
  /// For packet sockets: no address, and frames as they are on the wire, without offloads.
  bool raw = false;
  std::string tap;         ///< the device's name
  std::string address;     ///< ADDRESS/PREFIX; empty: DHCP
  std::string gateway;     ///< may be empty
  std::string nameserver;  ///< may be empty
  std::string address6;    ///< ADDRESS/PREFIX; empty: what routers advertise alone
  std::string gateway6;    ///< may be empty
};

/// A file that becomes a disk of the machine, with an ext4 file system that is mounted there.
struct Disk {
  std::filesystem::path host;
  std::string guest;  ///< absolute
  bool read_only = false;
  std::optional<uint64_t> size;  ///< bytes; made and formatted when the file is missing
};

/// How much of the kernel an image gets.
enum class Profile {
  kUnset,    ///< run: full; build: default
  kTiny,     ///< what the program's system calls need, compiled for size, nothing to debug with
  kDefault,  ///< what the program's system calls need, and all file systems and devices
  kFull,     ///< everything
};

enum class MachineType { kMicrovm, kQ35, kPc };

struct User {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> groups;  ///< supplementary ones, ascending
};

inline constexpr uint64_t kDefaultMemory = uint64_t{128} << 20;
inline constexpr unsigned kMaximumCpus = 64;

/// What to run, what the image holds, and the machine that it runs on. A manifest file gives one;
/// options of the command line are laid over it. Unset values take the defaults named here.
struct Manifest {
  std::string program;                 ///< path, or a name to be looked up in PATH
  std::vector<std::string> arguments;  ///< without argv[0]
  std::vector<std::pair<std::string, std::string>> environment;
  std::vector<FileMapping> files;
  std::vector<std::string> directories;       ///< made empty, mode 0755
  std::map<std::string, std::string> links;   ///< symbolic links: guest path -> target
  std::optional<std::filesystem::path> root;  ///< whole root directory in place of host files
  std::optional<std::string> cwd;             ///< default "/"
  std::optional<User> user;                   ///< default 0:0
  std::optional<std::string> hostname;        ///< default "aril"
  std::optional<uint64_t> memory;             ///< bytes, default kDefaultMemory
  std::optional<unsigned> cpus;               ///< default 1
  std::vector<PortForward> ports;
  std::vector<Volume> volumes;
  std::vector<Disk> disks;
  std::optional<Network> network;      ///< default user
  std::vector<Network> more_networks;  ///< of further interfaces: taps
  std::optional<MachineType> machine;  ///< default microvm
  Profile profile = Profile::kUnset;
  std::vector<std::string> components;    ///< wanted whatever the program calls
  std::vector<std::string> features;      ///< names of groups of boot parts
  std::vector<std::string> system_calls;  ///< beyond those that analysis finds
};

/// Parses the text of a manifest file. Host paths in it are relative to `directory`. Throws Error
/// whose message starts with "NAME:LINE: ".
Manifest parse_manifest(std::string_view text, const std::string& name,
                        const std::filesystem::path& directory);

/// Reads a manifest file.
Manifest read_manifest(const std::filesystem::path& path);

/// Sets or replaces a variable.
void set_variable(Manifest& manifest, const std::string& name, const std::string& value);

}  // namespace aril::tool
