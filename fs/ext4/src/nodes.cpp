#include <algorithm>
#include <cstring>
#include <limits>

#include "checksum.hpp"
#include "extents.hpp"
#include "file_data.hpp"
#include "fs/vfs/inode.hpp"
#include "kernel/random/random.hpp"
#include "volume.hpp"
#include "xattrs.hpp"

namespace aril::ext4 {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

/// [inode.rst] Seconds beyond 2038 and nanoseconds.
uint32_t encode_extra(int64_t seconds, int64_t nanoseconds) {
  int64_t epoch = (seconds - static_cast<int32_t>(seconds)) >> 32;
  return static_cast<uint32_t>((epoch & 3) | nanoseconds << 2);
}
/// The format counts to the year 2446, nanoseconds in 64 bits to 2262: what is later counts as
/// that.
int64_t decode_time(uint32_t base, uint32_t extra) {
  constexpr int64_t kLast = std::numeric_limits<int64_t>::max() / kSecond - 1;
  int64_t seconds = std::min(static_cast<int32_t>(base) + (int64_t{extra & 3} << 32), kLast);
  int64_t nanoseconds = std::min<int64_t>(extra >> 2, kSecond - 1);
  return seconds * kSecond + nanoseconds;
}

struct TimeFields {
  format::Le32 format::Inode::* base;
  format::Le32 format::Inode::* extra;
  size_t end;
};
constexpr TimeFields kTimes[] = {
    {&format::Inode::access_time, &format::Inode::access_extra,
     offsetof(format::Inode, access_extra) + 4},
    {&format::Inode::modify_time, &format::Inode::modify_extra,
     offsetof(format::Inode, modify_extra) + 4},
    {&format::Inode::change_time, &format::Inode::change_extra,
     offsetof(format::Inode, change_extra) + 4},
    {&format::Inode::birth_time, &format::Inode::birth_extra,
     offsetof(format::Inode, birth_extra) + 4},
};

/// [inode.rst] Over number, generation and the inode with zero in its place.
uint32_t inode_checksum(uint32_t seed, std::span<std::byte> inode, bool has_high) {
  auto* raw = reinterpret_cast<format::Inode*>(inode.data());
  uint16_t low = raw->checksum_lo, high = 0;
  raw->checksum_lo = 0;
  if (has_high) {
    high = raw->checksum_hi;
    raw->checksum_hi = 0;
  }
  uint32_t crc = crc32c(seed, inode);
  raw->checksum_lo = low;
  if (has_high) raw->checksum_hi = high;
  return crc;
}

bool has_high_checksum(const format::Inode& raw, size_t inode_size) {
  constexpr size_t kEnd = offsetof(format::Inode, checksum_hi) + 2 - format::kOldInodeSize;
  return inode_size > format::kOldInodeSize && raw.extra_isize >= kEnd;
}

}  // namespace

Node::Node(RefPtr<Volume> volume, uint32_t number) : volume_(std::move(volume)), number_(number) {}
Node::~Node() = default;

void Node::before_destruction() {
  // Whoever takes the last link away lists it as an orphan: without that, the disk is damaged.
  if (raw.links == 0 && is_orphan && !volume_->is_read_only()) volume_->delete_node(*this);
  volume_->forget_node(*this);
}

void Node::update_seed() {
  seed_ = crc32c_of(volume_->seed(), format::Le32(number_));
  seed_ = crc32c_of(seed_, raw.generation);
}

void Node::set_size(uint64_t size) {
  raw.size_lo = static_cast<uint32_t>(size);
  raw.size_hi = static_cast<uint32_t>(size >> 32);
}
void Node::set_owner(uint32_t uid, uint32_t gid) {
  raw.uid_lo = static_cast<uint16_t>(uid);
  raw.uid_hi = static_cast<uint16_t>(uid >> 16);
  raw.gid_lo = static_cast<uint16_t>(gid);
  raw.gid_hi = static_cast<uint16_t>(gid >> 16);
}
void Node::set_xattr_block(uint64_t block) {
  raw.xattr_block_lo = static_cast<uint32_t>(block);
  raw.xattr_block_hi = static_cast<uint16_t>(block >> 32);
}

uint64_t Node::sectors() const {
  uint64_t count = raw.blocks_lo | uint64_t{raw.blocks_hi} << 32;
  return has_flag(format::kInodeHugeFile) ? count << (volume_->block_shift() - 9) : count;
}
void Node::add_blocks(int64_t blocks) {
  unsigned shift = has_flag(format::kInodeHugeFile) ? 0 : volume_->block_shift() - 9;
  uint64_t count = raw.blocks_lo | uint64_t{raw.blocks_hi} << 32;
  int64_t change = blocks * (int64_t{1} << shift);
  count = change < 0 && count < static_cast<uint64_t>(-change)
              ? 0
              : count + static_cast<uint64_t>(change);
  raw.blocks_lo = static_cast<uint32_t>(count);
  raw.blocks_hi = static_cast<uint16_t>(count >> 32);
}

bool Node::has_field(size_t end_offset) const {
  return volume_->inode_size() > format::kOldInodeSize &&
         format::kOldInodeSize + raw.extra_isize >= end_offset;
}

int64_t Node::time(Time which) const {
  const TimeFields& fields = kTimes[static_cast<size_t>(which)];
  bool extended = has_field(fields.end);
  if (which == Time::kBirth && !extended) return 0;
  return decode_time(raw.*fields.base, extended ? uint32_t{raw.*fields.extra} : 0);
}

void Node::set_time(Time which, int64_t ns) {
  const TimeFields& fields = kTimes[static_cast<size_t>(which)];
  int64_t seconds = ns / kSecond, rest = ns % kSecond;
  if (rest < 0) rest += kSecond, --seconds;
  bool extended = has_field(fields.end);
  if (which == Time::kBirth && !extended) return;
  // What does not fit is stored as the nearest that does.
  constexpr int64_t kFirst = std::numeric_limits<int32_t>::min();
  int64_t last = std::numeric_limits<int32_t>::max() + (extended ? int64_t{3} << 32 : 0);
  seconds = std::clamp(seconds, kFirst, last);
  raw.*fields.base = static_cast<uint32_t>(seconds);
  if (extended) raw.*fields.extra = encode_extra(seconds, rest);
}

Result<Volume::InodePlace> Volume::inode_place_locked(uint32_t number) {
  if (number == 0 || number > superblock_.inodes_count) return fail(Errno::kIo);
  uint32_t index = (number - 1) % inodes_per_group_;
  uint32_t per_block = block_size() / inode_size_;
  uint64_t block = groups_[(number - 1) / inodes_per_group_].inode_table + index / per_block;
  if (buffers_.find(block) == nullptr) {
    uint64_t last =
        groups_[(number - 1) / inodes_per_group_].inode_table + (inodes_per_group_ - 1) / per_block;
    buffers_.read_ahead(block, static_cast<unsigned>(std::min<uint64_t>(8, last - block + 1)));
  }
  BufferRef buffer = ARIL_TRY(buffers_.get(block));
  return InodePlace{std::move(buffer), index % per_block * inode_size_};
}

Result<RefPtr<Node>> Volume::node(uint32_t number) {
  LockGuard hold(lock_);
  return node_locked(number);
}

Result<RefPtr<Node>> Volume::node_locked(uint32_t number) {
  for (Node* node = bucket_of(number); node != nullptr; node = node->next_in_bucket_) {
    if (node->number_ == number && node->try_add_ref()) return RefPtr<Node>::adopt(node);
  }
  InodePlace place = ARIL_TRY(inode_place_locked(number));
  std::span<const std::byte> bytes(place.buffer->data() + place.offset, inode_size_);
  // Looked at before it becomes an object whose end has consequences.
  format::Inode raw{};
  std::memcpy(&raw, bytes.data(), std::min(sizeof raw, bytes.size()));
  if (inode_size_ == format::kOldInodeSize) raw.extra_isize = 0;
  if (format::kOldInodeSize + raw.extra_isize > inode_size_ || raw.extra_isize % 4 != 0) {
    report_corruption("an inode's extra size makes no sense", number);
    return fail(Errno::kIo);
  }
  uint32_t seed = crc32c_of(crc32c_of(seed_, format::Le32(number)), raw.generation);
  if (has_checksums_) {
    std::byte copy[4096];
    std::memcpy(copy, bytes.data(), bytes.size());
    bool has_high = has_high_checksum(raw, inode_size_);
    uint32_t crc = inode_checksum(seed, {copy, bytes.size()}, has_high);
    uint32_t stored = raw.checksum_lo | (has_high ? uint32_t{raw.checksum_hi} << 16 : 0);
    if ((has_high ? crc : crc & 0xffff) != stored) {
      report_corruption("an inode has a wrong checksum", number);
      return fail(Errno::kIo);
    }
  }
  auto* made = new (std::nothrow) Node(RefPtr<Volume>(this), number);
  if (made == nullptr) return fail(Errno::kNoMem);
  made->raw = raw;
  made->seed_ = seed;
  Node*& bucket = bucket_of(number);
  made->next_in_bucket_ = bucket;
  bucket = made;
  return adopt_ref(made);
}

void Volume::forget_node(Node& node) {
  LockGuard hold(lock_);
  if (node.is_orphan) {
    // Still on the disk's list, for the next mount; here it must not be referred to.
    for (Node** link = &orphans_; *link != nullptr; link = &(*link)->next_orphan_) {
      if (*link != &node) continue;
      *link = node.next_orphan_;
      break;
    }
    if (node.next_orphan_ != nullptr) node.next_orphan_->previous_orphan_ = node.previous_orphan_;
  }
  release_reservation_locked(node.delayed_blocks);
  for (Node** link = &bucket_of(node.number_); *link != nullptr; link = &(*link)->next_in_bucket_) {
    if (*link != &node) continue;
    *link = node.next_in_bucket_;
    break;
  }
}

Result<void> Volume::mark_dirty_locked(Node& node) {
  InodePlace place = ARIL_TRY(inode_place_locked(node.number_));
  ARIL_TRY(journal_.modify(place.buffer));
  node.sync_id = journal_.running_id();
  // A node at its end cannot be kept for the end of the transaction.
  if (node.is_dying) return store_node(node);
  if (node.is_dirty_) return {};
  node.is_dirty_ = true;
  node.add_ref();
  dirty_nodes_.push_back(node);
  return {};
}

void Volume::release_dirty_node(Node& node) {
  LockGuard hold(lock_);
  if (!node.is_dirty_) return;
  dirty_nodes_.remove(node);
  node.is_dirty_ = false;
  // Its block is in the running transaction already.
  if (!store_node(node)) fail_volume("an inode cannot be stored");
  ARIL_ASSERT(!node.drop_ref());
}

Result<void> Volume::store_node(Node& node) {
  InodePlace place = ARIL_TRY(inode_place_locked(node.number_));
  std::byte* bytes = ARIL_TRY(journal_.modify(place.buffer)) + place.offset;
  size_t known = inode_size_ == format::kOldInodeSize
                     ? format::kOldInodeSize
                     : format::kOldInodeSize + std::max<size_t>(node.raw.extra_isize, 4);
  std::memcpy(bytes, &node.raw, std::min(known, sizeof node.raw));
  if (!has_checksums_) return {};
  bool has_high = has_high_checksum(node.raw, inode_size_);
  uint32_t crc = inode_checksum(node.seed_, {bytes, inode_size_}, has_high);
  auto* raw = reinterpret_cast<format::Inode*>(bytes);
  raw->checksum_lo = static_cast<uint16_t>(crc);
  if (has_high) raw->checksum_hi = static_cast<uint16_t>(crc >> 16);
  return {};
}

/// The list's reference goes when the lock is free: it may be the last.
void Volume::release_later_locked(Node& node) {
  if (node.is_released_) {
    ARIL_ASSERT(!node.drop_ref());
    return;
  }
  node.is_released_ = true;
  node.next_released_ = release_nodes_;
  release_nodes_ = &node;
}

void Volume::release_nodes() {
  for (;;) {
    RefPtr<Node> node;
    LockGuard hold(lock_);
    Node* first = release_nodes_;
    if (first == nullptr) return;
    release_nodes_ = first->next_released_;
    first->next_released_ = nullptr;
    first->is_released_ = false;
    node = RefPtr<Node>::adopt(first);
  }
}

Result<void> Volume::create_node_locked(Node& parent, uint32_t mode, RefPtr<Node>& node) {
  uint32_t number = ARIL_TRY(allocate_inode(parent.number(), (mode & 0170000) == 0040000));
  auto* made = new (std::nothrow) Node(RefPtr<Volume>(this), number);
  if (made == nullptr) return fail(Errno::kNoMem);
  node = adopt_ref(made);
  Node*& bucket = bucket_of(number);
  node->next_in_bucket_ = bucket;
  bucket = made;
  InodePlace place = ARIL_TRY(inode_place_locked(number));
  std::memset(ARIL_TRY(journal_.modify(place.buffer)) + place.offset, 0, inode_size_);
  format::Inode& raw = node->raw;
  raw.mode = static_cast<uint16_t>(mode);
  if (inode_size_ > format::kOldInodeSize) {
    size_t wanted =
        std::max<size_t>(superblock_.want_extra_isize, sizeof raw - format::kOldInodeSize);
    raw.extra_isize = static_cast<uint16_t>(
        std::min<size_t>(wanted & ~size_t{3}, inode_size_ - format::kOldInodeSize));
  }
  raw.generation = static_cast<uint32_t>(random::next_u64());
  node->update_seed();
  int64_t now = vfs::wall_clock_ns();
  for (Node::Time which :
       {Node::Time::kAccess, Node::Time::kModify, Node::Time::kChange, Node::Time::kBirth})
    node->set_time(which, now);
  uint32_t type = mode & 0170000;
  if (type == 0100000 || type == 0040000) ExtentTree(*node).initialize();
  return mark_dirty_locked(*node);
}

void Volume::delete_node(Node& node) {
  node.is_dying = true;
  // A failure leaves it on the orphan list, for the next mount.
  if (!free_all_blocks(node)) return;
  Operation operation(*this);
  if (!operation.begin()) return;
  auto remove = [&]() -> Result<void> {
    if (node.xattr_block() != 0) ARIL_TRY(release_xattr_block(node));
    ARIL_TRY(remove_orphan_locked(node));
    ARIL_TRY(free_inode(node));
    uint32_t generation = node.raw.generation;
    uint16_t extra = node.raw.extra_isize;
    node.raw = {};
    node.raw.generation = generation;
    node.raw.extra_isize = extra;
    node.raw.delete_time = static_cast<uint32_t>(vfs::wall_clock_ns() / kSecond);
    return mark_dirty_locked(node);
  };
  if (remove()) operation.done();
}

void Volume::delete_orphans() {
  for (;;) {
    RefPtr<Node> node;
    {
      LockGuard hold(lock_);
      for (Node* at = orphans_; at != nullptr && !node; at = at->next_orphan_) {
        if (at->links() == 0 && !at->is_dying && at->try_add_ref()) node = RefPtr<Node>::adopt(at);
      }
    }
    if (!node) return;
    delete_node(*node);
  }
}

}  // namespace aril::ext4
