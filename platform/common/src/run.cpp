#include "platform/common/boot_part.hpp"
#include "platform/common/boot_timing.hpp"

namespace aril::platform {
namespace {

// The bounds that the linker gives to the section that ARIL_BOOT_PART fills.
extern "C" const BootPart __start_aril_boot_parts[], __stop_aril_boot_parts[];

}  // namespace

void run_boot_parts(Machine& machine) {
  auto& boot = *new Boot{.machine = machine, .mounts = *new vfs::MountTree};
  for (const BootPart* part = __start_aril_boot_parts; part != __stop_aril_boot_parts; ++part) {
    part->run(boot);
    note_boot_step(part->name);
  }
}

}  // namespace aril::platform
