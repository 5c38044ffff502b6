#pragma once
#include <cstdint>

#include "fs/vfs/path.hpp"
#include "kernel/io/file.hpp"

/// How other layers serve special files. Registration happens at start-up, before the first
/// program, from one thread; look-ups need no lock.
namespace aril::vfs {

/// Makes the open file for a special file at `path`. Runs without locks; may block (FIFOs).
using Opener = Result<RefPtr<File>> (*)(const Path& path, OpenFlags flags);

/// `type`: mode::kFifo. (Opening a Unix socket's file fails with kNxIo, as on Linux.)
void register_special_opener(uint32_t type, Opener opener);

inline constexpr uint32_t kAnyMinor = ~0u;
/// Character devices; `minor` kAnyMinor serves all of `major` that nobody else does.
void register_char_device(uint32_t major, uint32_t minor, Opener opener);

/// What Inode::open does for special files. kNxIo when nobody serves it.
Result<RefPtr<File>> open_special(const Path& path, OpenFlags flags);

}  // namespace aril::vfs
