#include "linux/mqueue/mqueue.hpp"
#include "mounter.hpp"
#include "platform/common/boot_part.hpp"

namespace aril::platform {
namespace {

Result<void> mount_message_queues(Boot& boot) {
  return Mounter(boot.mounts)
      .try_mount("/dev/mqueue", ARIL_TRY(linux_abi::message_queue_file_system()),
                 kKernelMountFlags);
}
void offer_message_queues(Boot& boot) { boot.mounts_in_dev.push_back(&mount_message_queues); }
ARIL_BOOT_PART(431, mqueue, offer_message_queues);

}  // namespace
}  // namespace aril::platform
