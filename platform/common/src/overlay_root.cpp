#include "fs/overlay/overlay.hpp"
#include "mounter.hpp"
#include "platform/common/boot_part.hpp"

namespace aril::platform {
namespace {

/// Keeps in memory what is changed in the root.
void lay_over_root(Boot& boot) {
  boot.root = need(overlay::Overlay::create(std::move(boot.root)), "the root's overlay");
}
ARIL_BOOT_PART(402, overlay, lay_over_root);

/// The overlay keeps what is written in memory, so that these need no file system of their own,
/// which would hide what the image has there.
void make_temporary_directories(Boot& boot) {
  constexpr uint32_t kForEverybody = 01777;
  Mounter mounter(boot.mounts);
  need(mounter.directory("/run"), "/run");
  need(mounter.directory("/tmp", kForEverybody), "/tmp");
}
ARIL_BOOT_PART(460, temporary, make_temporary_directories);

}  // namespace
}  // namespace aril::platform
