#include <endian.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

#include "volume/volume_server.hpp"

/// Owners, modes and types of files as the guest set them, kept in attributes of the files as
/// QEMU's server does (security_model=mapped-xattr): numbers of 32 bits, little-endian. To the host
/// all are regular files and directories of one user; a link's target is its content.
namespace aril::tool {
namespace {

constexpr const char* kUid = "user.virtfs.uid";
constexpr const char* kGid = "user.virtfs.gid";
constexpr const char* kMode = "user.virtfs.mode";

bool read_number(int file, const char* name, uint32_t& number) {
  uint32_t value = 0;
  if (fgetxattr(file, name, &value, sizeof value) != sizeof value) return false;
  number = le32toh(value);
  return true;
}

bool write_number(int file, const char* name, uint32_t number) {
  const uint32_t value = htole32(number);
  return fsetxattr(file, name, &value, sizeof value, 0) == 0;
}

bool describe(int file, mode_t mode, uid_t uid, gid_t gid) {
  return write_number(file, kUid, uid) && write_number(file, kGid, gid) &&
         write_number(file, kMode, mode);
}

}  // namespace

int VolumeServer::status_of(const Fid& fid, struct stat& status) const {
  if (fstat(fid.place->file.get(), &status) != 0) return errno;
  const bool may_have_more = S_ISREG(status.st_mode) || S_ISDIR(status.st_mode);
  if (!is_mapped_ || !may_have_more) return 0;
  const Descriptor file(open_again(fid, O_RDONLY));
  if (!file) return 0;
  read_number(file.get(), kUid, status.st_uid);
  read_number(file.get(), kGid, status.st_gid);
  uint32_t mode = status.st_mode;
  read_number(file.get(), kMode, mode);
  // What it is to the host decides what can be done with it.
  if (S_ISDIR(mode) == S_ISDIR(status.st_mode)) status.st_mode = mode;
  return 0;
}

int VolumeServer::make_mapped(int directory, const std::string& name, mode_t mode, gid_t gid,
                              std::string_view target) const {
  constexpr mode_t kDirectory = 0700, kFile = 0600;
  const char* const made = name.c_str();
  const bool is_directory = S_ISDIR(mode);
  Descriptor file;
  if (is_directory) {
    if (mkdirat(directory, made, kDirectory) != 0) return errno;
    file = Descriptor(openat(directory, made, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  } else {
    file = Descriptor(openat(directory, made, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, kFile));
    if (!file) return errno;
  }
  int error = volume_error(!file || !describe(file.get(), mode, 0, gid));
  if (error == 0 && !target.empty()) {
    const ssize_t put = pwrite(file.get(), target.data(), target.size(), 0);
    if (put != static_cast<ssize_t>(target.size())) error = put < 0 ? errno : ENOSPC;
  }
  if (error != 0) unlinkat(directory, made, is_directory ? AT_REMOVEDIR : 0);
  return error;
}

int VolumeServer::change_mapped(const Fid& fid, uint32_t valid, mode_t mode, uid_t uid,
                                gid_t gid) const {
  constexpr uint32_t kAny = ninep::kSetMode | ninep::kSetUid | ninep::kSetGid;
  if ((valid & kAny) == 0) return 0;
  struct stat status{};
  if (const int error = status_of(fid, status); error != 0) return error;
  const Descriptor file(open_again(fid, O_RDONLY));
  if (!file) return errno;
  constexpr mode_t kPermissions = 07777;
  if ((valid & ninep::kSetMode) != 0)
    status.st_mode = (status.st_mode & S_IFMT) | (mode & kPermissions);
  if ((valid & ninep::kSetUid) != 0) status.st_uid = uid;
  if ((valid & ninep::kSetGid) != 0) status.st_gid = gid;
  return volume_error(!describe(file.get(), status.st_mode, status.st_uid, status.st_gid));
}

int VolumeServer::read_mapped_link(const Fid& fid, std::string& target) const {
  struct stat status{};
  if (const int error = status_of(fid, status); error != 0) return error;
  if (!S_ISLNK(status.st_mode)) return EINVAL;
  const Descriptor file(open_again(fid, O_RDONLY));
  std::array<char, PATH_MAX> content;
  const ssize_t length = file ? pread(file.get(), content.data(), content.size(), 0) : -1;
  if (length < 0) return errno;
  target.assign(content.data(), static_cast<size_t>(length));
  return 0;
}

}  // namespace aril::tool
