#pragma once
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace aril::tool {

/// One name of an EROFS image.
struct ErofsEntry {
  std::string path;
  mode_t mode = 0;
  uint64_t size = 0;
  /// Where a file's content begins in the image, and how much of it lies there in one piece: all
  /// but an inline tail.
  uint64_t offset = 0, in_place = 0;
};

/// Reads uncompressed EROFS images. All bytes are untrusted: damage is an Error.
class ErofsReader {
 public:
  /// Throws Error when there is no valid superblock, or the image is shorter than it says.
  explicit ErofsReader(std::span<const std::byte> bytes);

  /// Content of the file at an absolute path, links not followed; nothing when there is none.
  std::optional<std::string> read(const std::string& path) const;
  /// Every name below the root, in the image's order.
  std::vector<ErofsEntry> list() const;

 private:
  struct Inode {
    mode_t mode = 0;
    uint64_t size = 0;
    uint16_t layout = 0;
    uint32_t block = 0;
    uint64_t after = 0;  ///< offset of what follows inode and attributes: the tail, when inline
  };
  struct Name {
    std::string name;
    uint64_t nid = 0;
  };

  Inode inode(uint64_t nid) const;
  static bool has_inline_tail(const Inode& inode);
  std::span<const std::byte> block_of(const Inode& inode, uint64_t index) const;
  std::string content(const Inode& inode) const;
  std::vector<Name> names(const Inode& directory) const;
  void list_below(const Inode& directory, const std::string& path, int depth,
                  std::vector<ErofsEntry>& result) const;

  std::span<const std::byte> bytes_;
  uint64_t metadata_ = 0;
  uint64_t root_nid_ = 0;
  uint64_t inodes_ = 0;
};

}  // namespace aril::tool
