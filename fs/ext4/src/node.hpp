#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "base/intrusive_list.hpp"
#include "base/ref_ptr.hpp"
#include "format.hpp"
#include "kernel/sched/mutex.hpp"

namespace aril {
class PageCache;
}

namespace aril::ext4 {

class Volume;
class Ext4Inode;

/// One inode of the disk in memory: below vfs::Inode, because mapped files outlive that. All fields
/// are guarded by the volume's lock. Whoever changes `raw` tells Volume::mark_dirty_locked.
class Node final : public RefCounted {
 public:
  Node(RefPtr<Volume> volume, uint32_t number);
  ~Node();
  /// The last user is gone: when the last link is too, the file is deleted.
  void before_destruction();

  [[nodiscard]] Volume& volume() const { return *volume_; }
  [[nodiscard]] uint32_t number() const { return number_; }
  /// Of the checksums of this inode's metadata.
  [[nodiscard]] uint32_t seed() const { return seed_; }
  void update_seed();

  [[nodiscard]] uint32_t mode() const { return raw.mode; }
  [[nodiscard]] uint64_t size() const { return raw.size_lo | uint64_t{raw.size_hi} << 32; }
  void set_size(uint64_t size);
  [[nodiscard]] bool has_flag(uint32_t flag) const { return (raw.flags & flag) != 0; }
  [[nodiscard]] bool is_directory() const { return (raw.mode & 0170000) == 0040000; }
  [[nodiscard]] uint32_t uid() const { return raw.uid_lo | uint32_t{raw.uid_hi} << 16; }
  [[nodiscard]] uint32_t gid() const { return raw.gid_lo | uint32_t{raw.gid_hi} << 16; }
  void set_owner(uint32_t uid, uint32_t gid);
  /// With dir_nlink a directory of too many has 1.
  [[nodiscard]] uint32_t links() const { return raw.links; }
  [[nodiscard]] uint64_t xattr_block() const {
    return raw.xattr_block_lo | uint64_t{raw.xattr_block_hi} << 32;
  }
  void set_xattr_block(uint64_t block);
  /// In 512-byte sectors.
  [[nodiscard]] uint64_t sectors() const;
  void add_blocks(int64_t blocks);

  enum class Time : uint8_t { kAccess, kModify, kChange, kBirth };
  [[nodiscard]] int64_t time(Time which) const;
  void set_time(Time which, int64_t ns);
  /// The fields of format::Inode beyond the old 128 bytes that this inode has.
  [[nodiscard]] bool has_field(size_t end_offset) const;

  format::Inode raw{};

  /// Pages that were written to and have no blocks yet: sorted, apart from each other.
  struct PageRange {
    uint64_t first, end;
  };
  std::vector<PageRange> delayed;
  uint64_t delayed_blocks = 0;
  /// The newest transactions that hold a change of this inode, and one that reading the data back
  /// depends on.
  uint32_t sync_id = 0, data_sync_id = 0;
  uint64_t next_goal = 0;  ///< where the file's next block would best be; 0: nobody knows
  bool is_orphan = false;
  bool is_dying = false;
  /// The vfs inode, if there is one: not counted.
  Ext4Inode* face = nullptr;
  /// The pages, if there are any: not counted.
  PageCache* cache = nullptr;

 private:
  friend class Volume;
  const RefPtr<Volume> volume_;
  const uint32_t number_;
  uint32_t seed_ = 0;
  bool is_dirty_ = false, is_released_ = false;
  Node* next_in_bucket_ = nullptr;
  ListNode dirty_node_;
  Node* next_released_ = nullptr;
  Node* next_orphan_ = nullptr;
  Node* previous_orphan_ = nullptr;
};

}  // namespace aril::ext4
