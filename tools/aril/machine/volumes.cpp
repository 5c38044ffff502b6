#include "machine/volumes.hpp"

#include <sys/xattr.h>
#include <unistd.h>

#include <cstring>
#include <format>

#include "support/error.hpp"
#include "support/text.hpp"

namespace aril::tool {

namespace fs = std::filesystem;

namespace {

/// Whether the server can keep the guest's owners and modes beside the files.
bool takes_attributes(const fs::path& directory) {
  constexpr const char* kProbe = "user.aril.probe";
  if (setxattr(directory.c_str(), kProbe, "1", 1, 0) != 0) return false;
  removexattr(directory.c_str(), kProbe);
  return true;
}

/// Root can give files to anyone, so that the guest's owners and modes are the host's own, as of a
/// container's volume. For anyone else the server keeps them beside the files, where that works:
/// some file systems have no attributes, and a read-only directory takes none but may have them.
std::string security_model(const Volume& volume) {
  if (geteuid() == 0) return "none";
  if (takes_attributes(volume.host)) return "mapped-xattr";
  const bool understands =
      getxattr(volume.host.c_str(), "user.virtfs.uid", nullptr, 0) >= 0 || errno == ENODATA;
  return volume.read_only && understands ? "mapped-xattr" : "none";
}

void check(const Volume& volume) {
  const std::string name = volume.host.string();
  std::error_code error;
  const fs::file_status status = fs::status(volume.host, error);
  if (status.type() == fs::file_type::not_found) {
    throw Error(std::format("volume {}: there is no such directory", name),
                std::format("mkdir -p {}", name));
  }
  if (error) throw Error(std::format("volume {}: {}", name, error.message()));
  if (!fs::is_directory(status)) throw Error(std::format("volume {}: not a directory", name));
  const int wanted = R_OK | X_OK | (volume.read_only ? 0 : W_OK);
  if (access(volume.host.c_str(), wanted) != 0) {
    throw Error(std::format("volume {}: {}", name, std::strerror(errno)),
                volume.read_only ? "" : "add :ro when the guest only needs to read it");
  }
}

}  // namespace

std::vector<SharedDirectory> share_volumes(const std::vector<Volume>& volumes) {
  std::vector<SharedDirectory> shared;
  for (const Volume& volume : volumes) {
    check(volume);
    for (const SharedDirectory& other : shared) {
      if (other.volume.guest == volume.guest) {
        throw Error(std::format("two volumes at {}: {} and {}", volume.guest.string(),
                                other.volume.host.string(), volume.host.string()));
      }
    }
    shared.push_back({volume, std::format("volume{}", shared.size()), security_model(volume)});
  }
  return shared;
}

std::string volume_word(const SharedDirectory& shared) {
  return std::format("volume={}:{}{}", shared.tag, percent_encode(shared.volume.guest.string()),
                     shared.volume.read_only ? ":ro" : "");
}

}  // namespace aril::tool
