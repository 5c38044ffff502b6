#include <cstring>

#include "checksum.hpp"
#include "extents.hpp"
#include "file_data.hpp"
#include "kernel/log/log.hpp"
#include "volume.hpp"

// [orphan.rst] Files without a name that are still open, and files that are being cut: a list that
// starts in the superblock and goes on in the inodes' deletion times. In memory it is doubly
// linked, newest first as on the disk.
namespace aril::ext4 {

Result<void> Volume::add_orphan_locked(Node& node) {
  if (node.is_orphan) return {};
  ARIL_TRY(touch_superblock());
  node.raw.delete_time = orphans_ != nullptr ? orphans_->number() : 0;
  ARIL_TRY(mark_dirty_locked(node));
  node.is_orphan = true;
  node.next_orphan_ = orphans_;
  node.previous_orphan_ = nullptr;
  if (orphans_ != nullptr) orphans_->previous_orphan_ = &node;
  orphans_ = &node;
  return {};
}

Result<void> Volume::remove_orphan_locked(Node& node) {
  if (!node.is_orphan) return {};
  Node* previous = node.previous_orphan_;
  Node* next = node.next_orphan_;
  if (previous == nullptr) {
    ARIL_TRY(touch_superblock());
    orphans_ = next;
  } else {
    previous->raw.delete_time = next != nullptr ? next->number() : 0;
    previous->next_orphan_ = next;
    ARIL_TRY(mark_dirty_locked(*previous));
  }
  if (next != nullptr) next->previous_orphan_ = previous;
  node.next_orphan_ = node.previous_orphan_ = nullptr;
  node.is_orphan = false;
  node.raw.delete_time = 0;
  return mark_dirty_locked(node);
}

Result<void> Volume::process_orphans() {
  // First the whole list as it is, so that each file can leave it wherever it stands.
  std::vector<RefPtr<Node>> list;
  for (uint32_t number = superblock_.last_orphan; number != 0;) {
    Result<RefPtr<Node>> found = node(number);
    if (!found || number < superblock_.first_inode || (*found)->raw.mode == 0 ||
        (*found)->is_orphan) {
      report_corruption("the orphan list leads to no file", number);
      break;
    }
    Node& orphan = **found;
    orphan.is_orphan = true;
    number = orphan.raw.delete_time;
    if (list.empty()) {
      orphans_ = &orphan;
    } else {
      list.back()->next_orphan_ = &orphan;
      orphan.previous_orphan_ = list.back().get();
    }
    list.push_back(std::move(*found));
  }
  superblock_.last_orphan = 0;
  for (RefPtr<Node>& orphan : list) {
    ARIL_TRY(finish_orphan(*orphan));
    orphan.reset();  // without links, the end of it
  }
  ARIL_TRY(process_orphan_file());
  if (!list.empty())
    ARIL_LOG_INFO("ext4", "%.*s: %zu unfinished deletions completed",
                  static_cast<int>(disk_.device().name().size()), disk_.device().name().data(),
                  list.size());
  return {};
}

/// A file that was being cut is cut.
Result<void> Volume::finish_orphan(Node& orphan) {
  if (orphan.links() == 0) return {};
  ARIL_TRY(free_blocks_beyond_size(orphan));
  Operation operation(*this);
  ARIL_TRY(operation.begin());
  ARIL_TRY(remove_orphan_locked(orphan));
  operation.done();
  return {};
}

Result<void> Volume::process_orphan(uint32_t number) {
  RefPtr<Node> orphan = ARIL_TRY(node(number));
  {
    Operation operation(*this);
    ARIL_TRY(operation.begin());
    // From now on on this mount's own list.
    ARIL_TRY(add_orphan_locked(*orphan));
    operation.done();
  }
  return finish_orphan(*orphan);
}

/// With the feature orphan_file Linux keeps the numbers in a file. What it left there is finished;
/// this mount uses the list, which is allowed at any time.
Result<void> Volume::process_orphan_file() {
  if ((superblock_.feature_compat & format::kCompatOrphanFile) == 0 ||
      (superblock_.feature_ro_compat & format::kRoOrphanPresent) == 0)
    return {};
  RefPtr<Node> file = ARIL_TRY(node(superblock_.orphan_file_inode));
  uint64_t blocks = file->size() >> block_shift_;
  constexpr uint64_t kMostBlocks = 512;
  for (uint32_t at = 0; at < std::min(blocks, kMostBlocks); ++at) {
    std::vector<uint32_t> numbers;
    uint64_t block = 0;
    {
      LockGuard hold(lock_);
      Mapping mapping = ARIL_TRY(ExtentTree(*file).find(at));
      if (mapping.kind != Mapping::Kind::kWritten) continue;
      block = mapping.start;
      BufferRef buffer = ARIL_TRY(buffers_.get(block));
      size_t end = block_size() - sizeof(format::OrphanBlockTail);
      format::OrphanBlockTail tail;
      std::memcpy(&tail, buffer->data() + end, sizeof tail);
      uint32_t crc = crc32c_of(file->seed(), format::Le64(block));
      crc = crc32c(crc, {buffer->data(), end});
      if (tail.magic != format::kOrphanBlockMagic || (has_checksums_ && crc != tail.checksum)) {
        report_corruption("the orphan file is broken", at);
        return fail(Errno::kIo);
      }
      for (size_t i = 0; i + 4 <= end; i += 4) {
        format::Le32 number;
        std::memcpy(&number, buffer->data() + i, 4);
        if (number != 0) numbers.push_back(number);
      }
    }
    for (uint32_t number : numbers) {
      if (number < superblock_.first_inode) continue;
      ARIL_TRY(process_orphan(number));
    }
    if (numbers.empty()) continue;
    Operation operation(*this);
    ARIL_TRY(operation.begin());
    BufferRef buffer = ARIL_TRY(buffers_.get(block));
    std::byte* data = ARIL_TRY(journal_.modify(buffer));
    size_t end = block_size() - sizeof(format::OrphanBlockTail);
    std::memset(data, 0, end);
    auto* tail = reinterpret_cast<format::OrphanBlockTail*>(data + end);
    tail->checksum = crc32c(crc32c_of(file->seed(), format::Le64(block)), {data, end});
    operation.done();
  }
  Operation operation(*this);
  ARIL_TRY(operation.begin());
  superblock_.feature_ro_compat = superblock_.feature_ro_compat & ~format::kRoOrphanPresent;
  ARIL_TRY(touch_superblock());
  operation.done();
  return {};
}

}  // namespace aril::ext4
