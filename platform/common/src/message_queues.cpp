#include "linux/mqueue/mqueue.hpp"
#include "mounter.hpp"
#include "platform/common/boot_part.hpp"

namespace aril::platform {
namespace {

void mount_message_queues(Boot& boot) {
  Mounter(boot.mounts)
      .mount("/dev/mqueue", need(linux_abi::message_queue_file_system(), "/dev/mqueue"),
             kKernelMountFlags);
}
ARIL_BOOT_PART(431, mqueue, mount_message_queues);

}  // namespace
}  // namespace aril::platform
