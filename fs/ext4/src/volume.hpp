#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/ref_ptr.hpp"
#include "buffer_cache.hpp"
#include "format.hpp"
#include "journal.hpp"
#include "node.hpp"

namespace aril::ext4 {

/// A piece of the disk.
struct Run {
  uint64_t start = 0;
  uint32_t length = 0;
};

/// A mounted ext4 file system, below files and names: superblock, groups, allocation, inodes,
/// transactions. Reference-counted: files that are still mapped keep it when it is unmounted.
///
/// lock() guards everything in it and in its nodes, with the exceptions named. Changes of metadata
/// are made inside an Operation. File data is read and written without the lock.
class Volume final : public RefCounted, private JournalClient {
 public:
  enum class Access : uint8_t { kReadOnly, kReadWrite };
  /// kInval when it is no ext4, kOpNotSupp for features that are not served, kRoFs when it needs
  /// writing (a journal to be replayed) and must not be written, kIo when it is broken, kNoMem; the
  /// log says what. Replays the journal and finishes what orphans were waiting for.
  static Result<RefPtr<Volume>> mount(BlockDevice& device, Access access);
  ~Volume();
  /// Commits, empties the journal and marks the file system clean. Nothing can be changed after.
  Result<void> unmount();
  /// Ends it as it is: nothing is written any more, and nodes that wait for a commit no longer keep
  /// the volume.
  void abandon();

  [[nodiscard]] Disk& disk() { return disk_; }
  [[nodiscard]] Mutex& lock() { return lock_; }
  [[nodiscard]] BufferCache& buffers() { return buffers_; }
  [[nodiscard]] Journal& journal() { return journal_; }
  [[nodiscard]] const format::Superblock& superblock() const { return superblock_; }
  [[nodiscard]] uint32_t block_size() const { return disk_.block_size(); }
  [[nodiscard]] unsigned block_shift() const { return block_shift_; }
  [[nodiscard]] uint32_t blocks_per_page() const { return 1u << (kPageShift - block_shift_); }
  [[nodiscard]] uint32_t seed() const { return seed_; }
  [[nodiscard]] bool has_checksums() const { return has_checksums_; }
  [[nodiscard]] bool is_read_only() const {
    return access_ == Access::kReadOnly || stopped_.load(std::memory_order_relaxed);
  }
  /// Unmounted: nothing reaches the disk any more.
  [[nodiscard]] bool is_abandoned() const { return abandoned_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool has_feature(uint32_t incompat) const {
    return (superblock_.feature_incompat & incompat) != 0;
  }
  [[nodiscard]] bool has_directory_index() const {
    return (superblock_.feature_compat & format::kCompatDirIndex) != 0;
  }
  [[nodiscard]] uint32_t inode_size() const { return inode_size_; }
  [[nodiscard]] uint64_t block_count() const { return block_count_; }
  [[nodiscard]] bool is_valid_run(uint64_t start, uint64_t length) const {
    return start >= first_block_ && start < block_count_ && length <= block_count_ - start;
  }

  struct Usage {
    uint64_t blocks, blocks_free, files, files_free;
  };
  Usage usage();

  /// Makes all changes of metadata up to now durable; and those of transaction `id` only.
  Result<void> commit();
  Result<void> commit(uint32_t id);
  /// As commit(), without a word to the disk when nothing was changed.
  Result<void> commit_if_changed();

  // Inodes.
  /// The node of an inode in use; the same object as long as anybody holds one. kIo for a number or
  /// contents that make no sense. Takes the lock.
  Result<RefPtr<Node>> node(uint32_t number);
  Result<RefPtr<Node>> node_locked(uint32_t number);
  /// A new inode, with links 0, near `parent`. In an operation. kNoSpc. Nodes must not end under
  /// the lock: so it is given to who has been there for longer.
  Result<void> create_node_locked(Node& parent, uint32_t mode, RefPtr<Node>& node);
  /// The node's fields changed: they go into the running transaction. In an operation.
  Result<void> mark_dirty_locked(Node& node);
  /// Takes a node that is about to lose its last user out of those that wait for the end of the
  /// transaction, so that its file is deleted now. The caller holds a reference.
  void release_dirty_node(Node& node);
  /// Where the inode is stored. kIo.
  struct InodePlace {
    BufferRef buffer;
    uint32_t offset;
  };
  Result<InodePlace> inode_place_locked(uint32_t number);
  /// A node whose last link and last user are gone: its blocks and the inode come free.
  void delete_node(Node& node);
  /// At unmount: deletes the files without a name whose users will never close them.
  void delete_orphans();
  /// Removes a dead node from the table.
  void forget_node(Node& node);
  /// The orphan list [orphan.rst]: inodes to be deleted, or cut, should the machine end now.
  Result<void> add_orphan_locked(Node& node);
  Result<void> remove_orphan_locked(Node& node);

  // Blocks. Under the lock.
  /// Takes up to `want` consecutive blocks near `goal`, in memory only: nobody else gets them. They
  /// are then either settled or given back. kNoSpc.
  Result<Run> claim_locked(uint64_t goal, uint32_t want);
  void unclaim_locked(Run run);
  /// Makes a claim real, in an operation.
  Result<void> settle_locked(Run run);
  /// One block of metadata, in an operation: zeroed, part of the running transaction. kNoSpc.
  Result<BufferRef> allocate_metadata_locked(uint64_t goal, uint64_t& block);
  /// Frees blocks in an operation; `metadata` ones were in the journal. They are used again only
  /// after the commit. kIo when they are not in use.
  enum class BlockUse : uint8_t { kData, kMetadata };
  Result<void> free_locked(uint64_t start, uint64_t length, BlockUse use);
  /// Sets blocks aside for data that has none yet, so that it can be written back for sure. kNoSpc.
  Result<void> reserve_locked(uint64_t blocks);
  void release_reservation_locked(uint64_t blocks) { reserved_ -= std::min(reserved_, blocks); }
  /// Room for the metadata of one more change of names.
  [[nodiscard]] Result<void> require_space_locked() const;
  /// Blocks that come free with the next commit, so that kNoSpc may be worth another try.
  [[nodiscard]] bool has_pending_frees_locked() const { return pending_frees_ != 0; }
  [[nodiscard]] uint64_t goal_of(uint32_t inode) const;

  /// Something on the disk makes no sense: says so once per place.
  static void report_corruption(const char* what, uint64_t where);
  /// A change could not be completed: no further change is made, the journal not written.
  void fail_volume(const char* what);
  /// For the page allocator: drops clean metadata.
  size_t shrink(size_t pages);

 private:
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  friend class Operation;
  explicit Volume(BlockDevice& device)
      : disk_(device), buffers_(disk_), journal_(disk_, buffers_, lock_, *this) {}

  /// What is known of a block group. `map` has a bit for each block that cannot be given out.
  struct Group {
    uint64_t block_bitmap, inode_bitmap, inode_table;
    uint32_t free_blocks, free_inodes, used_dirs, unused_inodes;
    uint32_t available;  ///< zero bits of `map`
    uint32_t pending;    ///< bits of `map` that differ from the bitmap on disk
    uint32_t hint;       ///< where the last block was given out
    uint16_t flags;
    bool block_bitmap_changed, inode_bitmap_changed, changed;
    PageRef map;
  };

  // volume.cpp
  Result<void> open();
  Result<void> close();
  Result<void> read_superblock();
  Result<void> check_features() const;
  Result<void> check_geometry();
  Result<void> open_journal();
  Result<void> replay(JournalMap& map, JournalHead& head);
  Result<void> mark_mounted();
  Result<void> write_superblock_directly();
  void update_superblock(std::byte* block) const;
  [[nodiscard]] uint32_t superblock_checksum(const format::Superblock& superblock) const;

  // groups.cpp
  Result<void> read_groups();
  void decode_group(uint32_t index, const format::GroupDescriptor& descriptor);
  Result<void> check_group(uint32_t index) const;
  [[nodiscard]] uint64_t descriptor_block(uint32_t group) const;
  [[nodiscard]] uint32_t descriptors_per_block() const { return block_size() / descriptor_size_; }
  [[nodiscard]] bool group_has_superblock(uint32_t group) const;
  [[nodiscard]] uint32_t blocks_in_group(uint32_t group) const;
  [[nodiscard]] uint64_t first_block_of(uint32_t group) const {
    return first_block_ + uint64_t{group} * blocks_per_group_;
  }
  [[nodiscard]] uint32_t group_of(uint64_t block) const {
    return static_cast<uint32_t>((block - first_block_) / blocks_per_group_);
  }
  enum class Bitmaps : uint8_t { kBlocks, kInodes, kNone };
  Result<void> touch_group(uint32_t index, Bitmaps which);
  Result<void> touch_superblock();
  void store_group(uint32_t index);
  [[nodiscard]] uint64_t count_overhead() const;

  // allocator.cpp
  Result<BufferRef> block_bitmap(uint32_t group);
  Result<BufferRef> inode_bitmap(uint32_t group);
  void make_block_bitmap(uint32_t group, std::byte* bits) const;
  Result<void> load_map(uint32_t group);
  std::optional<Run> claim_in_group(uint32_t group, uint32_t from, uint32_t want);
  Result<uint32_t> allocate_inode(uint32_t parent, bool is_directory);
  Result<void> free_inode(Node& node);
  [[nodiscard]] uint32_t choose_inode_group(uint32_t parent_group, bool is_directory) const;

  // orphans.cpp
  Result<void> process_orphans();
  Result<void> process_orphan(uint32_t number);
  Result<void> finish_orphan(Node& orphan);
  Result<void> process_orphan_file();

  // nodes.cpp
  Result<void> store_node(Node& node);
  void release_later_locked(Node& node);
  void release_nodes();
  Node*& bucket_of(uint32_t number) { return nodes_[number & (kNodeBuckets - 1)]; }

  // JournalClient.
  void before_close() override;
  void on_closed() override;
  void on_committed() override;
  void seal_block(Buffer& buffer, std::byte* data) override;
  void on_journal_failed(const char* what) override;

  Mutex lock_{LockRank::kVolume};
  Disk disk_;
  BufferCache buffers_;
  Journal journal_;
  Access access_ = Access::kReadOnly;
  std::atomic<bool> stopped_{false}, abandoned_{false};

  format::Superblock superblock_{};
  uint64_t superblock_block_ = 0;
  unsigned block_shift_ = 10;
  uint32_t seed_ = 0;
  bool has_checksums_ = false;
  uint64_t block_count_ = 0, first_block_ = 0;
  uint32_t group_count_ = 0, blocks_per_group_ = 0, inodes_per_group_ = 0;
  uint32_t inode_size_ = 0, descriptor_size_ = 32;
  uint64_t overhead_ = 0;

  std::unique_ptr<Group[]> groups_;
  std::vector<uint32_t> changed_groups_;
  bool superblock_changed_ = false;
  uint64_t free_blocks_ = 0;  ///< as the bitmaps of the running transaction say
  uint32_t free_inodes_ = 0;
  uint64_t available_ = 0;      ///< free, and neither claimed nor waiting for a commit
  uint64_t reserved_ = 0;       ///< of those, promised to delayed data
  uint64_t pending_frees_ = 0;  ///< free after the next commits
  std::vector<Run> freed_running_, freed_committing_;

  static constexpr uint32_t kNodeBuckets = 4096;
  std::unique_ptr<Node*[]> nodes_;
  IntrusiveList<Node, &Node::dirty_node_> dirty_nodes_;  ///< each counted once
  Node* release_nodes_ = nullptr;                        ///< likewise
  Node* orphans_ = nullptr;                              ///< newest first, as on the disk
};

/// A change of metadata, one at a time: holds the volume's lock, in the running transaction.
class [[nodiscard]] Operation {
 public:
  explicit Operation(Volume& volume) : volume_(volume) {}
  ~Operation();
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  /// Takes the lock when the running transaction has room for `credits` more blocks. kRoFs. Thread
  /// context, no lock of rank kJournal or above held.
  Result<void> begin(unsigned credits = kDefaultCredits);
  /// Between two steps that may fall into two transactions: lets the lock go and commits if need
  /// be.
  Result<void> renew(unsigned credits = kDefaultCredits);
  /// The change is complete. Without it, one that had begun to change something fails the volume.
  void done();

  static constexpr unsigned kDefaultCredits = 64;

 private:
  Volume& volume_;
  bool holds_ = false;
  uint64_t changes_before_ = 0;
};

}  // namespace aril::ext4
