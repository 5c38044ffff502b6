#include <fcntl.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "volume/volume_server.hpp"

/// What VolumeServer does with the contents and attributes of files.
namespace aril::tool {

using ninep::Reader;
using ninep::Writer;

namespace {

constexpr size_t kLongestAttribute = 65536;  // XATTR_SIZE_MAX
/// The others mean something to the host: who may do what, and as whom.
constexpr std::string_view kOurs = "user.";

bool is_attribute_name(std::string_view name, bool is_mapped) {
  if (is_mapped && name.starts_with(kOwnerAttributes)) return false;
  return name.starts_with(kOurs) && name.size() > kOurs.size() && name.size() <= NAME_MAX &&
         name.find('\0') == name.npos;
}

timespec time_of(uint64_t seconds, uint64_t nanoseconds, uint32_t valid, uint32_t set,
                 uint32_t set_to) {
  if ((valid & set) == 0) return {0, UTIME_OMIT};
  if ((valid & set_to) == 0) return {0, UTIME_NOW};
  return {static_cast<time_t>(seconds), static_cast<long>(nanoseconds)};
}

}  // namespace

int VolumeServer::open(Reader& in, Writer& out) {
  Fid* fid = find(in.u32());
  const uint32_t flags = in.u32();
  if (fid == nullptr || fid->place == nullptr || fid->open || fid->attribute) return EBADF;
  const int access = static_cast<int>(flags & O_ACCMODE);
  const int others = static_cast<int>(flags & (O_TRUNC | O_DIRECTORY));
  if (access == O_ACCMODE) return EINVAL;
  if (read_only_ && (access != O_RDONLY || (others & O_TRUNC) != 0)) return EROFS;
  Descriptor opened(open_again(*fid, access | others));
  struct stat status{};
  if (!opened || fstat(opened.get(), &status) != 0) return errno;
  fid->open = std::move(opened);
  out.qid(qid_of(status)).u32(0);  // no particular unit
  return 0;
}

int VolumeServer::read(Reader& in, Writer& out) {
  const Fid* fid = find(in.u32());
  const uint64_t offset = in.u64();
  const uint32_t most = in.u32();
  if (in.failed()) return EPROTO;
  if (fid == nullptr) return EBADF;
  Writer size = out;
  out.u32(0);
  const std::span<std::byte> room = out.room().first(std::min<size_t>(out.room().size(), most));
  size_t count = 0;
  if (fid->attribute) {
    const std::string& value = fid->attribute->value;
    if (offset < value.size()) count = std::min<size_t>(value.size() - offset, room.size());
    if (count != 0) std::memcpy(room.data(), value.data() + offset, count);
  } else {
    const ssize_t got =
        pread(fid->open.get(), room.data(), room.size(), static_cast<off_t>(offset));
    if (got < 0) return errno;
    count = static_cast<size_t>(got);
  }
  size.u32(static_cast<uint32_t>(count));
  out.skip(count);
  return 0;
}

int VolumeServer::write(Reader& in, Writer& out) {
  Fid* fid = find(in.u32());
  const uint64_t offset = in.u64();
  const std::span<const std::byte> data = in.take(in.u32());
  if (in.failed()) return EPROTO;
  if (fid == nullptr) return EBADF;
  size_t count = data.size();
  if (fid->attribute) {
    Attribute& attribute = *fid->attribute;
    if (!attribute.is_written) return EBADF;
    if (offset != attribute.value.size() || data.size() > attribute.size - offset) return EINVAL;
    attribute.value.append(reinterpret_cast<const char*>(data.data()), data.size());
  } else {
    const ssize_t put =
        pwrite(fid->open.get(), data.data(), data.size(), static_cast<off_t>(offset));
    if (put < 0) return errno;
    count = static_cast<size_t>(put);
  }
  out.u32(static_cast<uint32_t>(count));
  return 0;
}

int VolumeServer::sync(Reader& in, Writer&) {
  const Fid* fid = find(in.u32());
  if (fid == nullptr || fid->place == nullptr) return EBADF;
  if (fid->open) return volume_error(fsync(fid->open.get()) != 0);
  const Descriptor opened(open_again(*fid, O_RDONLY));
  return volume_error(!opened || fsync(opened.get()) != 0);
}

int VolumeServer::get_attributes(Reader& in, Writer& out) {
  constexpr uint64_t kBasic = 0x7ff;  // P9_GETATTR_BASIC
  const Fid* fid = find(in.u32());
  struct stat status{};
  if (fid == nullptr || fid->place == nullptr) return EBADF;
  if (!fid->open && !has_its_name(*fid)) return ENOENT;
  if (const int error = status_of(*fid, status); error != 0) return error;
  out.u64(kBasic).qid(qid_of(status));
  out.u32(status.st_mode).u32(status.st_uid).u32(status.st_gid);
  out.u64(status.st_nlink).u64(status.st_rdev).u64(static_cast<uint64_t>(status.st_size));
  out.u64(static_cast<uint64_t>(status.st_blksize)).u64(static_cast<uint64_t>(status.st_blocks));
  for (const timespec& time : {status.st_atim, status.st_mtim, status.st_ctim, timespec{}})
    out.u64(static_cast<uint64_t>(time.tv_sec)).u64(static_cast<uint64_t>(time.tv_nsec));
  out.u64(0).u64(0);  // generation, version
  return 0;
}

int VolumeServer::set_attributes(Reader& in, Writer&) {
  const Fid* fid = find(in.u32());
  const uint32_t valid = in.u32(), mode = in.u32(), uid = in.u32(), gid = in.u32();
  const uint64_t size = in.u64();
  const uint64_t access_seconds = in.u64(), access_ns = in.u64();
  const uint64_t modify_seconds = in.u64(), modify_ns = in.u64();
  if (in.failed()) return EPROTO;
  if (fid == nullptr || fid->place == nullptr) return EBADF;
  if (read_only_) return EROFS;
  const int file = fid->place->file.get();
  const std::string number = std::to_string(file);
  if (is_mapped_) {
    if (const int error = change_mapped(*fid, valid, mode, uid, gid); error != 0) return error;
  }
  // The owner first: a change of it takes set-user-ID bits away.
  if (!is_mapped_ && (valid & (ninep::kSetUid | ninep::kSetGid)) != 0) {
    const uid_t new_uid = (valid & ninep::kSetUid) != 0 ? uid : static_cast<uid_t>(-1);
    const gid_t new_gid = (valid & ninep::kSetGid) != 0 ? gid : static_cast<gid_t>(-1);
    if (fchownat(file, "", new_uid, new_gid, AT_EMPTY_PATH) != 0) return errno;
  }
  constexpr mode_t kPermissions = 07777;
  if (!is_mapped_ && (valid & ninep::kSetMode) != 0 &&
      fchmodat(descriptors_.get(), number.c_str(), mode & kPermissions, 0) != 0)
    return errno;
  if ((valid & ninep::kSetSize) != 0) {
    // Through the fid's own descriptor where it can, which may have more rights than the file has
    // now.
    const bool is_done = fid->open && ftruncate(fid->open.get(), static_cast<off_t>(size)) == 0;
    const Descriptor opened(is_done ? -1 : open_again(*fid, O_WRONLY));
    if (!is_done && (!opened || ftruncate(opened.get(), static_cast<off_t>(size)) != 0))
      return errno;
  }
  if ((valid & (ninep::kSetAccess | ninep::kSetModify)) == 0) return 0;
  const timespec times[] = {
      time_of(access_seconds, access_ns, valid, ninep::kSetAccess, ninep::kSetAccessTo),
      time_of(modify_seconds, modify_ns, valid, ninep::kSetModify, ninep::kSetModifyTo)};
  return volume_error(utimensat(file, "", times, AT_EMPTY_PATH) != 0);
}

int VolumeServer::status(Reader& in, Writer& out) {
  const int file = place_of(in.u32());
  struct statfs status{};
  if (file < 0) return EBADF;
  if (fstatfs(file, &status) != 0) return errno;
  out.u32(static_cast<uint32_t>(status.f_type)).u32(static_cast<uint32_t>(status.f_bsize));
  out.u64(status.f_blocks).u64(status.f_bfree).u64(status.f_bavail);
  out.u64(status.f_files).u64(status.f_ffree).u64(0);
  out.u32(static_cast<uint32_t>(status.f_namelen));
  return 0;
}

// The new fid stands for the attribute's value, or without a name for the list of names.
int VolumeServer::xattr_walk(Reader& in, Writer& out) {
  const Fid* fid = find(in.u32());
  const uint32_t to = in.u32();
  const std::string name(in.text());
  if (in.failed()) return EPROTO;
  if (fid == nullptr || fid->place == nullptr) return EBADF;
  if (to == ninep::kNoFid || find(to) != nullptr) return EINVAL;
  if (!name.empty() && !is_attribute_name(name, is_mapped_)) return EOPNOTSUPP;
  if (!has_room() || !has_attribute_room()) return EMFILE;
  Attribute attribute;
  attribute.value.resize(kLongestAttribute);
  const Descriptor opened(open_again(*fid, O_RDONLY));
  // Of a link or a device there are none of this kind.
  ssize_t size = opened || !name.empty() ? -1 : 0;
  if (opened) {
    size = name.empty() ? flistxattr(opened.get(), attribute.value.data(), attribute.value.size())
                        : fgetxattr(opened.get(), name.c_str(), attribute.value.data(),
                                    attribute.value.size());
  }
  if (size < 0) return opened ? errno : ENODATA;
  attribute.value.resize(static_cast<size_t>(size));
  if (name.empty()) {
    std::string listed;
    for (size_t at = 0; at < attribute.value.size();) {
      const std::string_view each = attribute.value.c_str() + at;
      if (is_attribute_name(each, is_mapped_)) listed.append(each).push_back('\0');
      at += each.size() + 1;
    }
    attribute.value = std::move(listed);
  }
  out.u64(attribute.value.size());
  Fid value;
  value.attribute = std::move(attribute);
  fids_.emplace(to, std::move(value));
  ++attributes_;
  return 0;
}

// The fid takes the value from the writes that follow.
int VolumeServer::xattr_create(Reader& in, Writer&) {
  Fid* fid = find(in.u32());
  const std::string name(in.text());
  const uint64_t size = in.u64();
  const uint32_t flags = in.u32();
  if (in.failed()) return EPROTO;
  if (fid == nullptr || fid->place == nullptr || fid->open || fid->attribute) return EBADF;
  if (read_only_) return EROFS;
  if (!is_attribute_name(name, is_mapped_)) return EOPNOTSUPP;
  if (size > kLongestAttribute) return E2BIG;
  if (!has_attribute_room()) return EMFILE;
  if ((flags & ~uint32_t{XATTR_CREATE | XATTR_REPLACE}) != 0) return EINVAL;
  fid->attribute = Attribute{.name = name,
                             .value = {},
                             .is_written = true,
                             .size = size,
                             .flags = static_cast<int>(flags)};
  ++attributes_;
  return 0;
}

int VolumeServer::set_xattr(const Fid& fid) {
  const Attribute& attribute = *fid.attribute;
  if (attribute.value.size() != attribute.size) return EIO;
  const Descriptor opened(open_again(fid, O_RDONLY));
  if (!opened) return errno == ELOOP ? EPERM : errno;
  // [9p2000.L] Without a value it is taken away.
  if (attribute.size == 0)
    return volume_error(fremovexattr(opened.get(), attribute.name.c_str()) != 0);
  return volume_error(fsetxattr(opened.get(), attribute.name.c_str(), attribute.value.data(),
                                attribute.value.size(), attribute.flags) != 0);
}

}  // namespace aril::tool
