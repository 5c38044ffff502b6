#pragma once
#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>

namespace aril::tool {

enum class EntryKind { kDirectory, kHostFile, kContent, kLink };

/// One name of the root file system that is being put together.
struct TreeEntry {
  EntryKind kind = EntryKind::kDirectory;
  std::filesystem::path host;  ///< kHostFile: where the bytes are
  std::string text;            ///< kContent: the bytes; kLink: the target
  mode_t mode = 0755;          ///< permission bits
  uid_t uid = 0;
  gid_t gid = 0;
  int64_t modified = 0;  ///< seconds
  int64_t modified_nanoseconds = 0;
  uint64_t size = 0;  ///< kHostFile
  ino_t inode = 0;    ///< kHostFile; with size and times, what the cache key holds
};

/// The root file system of an image, as names and where their content comes from. Paths are
/// absolute and normal. Directories above an entry are made when it is added; symbolic links on the
/// way to it are followed within the tree, as the guest would follow them.
class Tree {
 public:
  /// Adds a host file or directory with all below it at the guest path. Owners, permissions and
  /// times are taken along; sockets, pipes and devices are left out. Throws Error when it is
  /// missing or unreadable.
  void add(const std::filesystem::path& host, const std::filesystem::path& guest);

  /// Adds a host file at the same path as on the host, with the symbolic links that lead to it
  /// (/lib -> usr/lib, libz.so.1 -> libz.so.1.2.13), and the directories that it lies in without
  /// their times. `root` is what stands for "/" on the host.
  void add_mirrored(const std::filesystem::path& path, const std::filesystem::path& root = {});

  void add_content(const std::filesystem::path& guest, std::string content, mode_t mode = 0644);
  /// Gives a file that is there other bytes. Its owner, permissions and times stay.
  void replace_content(const std::filesystem::path& guest, std::string content);
  void add_directory(const std::filesystem::path& guest, mode_t mode = 0755);
  void add_link(const std::filesystem::path& guest, const std::string& target);

  bool contains(const std::filesystem::path& guest) const;
  /// The entry at a path, links on the way and at the end followed; null when there is none.
  const TreeEntry* find(const std::filesystem::path& guest) const;

  /// All entries, parents before children, in a fixed order; the root itself is "/".
  const std::map<std::string, TreeEntry, std::less<>>& entries() const { return entries_; }

  /// Bytes of all files together.
  uint64_t total_size() const;

 private:
  void put(const std::filesystem::path& guest, TreeEntry entry);
  std::string resolve(const std::filesystem::path& guest, int depth = 0) const;
  void ensure_directories(const std::filesystem::path& guest);
  void add_tree(const std::filesystem::path& host, const std::filesystem::path& guest);

  std::map<std::string, TreeEntry, std::less<>> entries_ = {{"/", {}}};
};

}  // namespace aril::tool
