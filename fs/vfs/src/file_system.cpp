#include "fs/vfs/file_system.hpp"

#include <atomic>

#include "fs/vfs/mode.hpp"

namespace aril::vfs {
namespace {

/// Device numbers of file systems without a device: major 0, minors in order, as Linux.
constinit std::atomic<uint32_t> next_minor{1};

}  // namespace

FileSystem::FileSystem()
    : device_(mode::make_device(0, next_minor.fetch_add(1, std::memory_order_relaxed))) {}
FileSystem::~FileSystem() = default;

Result<void> FileSystem::set_root(RefPtr<Inode> inode) {
  root_ = ARIL_TRY(dentries_.make_root(std::move(inode)));
  return {};
}

void FileSystem::drop_inodes() {
  root_.reset();
  dentries_.clear();
}

}  // namespace aril::vfs
