#pragma once
#include "base/ref_ptr.hpp"
#include "base/result.hpp"
#include "fs/vfs/file_system.hpp"

namespace aril::linux_abi {

/// The file system of the POSIX message queues, for whoever mounts it; made at first use. Queues
/// can be used whether it is mounted or not [mq_overview(7)].
Result<RefPtr<vfs::FileSystem>> message_queue_file_system();

}  // namespace aril::linux_abi
