#include "machine/disks.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <format>

#include "support/error.hpp"
#include "support/process.hpp"
#include "support/text.hpp"

namespace aril::tool {

namespace fs = std::filesystem;

namespace {

/// Below this mkfs.ext4 makes no journal.
constexpr uint64_t kSmallestDisk = uint64_t{8} << 20;

void make_disk(const Disk& disk, const std::function<void(const std::string&)>& say) {
  const std::string name = disk.host.string();
  if (*disk.size < kSmallestDisk) {
    throw Error(std::format("{}: a disk of {} is too small", name, human_size(*disk.size)),
                "size=8M is the least");
  }
  const auto mkfs = find_executable("mkfs.ext4");
  if (!mkfs) {
    throw Error(std::format("{} is missing, and there is no mkfs.ext4 to make it", name),
                "apt-get install e2fsprogs");
  }
  say(std::format("aril: making {} with an ext4 file system of {}", name, human_size(*disk.size)));
  // Under another name until it is complete, so that an interrupted start leaves no half of it.
  const std::string part = name + ".part";
  const CommandResult result = run_command(
      {*mkfs, "-q", "-F", "-E", "nodiscard", part, std::format("{}K", *disk.size >> 10)});
  std::error_code error;
  if (result.status != 0) {
    fs::remove(part, error);
    throw Error(std::format("{}: mkfs.ext4 failed: {}", name,
                            result.error.substr(0, result.error.find('\n'))));
  }
  fs::rename(part, disk.host, error);
  if (error) throw Error(std::format("{}: {}", name, error.message()));
}

/// The superblock is at byte 1024, its magic number 56 bytes into it.
bool has_ext4(int fd) {
  unsigned char magic[2];
  return pread(fd, magic, sizeof magic, 1024 + 56) == sizeof magic && magic[0] == 0x53 &&
         magic[1] == 0xef;
}

/// QEMU's own locks on images are open-file-description locks.
bool is_used_by_qemu(int fd, bool read_only) {
  struct flock lock = {};
  lock.l_type = static_cast<short>(read_only ? F_RDLCK : F_WRLCK);
  lock.l_whence = SEEK_SET;
  return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

Descriptor prepare_disk(const Disk& disk, const std::function<void(const std::string&)>& say) {
  const std::string name = disk.host.string();
  struct stat status = {};
  if (stat(name.c_str(), &status) != 0 && errno == ENOENT) {
    if (!disk.size || disk.read_only) {
      throw Error(std::format("{}: there is no such disk", name),
                  std::format("--disk {}:{}:size=1G makes it; or: mkfs.ext4 {} 1G", name,
                              disk.guest, name));
    }
    make_disk(disk, say);
  } else if (S_ISDIR(status.st_mode)) {
    throw Error(std::format("{}: is a directory, not a disk", name),
                std::format("--volume {}:{} shows a directory to the machine", name, disk.guest));
  }
  Descriptor file(open(name.c_str(), (disk.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
  if (!file) {
    throw Error(std::format("{}: {}", name, std::strerror(errno)),
                disk.read_only ? "" : "a disk that may only be read: add :ro");
  }
  if (!has_ext4(file.get())) {
    throw Error(std::format("{}: holds no ext4 file system", name),
                std::format("mkfs.ext4 {} makes one, and destroys what is there", name));
  }
  const int mode = disk.read_only ? LOCK_SH : LOCK_EX;
  if (flock(file.get(), mode | LOCK_NB) != 0 || is_used_by_qemu(file.get(), disk.read_only)) {
    throw Error(std::format("{}: is in use by another machine", name),
                "two machines can share a disk only when both have it read-only (:ro)");
  }
  return file;
}

}  // namespace

std::vector<Descriptor> prepare_disks(const std::vector<Disk>& disks,
                                      const std::function<void(const std::string&)>& say) {
  if (disks.size() > kMaximumDisks) {
    throw Error(std::format("{} disks are too many: {} at most", disks.size(), kMaximumDisks));
  }
  std::vector<Descriptor> locks;
  for (const Disk& disk : disks) locks.push_back(prepare_disk(disk, say));
  return locks;
}

}  // namespace aril::tool
