#pragma once
#include "fs/vfs/open_file.hpp"

namespace aril::devfs {

/// What the devices here have in common: a position that stays at 0.
class DeviceFile : public vfs::NodeFile {
 public:
  using NodeFile::NodeFile;
  Result<uint64_t> seek(int64_t, SeekOrigin) override { return uint64_t{0}; }
  Result<size_t> read_at(IoBuffer& buffer, uint64_t) override { return read(buffer); }
  Result<size_t> write_at(IoBuffer& buffer, uint64_t) override { return write(buffer); }
};

/// Takes the rest of `buffer` without looking at it.
size_t swallow(IoBuffer& buffer);

Result<RefPtr<File>> open_kmsg(const vfs::Path& path, OpenFlags flags);

}  // namespace aril::devfs
