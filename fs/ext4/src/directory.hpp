#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "buffer_cache.hpp"
#include "format.hpp"
#include "name_hash.hpp"

namespace aril::ext4 {

class Node;
class Volume;

/// File types in directory entries [directory.rst].
enum class EntryType : uint8_t {
  kUnknown,
  kRegular,
  kDirectory,
  kCharacter,
  kBlock,
  kFifo,
  kSocket,
  kLink
};
EntryType entry_type_of(uint32_t mode);

/// The names in a directory: a list of blocks of entries, over which larger directories have a tree
/// by the names' hashes. A view, made for one call; under the volume's lock, changes inside an
/// Operation. Every block that is read is checked; what makes no sense gives kIo.
class Directory {
 public:
  explicit Directory(Node& node);

  struct Found {
    uint32_t inode = 0;
    EntryType type = EntryType::kUnknown;
    BufferRef buffer;
    uint32_t offset = 0;  ///< of the entry in the buffer
  };
  /// kNoEnt.
  Result<Found> find(std::string_view name);
  /// Adds a name that is not there. kNoSpc, also when the tree is as large as it can be.
  Result<void> add(std::string_view name, uint32_t inode, EntryType type);
  /// kNoEnt.
  Result<void> remove(std::string_view name);
  /// Lets the name stand for another inode. kNoEnt.
  Result<void> replace(std::string_view name, uint32_t inode, EntryType type);
  /// Nothing but "." and "..".
  Result<bool> is_empty();
  /// The first block of a new directory.
  Result<void> make(uint32_t parent);
  [[nodiscard]] Result<uint32_t> parent();
  Result<void> set_parent(uint32_t inode) { return replace("..", inode, EntryType::kDirectory); }

  /// Some entries in reading order. Positions stay good while others add and remove names: they
  /// follow the hash, as block and place in it change when blocks are split.
  struct Batch {
    struct Entry {
      uint64_t position;  ///< where reading goes on after it
      uint32_t inode;
      EntryType type;
      uint32_t name_offset, name_length;
    };
    std::vector<Entry> entries;
    std::string names;
    [[nodiscard]] std::string_view name_of(const Entry& entry) const {
      return std::string_view(names).substr(entry.name_offset, entry.name_length);
    }
  };
  /// Those from `position` (0: the start) on; none at the end.
  Result<Batch> read(uint64_t position);

 private:
  enum class Kind : uint8_t { kLeaf, kRoot, kNode };
  /// One node of the hash tree on the way to a leaf.
  struct Frame {
    BufferRef buffer;
    size_t count_offset = 0;
    unsigned count = 0, limit = 0;
    unsigned position = 0;
  };
  struct HashWay {
    std::array<Frame, 2> frames;
    unsigned depth = 0;  ///< of the lowest
    HashVersion version = HashVersion::kHalfMd4;
    uint32_t hash = 0;
  };
  struct LeafEntry {
    uint32_t hash;
    uint16_t offset, size;
  };

  [[nodiscard]] bool is_indexed() const;
  [[nodiscard]] uint32_t block_count() const;
  [[nodiscard]] size_t leaf_end() const;
  [[nodiscard]] HashVersion default_version() const;
  [[nodiscard]] uint32_t hash_of(HashVersion version, std::string_view name) const;
  Result<BufferRef> block(uint32_t index);
  [[nodiscard]] Kind kind_of(uint32_t index, const std::byte* data) const;
  [[nodiscard]] bool is_block_valid(const std::byte* data, Kind kind) const;
  /// The entry at `at`, which lies in the block. kIo when it makes no sense: block() has looked at
  /// all of them, but a broken disk may use the block as something else too, that was written
  /// since.
  [[nodiscard]] Result<format::DirectoryEntry> entry_at(const std::byte* data, size_t at) const;
  Result<BufferRef> append_block(uint32_t& index);
  Result<Found> find_in(const BufferRef& buffer, std::string_view name);
  Result<bool> add_to(const BufferRef& buffer, std::string_view name, uint32_t inode,
                      EntryType type);
  Result<void> remove_from(const BufferRef& buffer, uint32_t offset);
  void init_leaf_tail(std::byte* data, Buffer& buffer);
  Result<void> touch();

  // hash_tree.cpp
  Result<HashWay> walk(uint32_t hash, bool use_hash, std::string_view name);
  Result<void> open_frame(Frame& frame, uint32_t index, Kind kind);
  [[nodiscard]] uint32_t leaf_of(const Frame& frame) const;
  [[nodiscard]] uint32_t key_at(const Frame& frame, unsigned position) const;
  /// Steps to the next leaf; its key, or nothing at the end.
  Result<bool> step(HashWay& way, uint32_t& key);
  Result<Found> find_indexed(std::string_view name);
  Result<void> add_indexed(std::string_view name, uint32_t inode, EntryType type);
  Result<void> make_indexed();
  Result<void> make_frame_room(HashWay& way);
  Result<void> insert_key(Frame& frame, uint32_t hash, uint32_t block);
  Result<void> split_leaf(HashWay& way);
  void set_count(std::byte* data, const Frame& frame, unsigned count) const;
  [[nodiscard]] unsigned hash_limit(size_t count_offset) const;
  [[nodiscard]] size_t pack(const std::byte* from, std::span<const LeafEntry> entries,
                            std::byte* to) const;
  Result<void> collect(const BufferRef& buffer, HashVersion version, uint64_t from,
                       Batch& batch) const;
  Result<void> read_hashed(uint64_t position, Batch& batch);
  Result<void> read_linear(uint64_t position, Batch& batch);

  Node& node_;
  Volume& volume_;
};

/// Brings a block's checksum up to date: what Seal stands for. Of directory blocks.
void seal_directory_block(const Volume& volume, Seal seal, uint32_t seed, std::byte* data);

}  // namespace aril::ext4
