#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

#include "volume/volume_server.hpp"

/// What VolumeServer does with the names of a directory.
namespace aril::tool {

using ninep::Qid;
using ninep::Reader;
using ninep::Writer;

int VolumeServer::make(int directory, const std::string& name, mode_t mode, gid_t gid,
                       std::string_view target, Writer& out) {
  if (!is_volume_name(name) || target.find('\0') != target.npos) return EINVAL;
  if (directory < 0) return EBADF;
  if (read_only_) return EROFS;
  int error = 0;
  if (is_mapped_) {
    error = make_mapped(directory, name, mode, gid, target);
  } else if (S_ISCHR(mode) || S_ISBLK(mode)) {
    error = EPERM;  // a device of the host's is nothing that a guest may have
  } else if (S_ISDIR(mode)) {
    error = volume_error(mkdirat(directory, name.c_str(), mode) != 0);
  } else if (S_ISLNK(mode)) {
    error = volume_error(symlinkat(std::string(target).c_str(), directory, name.c_str()) != 0);
  } else {
    error = volume_error(mknodat(directory, name.c_str(), mode, 0) != 0);
  }
  if (error != 0) return error;
  struct stat status{};
  if (fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return errno;
  status.st_mode = mode;
  out.qid(qid_of(status));
  return 0;
}

int VolumeServer::make_node(Reader& in, Writer& out) {
  const int directory = place_of(in.u32());
  const std::string name(in.text());
  const mode_t mode = in.u32();
  in.skip(8);  // a device's numbers, of which none is made
  const gid_t gid = in.u32();
  if (in.failed() || S_ISDIR(mode) || S_ISLNK(mode)) return EINVAL;
  return make(directory, name, mode, gid, {}, out);
}

int VolumeServer::make_directory(Reader& in, Writer& out) {
  const int directory = place_of(in.u32());
  const std::string name(in.text());
  const mode_t mode = in.u32();
  const gid_t gid = in.u32();
  if (in.failed()) return EINVAL;
  return make(directory, name, S_IFDIR | (mode & ~S_IFMT), gid, {}, out);
}

int VolumeServer::make_symlink(Reader& in, Writer& out) {
  const int directory = place_of(in.u32());
  const std::string name(in.text()), target(in.text());
  const gid_t gid = in.u32();
  if (in.failed()) return EINVAL;
  return make(directory, name, S_IFLNK | 0777, gid, target, out);
}

int VolumeServer::link(Reader& in, Writer&) {
  const int directory = place_of(in.u32());
  const int file = place_of(in.u32());
  const std::string name(in.text());
  if (in.failed() || !is_volume_name(name)) return EINVAL;
  if (directory < 0 || file < 0) return EBADF;
  if (read_only_) return EROFS;
  return volume_error(linkat(descriptors_.get(), std::to_string(file).c_str(), directory,
                             name.c_str(), AT_SYMLINK_FOLLOW) != 0);
}

int VolumeServer::unlink_at(Reader& in, Writer&) {
  const int directory = place_of(in.u32());
  const std::string name(in.text());
  const uint32_t flags = in.u32();
  if (in.failed() || !is_volume_name(name) || (flags & ~uint32_t{AT_REMOVEDIR}) != 0) return EINVAL;
  if (directory < 0) return EBADF;
  if (read_only_) return EROFS;
  return volume_error(unlinkat(directory, name.c_str(), static_cast<int>(flags)) != 0);
}

int VolumeServer::rename_at(Reader& in, Writer&) {
  const Fid* old_directory = find(in.u32());
  const std::string old_name(in.text());
  const Fid* new_directory = find(in.u32());
  const std::string new_name(in.text());
  if (in.failed() || !is_volume_name(old_name) || !is_volume_name(new_name)) return EINVAL;
  if (old_directory == nullptr || new_directory == nullptr) return EBADF;
  const std::shared_ptr<const Place> from = old_directory->place, to = new_directory->place;
  if (from == nullptr || to == nullptr) return EBADF;
  if (read_only_) return EROFS;
  if (renameat(from->file.get(), old_name.c_str(), to->file.get(), new_name.c_str()) != 0)
    return errno;
  for (auto& [number, fid] : fids_) {
    if (fid.name != old_name || fid.parent == nullptr || fid.parent->inode != from->inode ||
        fid.parent->device != from->device)
      continue;
    fid.parent = to;
    fid.name = new_name;
  }
  return 0;
}

int VolumeServer::read_link(Reader& in, Writer& out) {
  const Fid* fid = find(in.u32());
  if (fid == nullptr || fid->place == nullptr) return EBADF;
  std::string mapped;
  if (is_mapped_ && read_mapped_link(*fid, mapped) == 0) {
    out.text(mapped);
    return 0;
  }
  std::array<char, PATH_MAX> target;
  const ssize_t length = readlinkat(fid->place->file.get(), "", target.data(), target.size());
  if (length < 0) return errno == ENOENT ? EINVAL : errno;  // ENOENT: no link [readlinkat(2)]
  out.text({target.data(), static_cast<size_t>(length)});
  return 0;
}

// Offsets are the host's own: what getdents64 tells, and lseek takes.
int VolumeServer::read_directory(Reader& in, Writer& out) {
  constexpr size_t kHead = ninep::kQidSize + 8 + 1 + 2;
  const Fid* fid = find(in.u32());
  const uint64_t offset = in.u64();
  const uint32_t most = in.u32();
  if (fid == nullptr || !fid->open) return EBADF;
  if (lseek(fid->open.get(), static_cast<off_t>(offset), SEEK_SET) < 0) return errno;
  alignas(dirent64) std::array<char, 32768> entries;
  const long count = syscall(SYS_getdents64, fid->open.get(), entries.data(), entries.size());
  if (count < 0) return errno;
  Writer size = out;
  out.u32(0);
  const std::span<std::byte> room = out.room();
  Writer list(room.first(std::min<size_t>(room.size(), most)));
  for (long at = 0; at < count;) {
    const auto& entry = *reinterpret_cast<const dirent64*>(entries.data() + at);
    const std::string_view name = entry.d_name;
    if (kHead + name.size() > list.room().size()) break;
    Qid qid{.path = entry.d_ino};
    if (entry.d_type == DT_DIR) qid.type = Qid::kDirectory;
    if (entry.d_type == DT_LNK) qid.type = Qid::kSymlink;
    const bool is_certain = !is_mapped_ || entry.d_type == DT_DIR;
    list.qid(qid).u64(static_cast<uint64_t>(entry.d_off));
    list.u8(is_certain ? entry.d_type : uint8_t{DT_UNKNOWN}).text(name);
    at += entry.d_reclen;
  }
  if (count != 0 && list.size() == 0) return EINVAL;
  size.u32(static_cast<uint32_t>(list.size()));
  out.skip(list.size());
  return 0;
}

}  // namespace aril::tool
