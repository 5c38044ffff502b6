#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "kernel/log/log.hpp"

namespace aril::platform {

/// Where the root file system is.
enum class RootSource : uint8_t { kFirstThereIs, kRam, kModule, kDisk };

/// What to run: the root's /.aril/boot, then the command line's records over it
/// (base/image_abi.hpp).
struct ProgramSpec {
  std::string path;
  std::vector<std::string> arguments;    ///< argv
  std::vector<std::string> environment;  ///< "NAME=VALUE", each name once
  std::string working_directory = "/";
  std::string hostname = "aril";
  uint32_t uid = 0, gid = 0;
  std::vector<uint32_t> groups;  ///< supplementary
};

/// A disk's file system and where it is mounted.
struct DiskOption {
  std::string device;  ///< "vdb"
  std::string path;
  bool read_only = false;
};

/// The kernel's own options.
struct KernelOptions {
  RootSource root = RootSource::kFirstThereIs;
  std::vector<DiskOption> disks;
  std::string net;                    ///< the value of the first net=, empty when not given
  std::vector<std::string> more_net;  ///< of further ones: of the second interface and so on
  LogLevel console_level = LogLevel::kWarning;
  uint64_t tsc_khz = 0;
  int64_t epoch_ns = 0;
  enum class Stdio : uint8_t {
    kFirstThereIs,
    kVirtioConsole,
    kSerial
  } stdio = Stdio::kFirstThereIs;
  bool terminal_stdin = false, terminal_stdout = false, terminal_stderr = false;
  uint16_t columns = 80, rows = 24;
  bool strace = false;
  bool boot_timing = false;
  enum class Freeze : uint8_t { kNo, kFrozen, kWarm } freeze = Freeze::kNo;
  bool aslr = true;
  bool patch_call_sites = true;
  /// volume=TAG:PATH[:ro]: a directory of the host, by the tag of its device.
  struct Volume {
    std::string tag, path;
    bool read_only = false;
  };
  std::vector<Volume> volumes;
  std::vector<std::string_view> virtio_mmio;  ///< values of virtio_mmio.device=
};

/// One word, "key=value" or "key", with its value decoded.
struct Word {
  std::string_view key;
  std::string value;
};

/// Takes the first word, between blanks, off `rest`; empty when there is none.
std::string_view take_word(std::string_view& rest);
/// kInval for a '%' that two hexadecimal digits do not follow.
Result<Word> decode_word(std::string_view word);

/// The options among the words, before there is a root. Words with a bad value, or that nothing
/// knows, are warned about once each and ignored. `command_line` must outlive the result.
KernelOptions parse_kernel_options(std::string_view command_line);

/// Applies a boot file's NUL-terminated records.
void apply_boot_file(std::string_view records, ProgramSpec& spec);
/// Applies the command line's records over what the boot file said.
void apply_command_line(std::string_view command_line, ProgramSpec& spec);

}  // namespace aril::platform
