#include "platform/common/boot_part.hpp"
#include "platform/common/boot_timing.hpp"

namespace aril::platform {
namespace {

// The bounds that the linker gives to the section that ARIL_BOOT_PART fills.
extern "C" const BootPart __start_aril_boot_parts[], __stop_aril_boot_parts[];

void run(const BootPart& part, Boot& boot) {
  part.run(boot);
  note_boot_step(part.name);
}

}  // namespace

void run_boot_parts(Machine& machine) {
  auto& boot = *new Boot{.machine = machine, .mounts = *new vfs::MountTree};
  const std::span parts(__start_aril_boot_parts, __stop_aril_boot_parts);
  for (const BootPart& part : parts) {
    if (boot.freeze == nullptr || !part.of_machine) run(part, boot);
  }
  if (boot.freeze == nullptr) return;
  boot.freeze(boot);
  for (const BootPart& part : parts) {
    if (part.of_machine) run(part, boot);
  }
}

}  // namespace aril::platform
