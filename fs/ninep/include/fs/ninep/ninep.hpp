#pragma once
#include "base/result.hpp"
#include "fs/vfs/file_system.hpp"
#include "kernel/io/devices.hpp"

/// Directories of the host, by 9P2000.L [docs/volumes.md].
namespace aril::ninep {

/// Connects to the server behind `device`, which lives for ever. Sleeps. kProto when it does not
/// speak 9P2000.L, kIo, kNoMem, or the server's own error.
Result<RefPtr<vfs::FileSystem>> mount(MessageDevice& device);

}  // namespace aril::ninep
