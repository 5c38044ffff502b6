#include "stand_in.hpp"

#include <array>
#include <optional>

namespace aril::ninep::stand_in {

namespace mode = vfs::mode;

namespace {

constexpr std::string_view kMode = "user.virtfs.mode", kDevice = "user.virtfs.rdev";

/// A number of `size` bytes, little endian; nothing when there is none of that size.
std::optional<uint64_t> number(Client& client, const Fid& fid, std::string_view name, size_t size) {
  Result<Client::XattrFid> value = client.open_xattr(fid, name);
  std::array<std::byte, sizeof(uint64_t)> bytes{};
  if (!value || value->size != size) return std::nullopt;
  IoBuffer::Segment segment;
  IoBuffer buffer = IoBuffer::kernel(segment, std::span(bytes).first(size));
  Result<size_t> got = client.read(*value->fid, 0, buffer);
  if (!got || *got != size) return std::nullopt;
  return Reader(bytes).u64();
}

template <typename T>
Result<void> set_number(Client& client, const Fid& fid, std::string_view name, T value) {
  std::array<std::byte, sizeof(uint64_t)> bytes{};
  Writer(bytes).u64(value);
  return client.set_xattr(fid, name, std::span(bytes).first(sizeof(T)), 0);
}

bool is_special(uint32_t type) {
  return type == mode::kFifo || type == mode::kSocket || type == mode::kCharDevice ||
         type == mode::kBlockDevice;
}

Result<void> describe(Client& client, const Fid& directory, std::string_view name, uint32_t mode,
                      uint64_t device) {
  RefPtr<Fid> fid = ARIL_TRY(client.walk(directory, name));
  if (device != 0) ARIL_TRY(set_number(client, *fid, kDevice, device));
  return set_number(client, *fid, kMode, mode);
}

}  // namespace

Result<Attributes> attributes(Client& client, const Fid& fid) {
  Attributes result = ARIL_TRY(client.attributes(fid));
  // What makes asking cheap: hardly any other file looks like this.
  constexpr uint32_t kLook = mode::kRegular | mode::kSticky;
  if ((result.mode & (mode::kTypeMask | mode::kSticky)) != kLook || result.size != 0) return result;
  std::optional<uint64_t> real = number(client, fid, kMode, sizeof(uint32_t));
  if (!real) return result;
  uint32_t type = static_cast<uint32_t>(*real) & mode::kTypeMask;
  if (!is_special(type)) return result;
  result.is_stand_in = true;
  result.mode = type | (result.mode & (mode::kPermissions & ~mode::kSticky));
  result.device = number(client, fid, kDevice, sizeof(uint64_t)).value_or(0);
  return result;
}

Result<void> make(Client& client, const Fid& directory, std::string_view name, uint32_t mode,
                  uint64_t device, uint32_t gid) {
  ARIL_TRY(client.make_node(directory, name, server_mode(mode), 0, gid));
  if (describe(client, directory, name, mode, device)) return {};
  (void)client.unlink(directory, name, Client::Kind::kFile);
  // [mknod(2)] The file system does not support this type of file.
  return fail(Errno::kPerm);
}

uint32_t server_mode(uint32_t mode) {
  return mode::kRegular | mode::kSticky | (mode & mode::kPermissions);
}

}  // namespace aril::ninep::stand_in
