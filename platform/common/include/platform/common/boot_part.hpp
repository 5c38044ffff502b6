#pragma once
#include <vector>

#include "fs/sysfs/sysfs.hpp"
#include "fs/vfs/mount.hpp"
#include "platform/common/machine.hpp"

namespace aril::net {
class Runtime;
}

namespace aril::platform {

/// What the steps of the second half of the boot hand to each other. Lives for ever.
struct Boot {
  Machine& machine;
  net::Runtime* network = nullptr;  ///< null in an image without TCP/IP
  /// What /sys shows of the network; here, so that /sys can do without it.
  std::vector<sysfs::NetworkInterface> interfaces = {};
  RefPtr<vfs::FileSystem> root = nullptr;  ///< becomes "/"
  vfs::MountTree& mounts;                  ///< empty until the root is mounted
  /// What is to be mounted in /dev, which is made when somebody first goes there.
  std::vector<Result<void> (*)(Boot& boot)> mounts_in_dev = {};
  /// Set by a part: the machine is frozen between the parts that any machine has in common and
  /// those of the machine it finds itself on when it comes back from here.
  void (*freeze)(Boot& boot) = nullptr;
};

/// A step of the second half of the boot, on the boot thread, which may sleep. Registered beside
/// its definition with
///   ARIL_BOOT_PART(440, proc, mount_proc);
/// The record lands in the linker section "aril_boot_parts.440.proc"; steps run in the order of
/// their numbers (three digits). An image has just the parts that its linker script keeps, so none
/// may be called by another:
///   1xx drivers   2xx where devices are looked for   3xx network   4xx file systems
///   5xx what the system calls need   900 the program
/// ARIL_MACHINE_PART is for steps that depend on the machine's devices or on what stands
/// differently on the command line of each start: in a frozen image (docs/frozen.md) they run when
/// it is thawed, after all others.
struct BootPart {
  void (*run)(Boot& boot);
  const char* name;
  bool of_machine;
};

// Each by itself: through another macro, a step named `linux` would be called 1.
#define ARIL_BOOT_PART(order, name, function)                                               \
  [[gnu::section("aril_boot_parts." #order "." #name),                                      \
    gnu::used]] static constinit const ::aril::platform::BootPart aril_boot_part_##name = { \
      &function, #name, false}
#define ARIL_MACHINE_PART(order, name, function)                                            \
  [[gnu::section("aril_boot_parts." #order "." #name),                                      \
    gnu::used]] static constinit const ::aril::platform::BootPart aril_boot_part_##name = { \
      &function, #name, true}

}  // namespace aril::platform
