#pragma once
#include <sys/stat.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/ninep_protocol.hpp"
#include "support/file.hpp"

namespace aril::tool {

/// A 9P2000.L server of one directory of this host, for an instance that is a process: what QEMU's
/// -fsdev is to a virtual machine [docs/volumes.md].
///
/// Messages are hostile. A name in one is a single component, symbolic links are never followed,
/// and a fid is a descriptor of the very file (O_PATH), so that nothing outside the directory can
/// be named whatever happens to the names meanwhile. Files other than regular ones and directories
/// are not opened. For one thread.
class VolumeServer {
 public:
  enum class Access : uint8_t { kReadWrite, kReadOnly };
  /// Whose files are: the host's owners and modes are the guest's, or those of the guest and its
  /// types are kept beside each file, where a user who is not root can have no other. The latter as
  /// QEMU's security_model=mapped-xattr, so that a volume may be used by either.
  enum class Owners : uint8_t { kHost, kAttributes };
  /// The longest message, either way.
  static constexpr size_t kMostMessage = (size_t{128} << 10) + 4096;
  /// The most fids at once, and of them those that stand for extended attributes (64 KiB each):
  /// what a guest can make this process hold. More is EMFILE.
  static constexpr size_t kMostFids = size_t{1} << 18, kMostAttributes = 256;

  /// `root` is the directory. Throws Error when this process' descriptors cannot be named (/proc).
  VolumeServer(Descriptor root, Access access, Owners owners);

  /// Answers a message. The answer is valid until the next call; it is empty for what is no message
  /// at all, which ends the session.
  std::span<const std::byte> answer(std::span<const std::byte> message);

  [[nodiscard]] size_t fid_count() const { return fids_.size(); }

 private:
  /// An extended attribute that a fid stands for: its value to be read, or to be set at its clunk.
  struct Attribute {
    std::string name, value;
    bool is_written = false;
    size_t size = 0;
    int flags = 0;
  };
  struct Place {
    Descriptor file;  ///< O_PATH
    dev_t device = 0;
    ino_t inode = 0;
  };
  struct Fid {
    std::shared_ptr<const Place> place;  ///< null: an attribute's value
    // By which directory and name it came; null: the root. Moved with the file by rename_at.
    std::shared_ptr<const Place> parent;
    std::string name;
    Descriptor open;
    std::optional<Attribute> attribute;
  };

  // Each takes a message's fields and writes its answer's, or gives an error number of Linux's.
  using Handler = int (VolumeServer::*)(ninep::Reader& in, ninep::Writer& out);
  static Handler handler_of(ninep::Type type);
  // The session, in volume_server.cpp.
  int version(ninep::Reader& in, ninep::Writer& out);
  int attach(ninep::Reader& in, ninep::Writer& out);
  int walk(ninep::Reader& in, ninep::Writer& out);
  int clunk(ninep::Reader& in, ninep::Writer& out);
  // Names, in volume_names.cpp.
  int make_node(ninep::Reader& in, ninep::Writer& out);
  int make_directory(ninep::Reader& in, ninep::Writer& out);
  int make_symlink(ninep::Reader& in, ninep::Writer& out);
  int link(ninep::Reader& in, ninep::Writer& out);
  int unlink_at(ninep::Reader& in, ninep::Writer& out);
  int rename_at(ninep::Reader& in, ninep::Writer& out);
  int read_link(ninep::Reader& in, ninep::Writer& out);
  int read_directory(ninep::Reader& in, ninep::Writer& out);
  // Contents and attributes, in volume_contents.cpp.
  int open(ninep::Reader& in, ninep::Writer& out);
  int read(ninep::Reader& in, ninep::Writer& out);
  int write(ninep::Reader& in, ninep::Writer& out);
  int sync(ninep::Reader& in, ninep::Writer& out);
  int get_attributes(ninep::Reader& in, ninep::Writer& out);
  int set_attributes(ninep::Reader& in, ninep::Writer& out);
  int status(ninep::Reader& in, ninep::Writer& out);
  int xattr_walk(ninep::Reader& in, ninep::Writer& out);
  int xattr_create(ninep::Reader& in, ninep::Writer& out);

  /// Whether there may be another fid, or another attribute's.
  [[nodiscard]] bool has_room() const { return fids_.size() < kMostFids; }
  [[nodiscard]] bool has_attribute_room() const { return attributes_ < kMostAttributes; }
  /// Null when there is no such fid.
  Fid* find(uint32_t number);
  /// The descriptor of a fid's file, -1 when there is no such fid.
  int place_of(uint32_t number);
  /// Whether the file still has the name by which the fid came. QEMU's server knows files by name
  /// only, and clients ask for attributes to learn whether a name is still the same file's.
  static bool has_its_name(const Fid& fid);
  static std::shared_ptr<const Place> place_at(Descriptor file, const struct stat& status);
  /// Opens the file itself again; -1 with errno set. Only regular files and directories.
  [[nodiscard]] int open_again(const Fid& fid, int flags) const;
  int set_xattr(const Fid& fid);
  /// Makes a file of any type and puts its qid.
  int make(int directory, const std::string& name, mode_t mode, gid_t gid, std::string_view target,
           ninep::Writer& out);
  // Owners, modes and types as the guest has them, in volume_owners.cpp. Error numbers.
  int status_of(const Fid& fid, struct stat& status) const;
  int make_mapped(int directory, const std::string& name, mode_t mode, gid_t gid,
                  std::string_view target) const;
  int change_mapped(const Fid& fid, uint32_t valid, mode_t mode, uid_t uid, gid_t gid) const;
  int read_mapped_link(const Fid& fid, std::string& target) const;
  ninep::Qid qid_of(const struct stat& status);

  const Descriptor root_;
  const bool read_only_, is_mapped_;
  const Descriptor descriptors_;  ///< /proc/self/fd
  dev_t root_device_ = 0;
  std::vector<dev_t> other_devices_;
  std::unordered_map<uint32_t, Fid> fids_;
  size_t attributes_ = 0;
  std::vector<std::byte> answer_;
  size_t most_answer_;
};

/// The attributes in which owners are kept: no guest's business.
inline constexpr std::string_view kOwnerAttributes = "user.virtfs.";
/// A name within a directory: one component, and none that leads out of it.
bool is_volume_name(std::string_view name);
/// The current errno, of a call that failed; 0 of one that did not.
int volume_error(bool failed);

}  // namespace aril::tool
