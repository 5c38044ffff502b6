#include "volume.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "checksum.hpp"
#include "extents.hpp"
#include "fs/vfs/inode.hpp"
#include "kernel/log/log.hpp"

namespace aril::ext4 {
namespace {

constexpr const char* kComponent = "ext4";

constexpr uint32_t kServedIncompat = format::kIncompatFileType | format::kIncompatRecover |
                                     format::kIncompatMetaBg | format::kIncompatExtents |
                                     format::kIncompat64Bit | format::kIncompatFlexBg |
                                     format::kIncompatChecksumSeed;
constexpr uint32_t kServedReadOnlyCompat = format::kRoSparseSuper | format::kRoLargeFile |
                                           format::kRoHugeFile | format::kRoDirNlink |
                                           format::kRoExtraIsize | format::kRoMetadataChecksum |
                                           format::kRoReadOnly | format::kRoOrphanPresent;

struct FeatureName {
  uint32_t bit;
  const char* name;
};
/// As dumpe2fs calls them.
constexpr FeatureName kIncompatNames[] = {
    {0x1, "compression"},    {0x8, "journal_dev"}, {0x100, "mmp"},
    {0x400, "ea_inode"},     {0x1000, "dirdata"},  {0x4000, "large_dir"},
    {0x8000, "inline_data"}, {0x10000, "encrypt"}, {0x20000, "casefold"}};
constexpr FeatureName kReadOnlyNames[] = {
    {0x4, "btree_dir"}, {0x10, "uninit_bg"}, {0x100, "quota"},  {0x200, "bigalloc"},
    {0x800, "replica"}, {0x2000, "project"}, {0x8000, "verity"}};

const char* name_of(uint32_t bits, std::span<const FeatureName> names) {
  for (const FeatureName& feature : names) {
    if ((bits & feature.bit) != 0) return feature.name;
  }
  return "of a newer version";
}

}  // namespace

void Volume::report_corruption(const char* what, uint64_t where) {
  ARIL_LOG_ERROR(kComponent, "%s (%llu): the file system is damaged, run e2fsck", what,
                 static_cast<unsigned long long>(where));
}

uint32_t Volume::superblock_checksum(const format::Superblock& superblock) const {
  return crc32c(
      kCrcStart,
      std::as_bytes(std::span(&superblock, 1)).first(offsetof(format::Superblock, checksum)));
}

Result<void> Volume::read_superblock() {
  PageRef page = ARIL_TRY(page_allocator::allocate(page_allocator::Fill::kNone));
  disk_.set_block_size(Disk::kSmallestBlock);
  static_assert(format::kSuperblockOffset == Disk::kSmallestBlock);
  if (disk_.block_count() < 64) return fail(Errno::kInval);
  ARIL_TRY(disk_.read_block(1, *page));
  std::memcpy(&superblock_, page->data(), sizeof superblock_);
  if (superblock_.magic != format::kMagic) return fail(Errno::kInval);
  ARIL_TRY(check_features());
  has_checksums_ = (superblock_.feature_ro_compat & format::kRoMetadataChecksum) != 0;
  constexpr uint8_t kCrc32c = 1;
  if (has_checksums_ && (superblock_.checksum_type != kCrc32c ||
                         superblock_checksum(superblock_) != superblock_.checksum)) {
    report_corruption("the superblock has a wrong checksum", 0);
    return fail(Errno::kIo);
  }
  seed_ = has_feature(format::kIncompatChecksumSeed)
              ? uint32_t{superblock_.checksum_seed}
              : crc32c(kCrcStart, std::as_bytes(std::span(superblock_.uuid)));
  return check_geometry();
}

Result<void> Volume::check_features() const {
  uint32_t incompat = superblock_.feature_incompat & ~kServedIncompat;
  if (incompat != 0) {
    ARIL_LOG_ERROR(kComponent, "feature %s (incompat 0x%x) is not served",
                   name_of(incompat, kIncompatNames), incompat);
    return fail(Errno::kOpNotSupp);
  }
  uint32_t read_only = superblock_.feature_ro_compat & ~kServedReadOnlyCompat;
  if (read_only != 0 && access_ == Access::kReadWrite) {
    ARIL_LOG_ERROR(kComponent,
                   "feature %s (ro_compat 0x%x) is not served: it can be mounted read-only",
                   name_of(read_only, kReadOnlyNames), read_only);
    return fail(Errno::kOpNotSupp);
  }
  if ((superblock_.feature_ro_compat & format::kRoReadOnly) != 0 && access_ == Access::kReadWrite) {
    ARIL_LOG_ERROR(kComponent, "marked read-only (feature read-only): mount it so");
    return fail(Errno::kOpNotSupp);
  }
  if (!has_feature(format::kIncompatExtents)) {
    ARIL_LOG_ERROR(kComponent, "made for ext2 or ext3 (no feature extent): not served");
    return fail(Errno::kOpNotSupp);
  }
  return {};
}

Result<void> Volume::check_geometry() {
  const format::Superblock& super = superblock_;
  auto broken = [](const char* what) {
    report_corruption(what, 0);
    return fail(Errno::kIo);
  };
  if (super.log_block_size > 2) {
    if (super.log_block_size > 6) return broken("the block size makes no sense");
    ARIL_LOG_ERROR(kComponent, "blocks of more than 4 KiB are not served");
    return fail(Errno::kOpNotSupp);
  }
  block_shift_ = 10 + super.log_block_size;
  disk_.set_block_size(1u << block_shift_);
  uint32_t bits = block_size() * 8;
  bool wide = has_feature(format::kIncompat64Bit);
  block_count_ = super.blocks_count_lo | (wide ? uint64_t{super.blocks_count_hi} << 32 : 0);
  first_block_ = super.first_data_block;
  blocks_per_group_ = super.blocks_per_group;
  inodes_per_group_ = super.inodes_per_group;
  inode_size_ = super.revision == 0 ? format::kOldInodeSize : uint32_t{super.inode_size};
  descriptor_size_ = wide ? uint32_t{super.descriptor_size} : 32;
  superblock_block_ = block_shift_ == 10 ? 1 : 0;
  if (first_block_ != superblock_block_) return broken("the first block makes no sense");
  if (blocks_per_group_ < 256 || blocks_per_group_ > bits || blocks_per_group_ % 8 != 0 ||
      super.clusters_per_group != blocks_per_group_)
    return broken("the group size makes no sense");
  if (!std::has_single_bit(inode_size_) || inode_size_ < format::kOldInodeSize ||
      inode_size_ > block_size())
    return broken("the inode size makes no sense");
  uint32_t inodes_per_block = block_size() / inode_size_;
  if (inodes_per_group_ < inodes_per_block || inodes_per_group_ > bits ||
      inodes_per_group_ % inodes_per_block != 0)
    return broken("the number of inodes makes no sense");
  if (descriptor_size_ < (wide ? 64u : 32u) || descriptor_size_ > block_size() ||
      !std::has_single_bit(descriptor_size_))
    return broken("the size of group descriptors makes no sense");
  if (block_count_ <= first_block_ + 16) return broken("the number of blocks makes no sense");
  if (block_count_ > disk_.block_count()) {
    ARIL_LOG_ERROR(kComponent, "the file system has %llu blocks, the disk %llu: it was cut short",
                   static_cast<unsigned long long>(block_count_),
                   static_cast<unsigned long long>(disk_.block_count()));
    return fail(Errno::kIo);
  }
  uint64_t groups = (block_count_ - first_block_ + blocks_per_group_ - 1) / blocks_per_group_;
  if (groups > 1u << 20 || groups * inodes_per_group_ != super.inodes_count)
    return broken("the number of groups makes no sense");
  group_count_ = static_cast<uint32_t>(groups);
  if (super.first_inode < 11 || super.first_inode > super.inodes_count)
    return broken("the first inode makes no sense");
  return {};
}

namespace {

/// The volumes that are mounted, for the page allocator's shrinker. They are few and stay.
constinit SpinLock volumes_lock{LockRank::kSpinLeaf};
constinit Volume* volumes[32] = {};

size_t shrink_volumes(size_t pages) {
  size_t freed = 0;
  for (size_t i = 0; i < std::size(volumes) && freed < pages; ++i) {
    RefPtr<Volume> volume;
    {
      LockGuard hold(volumes_lock);
      if (volumes[i] != nullptr && volumes[i]->try_add_ref())
        volume = RefPtr<Volume>::adopt(volumes[i]);
    }
    if (volume) freed += volume->shrink(pages - freed);
  }
  return freed;
}

void add_volume(Volume& volume) {
  static constinit bool is_registered = false;
  bool first;
  {
    LockGuard hold(volumes_lock);
    first = !std::exchange(is_registered, true);
    for (Volume*& slot : volumes) {
      if (slot != nullptr) continue;
      slot = &volume;
      break;
    }
  }
  if (first) page_allocator::add_shrinker(shrink_volumes);
}

void remove_volume(Volume& volume) {
  LockGuard hold(volumes_lock);
  for (Volume*& slot : volumes) {
    if (slot == &volume) slot = nullptr;
  }
}

}  // namespace

Result<RefPtr<Volume>> Volume::mount(BlockDevice& device, Access access) {
  auto* made = new (std::nothrow) Volume(device);
  if (made == nullptr) return fail(Errno::kNoMem);
  RefPtr<Volume> volume = adopt_ref(made);
  volume->access_ = device.is_read_only() ? Access::kReadOnly : access;
  volume->nodes_.reset(new (std::nothrow) Node* [kNodeBuckets] {});
  if (!volume->nodes_) return fail(Errno::kNoMem);
  if (Result<void> opened = volume->open(); !opened) {
    volume->abandon();
    return fail(opened.error());
  }
  add_volume(*volume);
  return volume;
}

Result<void> Volume::open() {
  ARIL_TRY(read_superblock());
  ARIL_TRY(buffers_.initialize());
  ARIL_TRY(read_groups());
  ARIL_TRY(open_journal());
  if (access_ == Access::kReadOnly) return {};
  ARIL_TRY(mark_mounted());
  ARIL_TRY(process_orphans());
  return commit();
}

Volume::~Volume() { remove_volume(*this); }

size_t Volume::shrink(size_t pages) {
  if (!lock_.try_lock()) return 0;
  size_t freed = buffers_.shrink(pages);
  for (uint32_t i = 0; i < group_count_ && freed < pages; ++i) {
    Group& group = groups_[i];
    if (!group.map || group.pending != 0) continue;
    group.map.reset();
    ++freed;
  }
  lock_.unlock();
  return freed;
}

Result<void> Volume::open_journal() {
  bool needs_replay = has_feature(format::kIncompatRecover);
  if ((superblock_.feature_compat & format::kCompatJournal) == 0) {
    if (access_ == Access::kReadWrite) journal_.open_without_journal();
    return {};
  }
  if (superblock_.journal_device != 0 || superblock_.journal_inode == 0) {
    ARIL_LOG_ERROR(kComponent, "a journal on another disk is not served");
    return fail(Errno::kOpNotSupp);
  }
  JournalMap map;
  {
    RefPtr<Node> inode = ARIL_TRY(node(superblock_.journal_inode));
    LockGuard hold(lock_);
    uint64_t blocks = inode->size() >> block_shift_;
    constexpr uint64_t kMostBlocks = 1 << 24;
    if (blocks == 0 || blocks > kMostBlocks) {
      report_corruption("the journal's size makes no sense", blocks);
      return fail(Errno::kIo);
    }
    map.block_count = static_cast<uint32_t>(blocks);
    for (uint32_t at = 0; at < map.block_count;) {
      Mapping mapping = ARIL_TRY(ExtentTree(*inode).find(at));
      if (mapping.kind != Mapping::Kind::kWritten) {
        report_corruption("the journal has a hole", at);
        return fail(Errno::kIo);
      }
      auto length = std::min(mapping.length, map.block_count - at);
      map.runs.push_back({mapping.start, at, length});
      at += length;
    }
  }
  JournalHead head = ARIL_TRY(read_journal_head(disk_, map));
  map.block_count = head.superblock.block_count;
  if (needs_replay || head.superblock.start != 0) ARIL_TRY(replay(map, head));
  if (access_ == Access::kReadOnly) return {};
  // What Linux switches on at its first mount.
  uint32_t features = head.superblock.feature_incompat | jbd2::kIncompatRevoke;
  if (has_feature(format::kIncompat64Bit)) features |= jbd2::kIncompat64Bit;
  features &= ~(jbd2::kIncompatChecksumV2 | jbd2::kIncompatChecksumV3 | jbd2::kIncompatAsyncCommit);
  if (has_checksums_) {
    features |= jbd2::kIncompatChecksumV3;
    head.superblock.checksum_type = jbd2::kChecksumCrc32c;
  }
  head.superblock.feature_incompat = features;
  head.superblock.feature_compat = 0;  // version-1 checksums
  return journal_.open(std::move(map), head);
}

Result<void> Volume::replay(JournalMap& map, JournalHead& head) {
  if (access_ == Access::kReadOnly) {
    ARIL_LOG_ERROR(kComponent, "the journal must be replayed first: mount it writable once");
    return fail(Errno::kRoFs);
  }
  uint64_t blocks = ARIL_TRY(recover_journal(disk_, map, head));
  ARIL_LOG_INFO(kComponent, "%.*s: replayed %llu blocks of the journal",
                static_cast<int>(disk_.device().name().size()), disk_.device().name().data(),
                static_cast<unsigned long long>(blocks));
  // What was read before is old now. Nothing else has it.
  buffers_.shrink(~size_t{0} / 8);
  ARIL_TRY(read_superblock());
  return read_groups();
}

Result<void> Volume::mark_mounted() {
  superblock_.feature_incompat = superblock_.feature_incompat | format::kIncompatRecover;
  superblock_.mount_count = superblock_.mount_count + 1;
  auto seconds = vfs::wall_clock_ns() / 1'000'000'000;
  superblock_.mount_time = superblock_.write_time = static_cast<uint32_t>(seconds);
  if ((superblock_.feature_compat & format::kCompatJournal) == 0) {
    superblock_.feature_incompat = superblock_.feature_incompat & ~format::kIncompatRecover;
    superblock_.state = superblock_.state & ~format::kStateValid;
  }
  return write_superblock_directly();
}

void Volume::update_superblock(std::byte* block) const {
  format::Superblock super = superblock_;
  super.free_blocks_lo = static_cast<uint32_t>(free_blocks_);
  super.free_blocks_hi = static_cast<uint32_t>(free_blocks_ >> 32);
  super.free_inodes = free_inodes_;
  super.last_orphan = orphans_ != nullptr ? orphans_->number() : 0;
  super.write_time = static_cast<uint32_t>(vfs::wall_clock_ns() / 1'000'000'000);
  if (has_checksums_) super.checksum = superblock_checksum(super);
  size_t offset = format::kSuperblockOffset - superblock_block_ * block_size();
  std::memcpy(block + offset, &super, sizeof super);
}

// Outside of the journal: at mount and unmount, when the journal is empty.
Result<void> Volume::write_superblock_directly() {
  PageRef page = ARIL_TRY(page_allocator::allocate(page_allocator::Fill::kNone));
  {
    LockGuard hold(lock_);
    BufferRef buffer = ARIL_TRY(buffers_.get(superblock_block_));
    format::Superblock kept = superblock_;
    std::memcpy(page->data(), buffer->data(), block_size());
    update_superblock(page->data());
    // The orphan list of before the mount is still to be worked through.
    if (orphans_ == nullptr && kept.last_orphan != 0) {
      auto* super = reinterpret_cast<format::Superblock*>(
          page->data() + (format::kSuperblockOffset - superblock_block_ * block_size()));
      super->last_orphan = kept.last_orphan;
      if (has_checksums_) super->checksum = superblock_checksum(*super);
    }
    std::memcpy(const_cast<std::byte*>(buffer->data()), page->data(), block_size());
  }
  ARIL_TRY(disk_.write_block(superblock_block_, *page));
  return disk_.flush();
}

Result<void> Volume::unmount() {
  Result<void> closed;
  if (access_ == Access::kReadWrite && !stopped_.exchange(true)) closed = close();
  abandon();
  return closed;
}

void Volume::abandon() {
  stopped_.store(true, std::memory_order_relaxed);
  abandoned_.store(true, std::memory_order_relaxed);
  {
    LockGuard hold(lock_);
    while (Node* node = dirty_nodes_.pop_front()) {
      node->is_dirty_ = false;
      release_later_locked(*node);
    }
  }
  release_nodes();
}

Result<void> Volume::close() {
  if (journal_.has_failed()) return fail(Errno::kIo);
  ARIL_TRY(journal_.close());
  superblock_.feature_incompat = superblock_.feature_incompat & ~format::kIncompatRecover;
  superblock_.state = superblock_.state | format::kStateValid;
  return write_superblock_directly();
}

Result<void> Volume::commit() {
  if (access_ == Access::kReadOnly) return {};
  uint32_t id;
  {
    LockGuard hold(lock_);
    id = journal_.running_id();
  }
  return commit(id);
}

Result<void> Volume::commit(uint32_t id) {
  if (access_ == Access::kReadOnly) return {};
  Result<void> result = journal_.commit(id);
  release_nodes();
  return result;
}

Result<void> Volume::commit_if_changed() {
  uint32_t id;
  {
    LockGuard hold(lock_);
    if (journal_.is_running_empty()) return {};
    id = journal_.running_id();
  }
  return commit(id);
}

Volume::Usage Volume::usage() {
  LockGuard hold(lock_);
  uint64_t free = available_ + pending_frees_;
  return {.blocks = block_count_ - std::min(block_count_, overhead_),
          .blocks_free = free - std::min(free, reserved_),
          .files = superblock_.inodes_count,
          .files_free = free_inodes_};
}

void Volume::on_journal_failed(const char* what) {
  ARIL_LOG_ERROR(kComponent, "%.*s: %s: from now on it is read-only",
                 static_cast<int>(disk_.device().name().size()), disk_.device().name().data(),
                 what);
  stopped_.store(true, std::memory_order_relaxed);
}

void Volume::fail_volume(const char* what) { journal_.abort(what); }

Operation::~Operation() {
  if (!holds_) return;
  if (volume_.journal_.changes() != changes_before_)
    volume_.fail_volume("a change of metadata could not be completed");
  volume_.lock_.unlock();
}

Result<void> Operation::begin(unsigned credits) {
  for (;;) {
    if (volume_.is_read_only()) return fail(Errno::kRoFs);
    volume_.lock_.lock();
    if (volume_.journal_.has_room(credits)) break;
    uint32_t id = volume_.journal_.running_id();
    volume_.lock_.unlock();
    ARIL_TRY(volume_.commit(id));
  }
  holds_ = true;
  changes_before_ = volume_.journal_.changes();
  return {};
}

Result<void> Operation::renew(unsigned credits) {
  if (volume_.journal_.has_room(credits)) {
    changes_before_ = volume_.journal_.changes();
    return {};
  }
  done();
  return begin(credits);
}

void Operation::done() {
  if (!holds_) return;
  holds_ = false;
  volume_.lock_.unlock();
}

}  // namespace aril::ext4
