#include "fs/vfs/devices.hpp"

#include <array>

#include "base/assert.hpp"
#include "fs/vfs/dentry.hpp"
#include "fs/vfs/inode.hpp"

namespace aril::vfs {
namespace {

struct CharDeviceEntry {
  uint32_t major, minor;
  Opener opener;
};
constexpr size_t kMaximumCharDevices = 64;

// Filled at start-up by one thread, read-only afterwards.
constinit std::array<CharDeviceEntry, kMaximumCharDevices> char_devices{};
constinit size_t char_device_count = 0;
constinit Opener fifo_opener = nullptr;

Opener find_char_device(uint64_t device) {
  uint32_t major = mode::major_of(device);
  uint32_t minor = mode::minor_of(device);
  Opener any = nullptr;
  for (size_t i = 0; i < char_device_count; ++i) {
    const CharDeviceEntry& entry = char_devices[i];
    if (entry.major != major) continue;
    if (entry.minor == minor) return entry.opener;
    if (entry.minor == kAnyMinor) any = entry.opener;
  }
  return any;
}

}  // namespace

void register_special_opener(uint32_t type, Opener opener) {
  ARIL_ASSERT(type == mode::kFifo);
  fifo_opener = opener;
}

void register_char_device(uint32_t major, uint32_t minor, Opener opener) {
  ARIL_ASSERT(char_device_count < kMaximumCharDevices);
  char_devices[char_device_count++] = {major, minor, opener};
}

Result<RefPtr<File>> open_special(const Path& path, OpenFlags flags) {
  const Inode& inode = path.inode();
  Opener opener = nullptr;
  if (inode.type() == mode::kFifo) opener = fifo_opener;
  if (inode.type() == mode::kCharDevice) opener = find_char_device(inode.special_device());
  if (opener == nullptr) return fail(Errno::kNxIo);
  return opener(path, flags);
}

}  // namespace aril::vfs
