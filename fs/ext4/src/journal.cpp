#include "journal.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>

#include "checksum.hpp"
#include "kernel/sched/thread.hpp"

namespace aril::ext4 {
namespace {

constexpr unsigned kLargestTransaction = 8192;
constexpr size_t kUuidSize = 16;

/// A page without which a commit cannot go on: memory comes free again as other commits' does.
Result<PageRef> patiently_allocate(page_allocator::Fill fill) {
  static constexpr int kAttempts = 200;
  for (int attempt = 0;; ++attempt) {
    Result<PageRef> page = page_allocator::allocate(fill);
    if (page || attempt == kAttempts || arch::current_thread() == nullptr) return page;
    (void)Thread::sleep_until(now() + Duration::milliseconds(10), Interruptible::kNo);
  }
}

}  // namespace

/// Writes blocks to the log in order, consecutive ones in one request.
class Journal::LogWriter {
 public:
  explicit LogWriter(Journal& journal) : journal_(journal) {}

  Result<void> put(PageRef page) {
    uint32_t contiguous;
    uint64_t physical = journal_.map_.locate(journal_.write_at_, contiguous);
    if (count_ == kMost || physical != start_ + count_) {
      ARIL_TRY(flush());
      start_ = physical;
    }
    segments_[count_] = {page->physical(), journal_.disk_.block_size()};
    pages_[count_++] = std::move(page);
    ++journal_.used_;
    if (++journal_.write_at_ == journal_.map_.block_count) journal_.write_at_ = journal_.first_;
    return {};
  }
  Result<void> flush() {
    if (count_ != 0) ARIL_TRY(journal_.disk_.write(start_, std::span(segments_).first(count_)));
    for (PageRef& page : std::span(pages_).first(count_)) page.reset();
    count_ = 0;
    return {};
  }

 private:
  static constexpr unsigned kMost = 64;
  Journal& journal_;
  uint64_t start_ = 0;
  unsigned count_ = 0;
  std::array<PageRef, kMost> pages_;
  std::array<BlockDevice::Segment, kMost> segments_;
};

Journal::~Journal() {
  // What a failed journal, or one that was never closed, has left.
  while (running_.pop_front() != nullptr) {}
  while (committing_.pop_front() != nullptr) {}
  while (checkpoint_.pop_front() != nullptr) {}
}

Result<void> Journal::open(JournalMap map, const JournalHead& head) {
  map_ = std::move(map);
  head_ = head;
  first_ = head.superblock.first;
  write_at_ = first_;
  used_ = 0;
  running_id_ = head.superblock.sequence;
  committed_id_ = running_id_ - 1;
  limit_ = std::min<unsigned>(capacity() / 4, kLargestTransaction);
  // From here on the journal is to be replayed, should the machine end without a word.
  head_.superblock.start = write_at_;
  ARIL_TRY(write_journal_head(disk_, map_, head_));
  ARIL_TRY(disk_.flush());
  is_open_ = true;
  return {};
}

Result<std::byte*> Journal::modify(const BufferRef& ref) {
  if (has_failed()) return fail(Errno::kRoFs);
  Buffer& buffer = *ref;
  if (buffer.is_shared()) {
    PageRef copy = ARIL_TRY(page_allocator::allocate(page_allocator::Fill::kNone));
    std::memcpy(copy->data(), buffer.page_->data(), disk_.block_size());
    buffer.page_ = std::move(copy);
  }
  if (!buffer.in_running_) {
    buffer.in_running_ = true;
    running_.push_back(buffer);
    ++running_count_;
  }
  ++changes_;
  return buffer.page_->data();
}

Result<void> Journal::revoke(uint64_t block) {
  if (Buffer* buffer = buffers_.find(block)) {
    if (buffer->in_running_) {
      running_.remove(*buffer);
      buffer->in_running_ = false;
      --running_count_;
    }
    buffer->is_verified = false;
    buffer->seal = Seal::kNone;
  }
  ++changes_;
  if (map_.block_count != 0) revoked_.push_back(block);
  return {};
}

void Journal::abort(const char* what) {
  if (failed_.exchange(true)) return;
  client_.on_journal_failed(what);
}

void Journal::close_running_locked() {
  for (Buffer& buffer : running_) {
    if (buffer.seal != Seal::kNone) client_.seal_block(buffer, buffer.page_->data());
  }
  while (Buffer* buffer = running_.pop_front()) {
    buffer->in_running_ = false;
    buffer->committing_ = buffer->page_;
    committing_.push_back(*buffer);
  }
  committing_count_ = std::exchange(running_count_, 0);
  committing_revoked_ = std::move(revoked_);
  revoked_.clear();
  committing_id_ = running_id_++;
  client_.on_closed();
}

Result<void> Journal::commit(uint32_t id) {
  if (is_committed(id)) return {};
  LockGuard commit_guard(commit_mutex_);
  if (is_committed(id)) return {};
  return commit_running();
}

Result<void> Journal::commit_running() {
  if (has_failed()) return fail(Errno::kIo);
  bool is_empty;
  {
    LockGuard hold(lock_);
    client_.before_close();
    is_empty = is_running_empty();
    if (!is_empty) close_running_locked();
  }
  if (is_empty) return disk_.flush();
  Result<void> written = map_.block_count != 0 ? write_transaction() : write_home_directly();
  if (!written) {
    abort("the journal cannot be written");
    return fail(Errno::kIo);
  }
  {
    LockGuard hold(lock_);
    finish_committing_locked();
    client_.on_committed();
  }
  if (map_.block_count != 0 && used_ > capacity() / 2) ARIL_TRY(checkpoint_with_commit_lock());
  return {};
}

void Journal::finish_committing_locked() {
  while (Buffer* buffer = committing_.pop_front()) {
    PageRef page = std::move(buffer->committing_);
    if (map_.block_count == 0) continue;  // it is home already
    buffer->checkpoint_ = std::move(page);
    if (buffer->checkpoint_node_.is_linked()) continue;
    checkpoint_.push_back(*buffer);
    ++checkpoint_count_;
  }
  committing_count_ = 0;
  for (uint64_t block : committing_revoked_) {
    Buffer* buffer = buffers_.find(block);
    if (buffer == nullptr || !buffer->checkpoint_node_.is_linked()) continue;
    checkpoint_.remove(*buffer);
    buffer->checkpoint_.reset();
    --checkpoint_count_;
  }
  committing_revoked_.clear();
  // Release pairs with committed_id().
  committed_id_.store(committing_id_, std::memory_order_release);
}

size_t Journal::tags_per_block() const {
  size_t room = disk_.block_size() - sizeof(jbd2::Header) - kUuidSize;
  if (has(jbd2::kIncompatChecksumV3)) return (room - sizeof(jbd2::BlockTail)) / sizeof(jbd2::Tag3);
  return room / (has(jbd2::kIncompat64Bit) ? 12 : 8);
}

uint32_t Journal::blocks_needed() const {
  auto per_tag_block = static_cast<uint32_t>(tags_per_block());
  // Revoke blocks hold at least 8 bytes less than they could: a bound is enough.
  uint32_t per_revoke_block = (disk_.block_size() - 24) / 8;
  auto revokes = static_cast<uint32_t>(committing_revoked_.size());
  return committing_count_ + committing_count_ / per_tag_block + 1 + revokes / per_revoke_block +
         1 + 1;
}

Result<void> Journal::write_transaction() {
  uint32_t needed = blocks_needed();
  if (used_ + needed > capacity()) ARIL_TRY(checkpoint_with_commit_lock());
  if (needed > capacity()) return fail(Errno::kIo);
  LogWriter writer(*this);
  ARIL_TRY(write_revokes(writer));
  ARIL_TRY(write_blocks(writer));
  ARIL_TRY(writer.flush());
  // File data and the transaction's blocks are stable before the record that makes them count.
  ARIL_TRY(disk_.flush());
  ARIL_TRY(write_commit_record(writer));
  ARIL_TRY(writer.flush());
  return disk_.flush();
}

namespace {

jbd2::Header* start_block(Page& page, uint32_t type, uint32_t id) {
  // A log block starts with this header.
  auto* header = reinterpret_cast<jbd2::Header*>(page.data());
  header->magic = jbd2::kMagic;
  header->type = type;
  header->sequence = id;
  return header;
}

}  // namespace

Result<void> Journal::write_revokes(LogWriter& writer) {
  size_t entry = has(jbd2::kIncompat64Bit) ? 8 : 4;
  bool summed = has(jbd2::kIncompatChecksumV3);
  size_t end = disk_.block_size() - (summed ? sizeof(jbd2::BlockTail) : 0);
  auto left = std::span<const uint64_t>(committing_revoked_);
  while (!left.empty()) {
    PageRef page = ARIL_TRY(patiently_allocate(page_allocator::Fill::kZero));
    start_block(*page, jbd2::kRevoke, committing_id_);
    size_t at = sizeof(jbd2::RevokeHeader);
    for (; !left.empty() && at + entry <= end; at += entry, left = left.subspan(1)) {
      if (entry == 8) {
        jbd2::Be64 block = left.front();
        std::memcpy(page->data() + at, &block, sizeof block);
      } else {
        jbd2::Be32 block = static_cast<uint32_t>(left.front());
        std::memcpy(page->data() + at, &block, sizeof block);
      }
    }
    reinterpret_cast<jbd2::RevokeHeader*>(page->data())->bytes = static_cast<uint32_t>(at);
    if (summed) {
      jbd2::Be32 sum = crc32c(head_.seed, page->bytes().first(disk_.block_size()));
      std::memcpy(page->data() + end, &sum, sizeof sum);
    }
    ARIL_TRY(writer.put(std::move(page)));
  }
  return {};
}

Result<void> Journal::write_blocks(LogWriter& writer) {
  const size_t block_size = disk_.block_size();
  const bool v3 = has(jbd2::kIncompatChecksumV3);
  const size_t tag_size = v3 ? sizeof(jbd2::Tag3) : has(jbd2::kIncompat64Bit) ? 12 : 8;
  const uint32_t id_seed = crc32c_of(head_.seed, jbd2::Be32(committing_id_));
  // Only commits touch this list, and they hold the commit mutex.
  auto next = committing_.begin();
  while (next != committing_.end()) {
    PageRef descriptor = ARIL_TRY(patiently_allocate(page_allocator::Fill::kZero));
    start_block(*descriptor, jbd2::kDescriptor, committing_id_);
    size_t at = sizeof(jbd2::Header);
    size_t tags = tags_per_block();
    auto first = next;
    size_t count = 0;
    std::array<PageRef, kPageSize / 8> escaped;
    for (; next != committing_.end() && count < tags; ++next, ++count) {
      PageRef page = (*next).committing_;
      uint32_t flags = count != 0 ? jbd2::kTagSameUuid : 0;
      // Contents that look like a log block's header are written without it.
      if (*reinterpret_cast<const jbd2::Be32*>(page->data()) == jbd2::kMagic) {
        PageRef copy = ARIL_TRY(patiently_allocate(page_allocator::Fill::kNone));
        std::memcpy(copy->data(), page->data(), block_size);
        std::memset(copy->data(), 0, sizeof(jbd2::Be32));
        flags |= jbd2::kTagEscaped;
        escaped[count] = page = std::move(copy);
      }
      auto after = next;
      if (++after == committing_.end() || count + 1 == tags) flags |= jbd2::kTagLast;
      uint64_t block = (*next).block_;
      if (v3) {
        jbd2::Tag3 tag{.block = static_cast<uint32_t>(block),
                       .flags = flags,
                       .block_hi = static_cast<uint32_t>(block >> 32),
                       .checksum = crc32c(id_seed, page->bytes().first(block_size))};
        std::memcpy(descriptor->data() + at, &tag, tag_size);
      } else {
        jbd2::Tag tag{.block = static_cast<uint32_t>(block),
                      .checksum = 0,
                      .flags = static_cast<uint16_t>(flags),
                      .block_hi = static_cast<uint32_t>(block >> 32)};
        std::memcpy(descriptor->data() + at, &tag, tag_size);
      }
      at += tag_size;
      if (count == 0) {
        std::memcpy(descriptor->data() + at, head_.superblock.uuid, kUuidSize);
        at += kUuidSize;
      }
    }
    if (v3) {
      jbd2::Be32 sum = crc32c(head_.seed, descriptor->bytes().first(block_size));
      std::memcpy(descriptor->data() + block_size - sizeof sum, &sum, sizeof sum);
    }
    ARIL_TRY(writer.put(std::move(descriptor)));
    for (size_t i = 0; i < count; ++i, ++first)
      ARIL_TRY(writer.put(escaped[i] ? std::move(escaped[i]) : (*first).committing_));
  }
  return {};
}

Result<void> Journal::write_commit_record(LogWriter& writer) {
  PageRef page = ARIL_TRY(patiently_allocate(page_allocator::Fill::kZero));
  start_block(*page, jbd2::kCommit, committing_id_);
  auto* commit = reinterpret_cast<jbd2::CommitBlock*>(page->data());
  int64_t time = arch::boot_wall_clock_ns() + now().ns;
  commit->seconds = static_cast<uint64_t>(time / 1'000'000'000);
  commit->nanoseconds = static_cast<uint32_t>(time % 1'000'000'000);
  if (has(jbd2::kIncompatChecksumV3))
    commit->checksum[0] = crc32c(head_.seed, page->bytes().first(disk_.block_size()));
  return writer.put(std::move(page));
}

Result<void> Journal::write_home_directly() {
  for (Buffer& buffer : committing_)
    ARIL_TRY(disk_.write_block(buffer.block_, *buffer.committing_));
  return disk_.flush();
}

Result<void> Journal::checkpoint() {
  LockGuard commit_guard(commit_mutex_);
  if (has_failed()) return fail(Errno::kIo);
  return checkpoint_with_commit_lock();
}

// The list and the pages on it change only under the commit mutex, which is held.
Result<void> Journal::checkpoint_with_commit_lock() {
  static constexpr size_t kMost = 64;
  if (map_.block_count == 0) return {};
  std::unique_ptr<Buffer*[]> sorted(new (std::nothrow) Buffer*[checkpoint_count_ + 1]);
  if (!sorted)
    return used_ + kLargestTransaction > capacity() ? fail(Errno::kNoMem) : Result<void>();
  size_t count = 0;
  for (Buffer& buffer : checkpoint_) sorted[count++] = &buffer;
  std::sort(sorted.get(), sorted.get() + count,
            [](const Buffer* a, const Buffer* b) { return a->block_ < b->block_; });
  auto write_home = [&]() -> Result<void> {
    std::array<BlockDevice::Segment, kMost> segments;
    for (size_t i = 0; i < count;) {
      size_t run = 0;
      do {
        segments[run] = {sorted[i + run]->checkpoint_->physical(), disk_.block_size()};
        ++run;
      } while (i + run < count && run < kMost &&
               sorted[i + run]->block_ == sorted[i]->block_ + run);
      ARIL_TRY(disk_.write(sorted[i]->block_, std::span(segments).first(run)));
      i += run;
    }
    ARIL_TRY(disk_.flush());
    // The log's old blocks are overwritten only when nobody would replay them any more.
    head_.superblock.start = write_at_;
    head_.superblock.sequence = committed_id() + 1;
    ARIL_TRY(write_journal_head(disk_, map_, head_));
    return disk_.flush();
  };
  if (!write_home()) {
    abort("metadata cannot be written");
    return fail(Errno::kIo);
  }
  used_ = 0;
  LockGuard hold(lock_);
  while (Buffer* buffer = checkpoint_.pop_front()) buffer->checkpoint_.reset();
  checkpoint_count_ = 0;
  return {};
}

Result<void> Journal::close() {
  LockGuard commit_guard(commit_mutex_);
  if (!is_open_) return {};
  ARIL_TRY(commit_running());
  if (map_.block_count == 0) return {};
  ARIL_TRY(checkpoint_with_commit_lock());
  head_.superblock.start = 0;
  ARIL_TRY(write_journal_head(disk_, map_, head_));
  ARIL_TRY(disk_.flush());
  is_open_ = false;
  return {};
}

}  // namespace aril::ext4
