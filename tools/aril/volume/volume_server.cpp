#include "volume/volume_server.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <format>

#include "support/error.hpp"

namespace aril::tool {

using ninep::Qid;
using ninep::Reader;
using ninep::Type;
using ninep::Writer;

namespace {

constexpr std::string_view kVersionName = "9P2000.L";
constexpr uint16_t kMostSteps = 16;     // MAXWELEM
constexpr size_t kLeastMessage = 4096;  // [9p2000.L]

Descriptor open_or_throw(const char* path) {
  Descriptor opened(::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!opened) throw Error(std::format("{}: {}", path, std::strerror(errno)));
  return opened;
}

}  // namespace

bool is_volume_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == name.npos &&
         name.find('\0') == name.npos;
}

int volume_error(bool failed) { return failed ? errno : 0; }

VolumeServer::VolumeServer(Descriptor root, Access access, Owners owners)
    : root_(std::move(root)),
      read_only_(access == Access::kReadOnly),
      is_mapped_(owners == Owners::kAttributes),
      descriptors_(open_or_throw("/proc/self/fd")),
      answer_(kMostMessage),
      most_answer_(kMostMessage) {
  struct stat status{};
  if (fstat(root_.get(), &status) == 0) root_device_ = status.st_dev;
}

VolumeServer::Handler VolumeServer::handler_of(Type type) {
  switch (type) {
    case Type::kStatFs:
      return &VolumeServer::status;
    case Type::kOpen:
      return &VolumeServer::open;
    case Type::kSymlink:
      return &VolumeServer::make_symlink;
    case Type::kMakeNode:
      return &VolumeServer::make_node;
    case Type::kReadLink:
      return &VolumeServer::read_link;
    case Type::kGetAttributes:
      return &VolumeServer::get_attributes;
    case Type::kSetAttributes:
      return &VolumeServer::set_attributes;
    case Type::kXattrWalk:
      return &VolumeServer::xattr_walk;
    case Type::kXattrCreate:
      return &VolumeServer::xattr_create;
    case Type::kReadDirectory:
      return &VolumeServer::read_directory;
    case Type::kSync:
      return &VolumeServer::sync;
    case Type::kLink:
      return &VolumeServer::link;
    case Type::kMakeDirectory:
      return &VolumeServer::make_directory;
    case Type::kRenameAt:
      return &VolumeServer::rename_at;
    case Type::kUnlinkAt:
      return &VolumeServer::unlink_at;
    case Type::kVersion:
      return &VolumeServer::version;
    case Type::kAttach:
      return &VolumeServer::attach;
    case Type::kWalk:
      return &VolumeServer::walk;
    case Type::kRead:
      return &VolumeServer::read;
    case Type::kWrite:
      return &VolumeServer::write;
    case Type::kClunk:
      return &VolumeServer::clunk;
    case Type::kErrorReply:
      break;
  }
  return nullptr;
}

std::span<const std::byte> VolumeServer::answer(std::span<const std::byte> message) {
  Reader in(message);
  const uint32_t size = in.u32();
  const uint8_t number = in.u8();
  const uint16_t tag = in.u16();
  if (in.failed() || size != message.size()) return {};
  const Handler handler = handler_of(Type{number});
  // What a handler of an earlier, larger message size has left is not to be sent.
  const std::span<std::byte> fields =
      std::span(answer_).first(most_answer_).subspan(ninep::kHeaderSize);
  Writer out(fields);
  int error = handler == nullptr ? EOPNOTSUPP : (this->*handler)(in, out);
  if (error == 0 && in.failed()) error = EPROTO;
  if (error == 0 && out.failed()) error = EMSGSIZE;
  if (error != 0) {
    out = Writer(fields);
    out.u32(static_cast<uint32_t>(error));
  }
  const auto whole = static_cast<uint32_t>(ninep::kHeaderSize + out.size());
  const uint8_t kind =
      error != 0 ? static_cast<uint8_t>(Type::kErrorReply) : static_cast<uint8_t>(number + 1);
  Writer(answer_).u32(whole).u8(kind).u16(tag);
  return std::span(answer_).first(whole);
}

VolumeServer::Fid* VolumeServer::find(uint32_t number) {
  const auto found = fids_.find(number);
  return found == fids_.end() ? nullptr : &found->second;
}

int VolumeServer::place_of(uint32_t number) {
  const Fid* fid = find(number);
  return fid == nullptr || fid->place == nullptr ? -1 : fid->place->file.get();
}

bool VolumeServer::has_its_name(const Fid& fid) {
  if (fid.parent == nullptr) return true;
  struct stat status{};
  return fstatat(fid.parent->file.get(), fid.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
         status.st_ino == fid.place->inode && status.st_dev == fid.place->device;
}

std::shared_ptr<const VolumeServer::Place> VolumeServer::place_at(Descriptor file,
                                                                  const struct stat& status) {
  return std::make_shared<const Place>(std::move(file), status.st_dev, status.st_ino);
}

int VolumeServer::open_again(const Fid& fid, int flags) const {
  const int place = fid.place->file.get();
  struct stat status{};
  if (fstat(place, &status) != 0) return -1;
  // Opening a device or a FIFO does something, and may wait for somebody.
  if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) {
    errno = S_ISLNK(status.st_mode) ? ELOOP : EPERM;
    return -1;
  }
  return openat(descriptors_.get(), std::to_string(place).c_str(),
                flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

/// Numbers are unique over all that is mounted below the directory.
Qid VolumeServer::qid_of(const struct stat& status) {
  constexpr unsigned kDeviceShift = 56;
  constexpr uint64_t kSecond = 1'000'000'000;
  Qid qid;
  if (S_ISDIR(status.st_mode)) qid.type = Qid::kDirectory;
  if (S_ISLNK(status.st_mode)) qid.type = Qid::kSymlink;
  const auto changed = static_cast<uint64_t>(status.st_mtim.tv_sec) * kSecond +
                       static_cast<uint64_t>(status.st_mtim.tv_nsec);
  qid.version = static_cast<uint32_t>(changed ^ static_cast<uint64_t>(status.st_size) << 8);
  uint64_t device = 0;
  if (status.st_dev != root_device_) {
    auto found = std::ranges::find(other_devices_, status.st_dev);
    if (found == other_devices_.end()) found = other_devices_.insert(found, status.st_dev);
    device = static_cast<uint64_t>(found - other_devices_.begin()) + 1;
  }
  qid.path = status.st_ino ^ device << kDeviceShift;
  return qid;
}

int VolumeServer::version(Reader& in, Writer& out) {
  const uint32_t wanted = in.u32();
  const std::string_view name = in.text();
  fids_.clear();
  attributes_ = 0;
  if (wanted < kLeastMessage) return EMSGSIZE;
  most_answer_ = std::min<size_t>(wanted, kMostMessage);
  out.u32(static_cast<uint32_t>(most_answer_))
      .text(name == kVersionName ? kVersionName : "unknown");
  return 0;
}

int VolumeServer::attach(Reader& in, Writer& out) {
  const uint32_t number = in.u32();
  if (in.failed() || number == ninep::kNoFid || find(number) != nullptr) return EINVAL;
  if (!has_room()) return EMFILE;
  Descriptor place(openat(root_.get(), ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct stat status{};
  if (!place || fstat(place.get(), &status) != 0) return errno;
  Fid fid;
  fid.place = place_at(std::move(place), status);
  fids_.emplace(number, std::move(fid));
  out.qid(qid_of(status));
  return 0;
}

// [walk(5)] The first step that fails is the error; after it, the steps taken are told, and the new
// fid is not.
int VolumeServer::walk(Reader& in, Writer& out) {
  const uint32_t from = in.u32(), to = in.u32();
  const uint16_t steps = in.u16();
  const Fid* start = find(from);
  if (start == nullptr || start->place == nullptr) return EBADF;
  if (steps > kMostSteps || to == ninep::kNoFid || (to != from && find(to) != nullptr))
    return EINVAL;
  // In its own place it would take an attribute along that is still to be set.
  if (start->attribute && to == from) return EBADF;
  if (!has_room()) return EMFILE;
  Fid at;
  at.place = start->place;
  at.parent = start->parent;
  at.name = start->name;
  Writer count = out;
  out.u16(0);
  uint16_t taken = 0;
  for (; taken < steps; ++taken) {
    std::string name(in.text());
    if (in.failed() || !is_volume_name(name)) return EINVAL;
    Descriptor next(openat(at.place->file.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat status{};
    if (!next || fstat(next.get(), &status) != 0) {
      if (taken == 0) return errno;
      break;
    }
    at.parent = std::move(at.place);
    at.place = place_at(std::move(next), status);
    at.name = std::move(name);
    if (const int error = status_of(at, status); error != 0) return error;
    out.qid(qid_of(status));
  }
  count.u16(taken);
  if (taken == steps) fids_[to] = std::move(at);
  return 0;
}

int VolumeServer::clunk(Reader& in, Writer&) {
  const auto found = fids_.find(in.u32());
  if (found == fids_.end()) return EBADF;
  const Fid fid = std::move(found->second);
  fids_.erase(found);
  if (fid.attribute) --attributes_;
  return fid.attribute && fid.attribute->is_written ? set_xattr(fid) : 0;
}

}  // namespace aril::tool
