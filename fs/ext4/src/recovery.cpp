#include <algorithm>
#include <array>
#include <cstring>
#include <map>

#include "checksum.hpp"
#include "journal.hpp"
#include "kernel/log/log.hpp"

namespace aril::ext4 {
namespace {

constexpr const char* kComponent = "ext4";
constexpr size_t kUuidSize = 16;
/// [journal.rst] JBD2_MIN_JOURNAL_BLOCKS: what one transaction may need at most is far below.
constexpr uint32_t kFewestBlocks = 1024;
constexpr uint32_t kServed = jbd2::kIncompatRevoke | jbd2::kIncompat64Bit |
                             jbd2::kIncompatAsyncCommit | jbd2::kIncompatChecksumV2 |
                             jbd2::kIncompatChecksumV3;

uint32_t superblock_checksum(const jbd2::Superblock& superblock) {
  jbd2::Superblock copy = superblock;
  copy.checksum = 0;
  return crc32c_of(kCrcStart, copy);
}

bool has_checksums(uint32_t features) {
  return (features & (jbd2::kIncompatChecksumV2 | jbd2::kIncompatChecksumV3)) != 0;
}

/// `a` is before `b`, in numbers that wrap.
bool is_before(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) < 0; }

/// One tag of a descriptor block.
struct TagView {
  uint64_t block;
  uint32_t flags, checksum;
};

/// The log from its tail on, three times: to find its end, to collect what is revoked, to replay.
class Recovery {
 public:
  Recovery(const Disk& disk, const JournalMap& map, JournalHead& head)
      : disk_(disk),
        map_(map),
        head_(head),
        v3_(head.has(jbd2::kIncompatChecksumV3)),
        summed_(has_checksums(head.superblock.feature_incompat)) {}

  Result<uint64_t> run() {
    page_ = ARIL_TRY(page_allocator::allocate(page_allocator::Fill::kNone));
    data_ = ARIL_TRY(page_allocator::allocate(page_allocator::Fill::kNone));
    end_ = head_.superblock.sequence;
    for (Pass pass : {Pass::kScan, Pass::kRevoke, Pass::kReplay}) ARIL_TRY(walk(pass));
    if (checksum_failed_) {
      ARIL_LOG_ERROR(kComponent, "the journal has a block with a wrong checksum");
      return fail(Errno::kIo);
    }
    ARIL_TRY(disk_.flush());
    // One number is skipped, so that nothing of the old log can be taken for the new one.
    head_.superblock.start = 0;
    head_.superblock.sequence = end_ + 1;
    ARIL_TRY(write_journal_head(disk_, map_, head_));
    ARIL_TRY(disk_.flush());
    return replayed_;
  }

 private:
  enum class Pass : uint8_t { kScan, kRevoke, kReplay };

  [[nodiscard]] std::span<const std::byte> block() const {
    return page_->bytes().first(disk_.block_size());
  }
  [[nodiscard]] uint32_t next(uint32_t at) const {
    return at + 1 >= map_.block_count ? uint32_t{head_.superblock.first} : at + 1;
  }
  Result<void> read(uint32_t at, Page& page) {
    uint32_t contiguous;
    return disk_.read_block(map_.locate(at, contiguous), page);
  }

  Result<void> walk(Pass pass) {
    uint32_t at = head_.superblock.start;
    uint32_t id = head_.superblock.sequence;
    // Nothing is longer than once round the log.
    uint32_t budget = map_.block_count;
    while (budget-- > 0) {
      if (pass != Pass::kScan && !is_before(id, end_)) return {};
      ARIL_TRY(read(at, *page_));
      jbd2::Header header;
      std::memcpy(&header, page_->data(), sizeof header);
      if (header.magic != jbd2::kMagic || header.sequence != id) break;
      at = next(at);
      if (header.type == jbd2::kDescriptor) {
        if (summed_ && !tail_matches()) break;
        uint32_t blocks = 0;
        ARIL_TRY(pass == Pass::kReplay ? replay(at, id, blocks) : count_tags(blocks));
        if (blocks >= budget) break;
        budget -= blocks;
        for (; blocks > 0; --blocks) at = next(at);
      } else if (header.type == jbd2::kRevoke) {
        if (summed_ && !tail_matches()) break;
        if (pass == Pass::kRevoke) ARIL_TRY(note_revokes(id));
      } else if (header.type == jbd2::kCommit) {
        if (summed_ && !commit_matches()) break;
        ++id;
        if (pass == Pass::kScan) end_ = id;
      } else {
        break;
      }
    }
    return {};
  }

  bool tail_matches() {
    size_t at = disk_.block_size() - sizeof(jbd2::BlockTail);
    jbd2::BlockTail tail;
    std::memcpy(&tail, page_->data() + at, sizeof tail);
    std::memset(page_->data() + at, 0, sizeof tail);
    return crc32c(head_.seed, block()) == tail.checksum;
  }
  bool commit_matches() {
    auto* commit = reinterpret_cast<jbd2::CommitBlock*>(page_->data());
    uint32_t expected = commit->checksum[0];
    commit->checksum[0] = 0;
    return crc32c(head_.seed, block()) == expected;
  }

  /// Calls visit(tag) for each tag of the descriptor in page_.
  template <typename Visit>
  Result<void> for_each_tag(Visit visit) {
    bool wide = head_.has(jbd2::kIncompat64Bit);
    size_t tag_size = v3_ ? sizeof(jbd2::Tag3)
                          : (wide ? 12u : 8u) + (head_.has(jbd2::kIncompatChecksumV2) ? 2u : 0u);
    size_t end = disk_.block_size() - (summed_ ? sizeof(jbd2::BlockTail) : 0);
    size_t at = sizeof(jbd2::Header);
    while (at + tag_size <= end) {
      TagView view{};
      if (v3_) {
        jbd2::Tag3 tag;
        std::memcpy(&tag, page_->data() + at, sizeof tag);
        view = {tag.block | uint64_t{wide ? uint32_t{tag.block_hi} : 0} << 32, tag.flags,
                tag.checksum};
      } else {
        jbd2::Tag tag{};
        std::memcpy(&tag, page_->data() + at, std::min(tag_size, sizeof tag));
        view = {tag.block | uint64_t{wide ? uint32_t{tag.block_hi} : 0} << 32, tag.flags,
                tag.checksum};
      }
      at += tag_size;
      if ((view.flags & jbd2::kTagSameUuid) == 0) at += kUuidSize;
      ARIL_TRY(visit(view));
      if ((view.flags & jbd2::kTagLast) != 0) break;
    }
    return {};
  }

  Result<void> count_tags(uint32_t& count) {
    return for_each_tag([&](const TagView&) -> Result<void> {
      ++count;
      return {};
    });
  }

  Result<void> replay(uint32_t at, uint32_t id, uint32_t& count) {
    uint32_t id_seed = crc32c_of(head_.seed, jbd2::Be32(id));
    return for_each_tag([&](const TagView& tag) -> Result<void> {
      ++count;
      uint32_t from = at;
      at = next(at);
      auto revoked = revoked_.find(tag.block);
      if (revoked != revoked_.end() && !is_before(revoked->second, id)) return {};
      ARIL_TRY(read(from, *data_));
      auto bytes = data_->bytes().first(disk_.block_size());
      if (summed_) {
        uint32_t sum = crc32c(id_seed, bytes);
        if (v3_ ? sum != tag.checksum : (sum & 0xffff) != tag.checksum) {
          // As Linux does: this block is not replayed, the rest is, and the mount fails.
          checksum_failed_ = true;
          return {};
        }
      }
      if ((tag.flags & jbd2::kTagEscaped) != 0) {
        jbd2::Be32 magic = jbd2::kMagic;
        std::memcpy(data_->data(), &magic, sizeof magic);
      }
      if (tag.block >= disk_.block_count()) return fail(Errno::kIo);
      ARIL_TRY(disk_.write_block(tag.block, *data_));
      ++replayed_;
      return {};
    });
  }

  Result<void> note_revokes(uint32_t id) {
    jbd2::RevokeHeader header;
    std::memcpy(&header, page_->data(), sizeof header);
    size_t entry = head_.has(jbd2::kIncompat64Bit) ? 8 : 4;
    if (header.bytes < sizeof header || header.bytes > disk_.block_size()) return fail(Errno::kIo);
    for (size_t at = sizeof header; at + entry <= header.bytes; at += entry) {
      uint64_t number;
      if (entry == 8) {
        jbd2::Be64 wide;
        std::memcpy(&wide, page_->data() + at, sizeof wide);
        number = wide;
      } else {
        jbd2::Be32 narrow;
        std::memcpy(&narrow, page_->data() + at, sizeof narrow);
        number = narrow;
      }
      auto [place, added] = revoked_.try_emplace(number, id);
      if (!added && is_before(place->second, id)) place->second = id;
    }
    return {};
  }

  const Disk& disk_;
  const JournalMap& map_;
  JournalHead& head_;
  const bool v3_, summed_;
  PageRef page_, data_;
  uint32_t end_ = 0;  ///< the first transaction that is not complete
  std::map<uint64_t, uint32_t> revoked_;
  uint64_t replayed_ = 0;
  bool checksum_failed_ = false;
};

}  // namespace

uint64_t JournalMap::locate(uint32_t logical, uint32_t& contiguous) const {
  auto after = std::ranges::upper_bound(runs, logical, {}, &Run::logical);
  const Run& run = *(after - 1);
  contiguous = run.length - (logical - run.logical);
  return run.physical + (logical - run.logical);
}

Result<JournalHead> read_journal_head(const Disk& disk, const JournalMap& map) {
  PageRef page = ARIL_TRY(page_allocator::allocate(page_allocator::Fill::kNone));
  uint32_t contiguous;
  ARIL_TRY(disk.read_block(map.locate(0, contiguous), *page));
  JournalHead head{};
  std::memcpy(&head.superblock, page->data(), sizeof head.superblock);
  const jbd2::Superblock& superblock = head.superblock;
  if (superblock.header.magic != jbd2::kMagic || superblock.header.type != jbd2::kSuperblockV2 ||
      superblock.block_size != disk.block_size() || superblock.first == 0 ||
      superblock.block_count > map.block_count || superblock.first >= superblock.block_count ||
      superblock.block_count < kFewestBlocks ||
      (superblock.start != 0 &&
       (superblock.start < superblock.first || superblock.start >= superblock.block_count))) {
    ARIL_LOG_ERROR(kComponent, "the journal's superblock is broken: run e2fsck");
    return fail(Errno::kIo);
  }
  uint32_t incompat = superblock.feature_incompat;
  if ((incompat & ~kServed) != 0 || superblock.feature_ro_compat != 0) {
    const char* name = (incompat & jbd2::kIncompatFastCommit) != 0 ? " (fast_commit)" : "";
    ARIL_LOG_ERROR(kComponent, "the journal has features that are not served: 0x%x%s",
                   incompat & ~kServed, name);
    return fail(Errno::kOpNotSupp);
  }
  if (has_checksums(incompat) && (superblock.checksum_type != jbd2::kChecksumCrc32c ||
                                  superblock_checksum(superblock) != superblock.checksum)) {
    ARIL_LOG_ERROR(kComponent, "the journal's superblock has a wrong checksum: run e2fsck");
    return fail(Errno::kIo);
  }
  head.seed = crc32c(kCrcStart, std::as_bytes(std::span(superblock.uuid)));
  return head;
}

Result<void> write_journal_head(const Disk& disk, const JournalMap& map, JournalHead& head) {
  if (has_checksums(head.superblock.feature_incompat))
    head.superblock.checksum = superblock_checksum(head.superblock);
  PageRef page = ARIL_TRY(page_allocator::allocate(page_allocator::Fill::kZero));
  std::memcpy(page->data(), &head.superblock, sizeof head.superblock);
  uint32_t contiguous;
  return disk.write_block(map.locate(0, contiguous), *page);
}

Result<uint64_t> recover_journal(const Disk& disk, const JournalMap& map, JournalHead& head) {
  if (head.superblock.start == 0) return 0;
  return Recovery(disk, map, head).run();
}

}  // namespace aril::ext4
