#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "buffer_cache.hpp"
#include "journal_format.hpp"
#include "kernel/sched/mutex.hpp"

namespace aril::ext4 {

/// Where the journal's blocks lie: consecutive pieces of the disk.
struct JournalMap {
  struct Run {
    uint64_t physical;
    uint32_t logical, length;
  };
  std::vector<Run> runs;
  uint32_t block_count = 0;
  /// The run that holds `logical`, which is below block_count, and how many blocks follow in it.
  [[nodiscard]] uint64_t locate(uint32_t logical, uint32_t& contiguous) const;
};

/// The journal's superblock as it was read, checked.
struct JournalHead {
  jbd2::Superblock superblock;
  uint32_t seed = 0;  ///< of checksums
  [[nodiscard]] bool has(uint32_t incompat) const {
    return (superblock.feature_incompat & incompat) != 0;
  }
};
/// kIo for a broken one; kOpNotSupp, with a log line, for features that are not served.
Result<JournalHead> read_journal_head(const Disk& disk, const JournalMap& map);
Result<void> write_journal_head(const Disk& disk, const JournalMap& map, JournalHead& head);

/// Replays what the journal holds: every transaction whose commit is complete and whose checksums
/// hold, minus revoked blocks. Afterwards `head` says that the journal is empty, on the disk too.
/// The number of blocks that were replayed. kIo, kNoMem.
Result<uint64_t> recover_journal(const Disk& disk, const JournalMap& map, JournalHead& head);

/// What the journal's owner does around a commit.
class JournalClient {
 public:
  virtual ~JournalClient() = default;
  /// The running transaction is about to be closed: put pending changes into it. Under the lock.
  virtual void before_close() = 0;
  /// It was closed. Under the lock, just after before_close().
  virtual void on_closed() = 0;
  /// The closed transaction is on stable storage. Under the lock.
  virtual void on_committed() = 0;
  /// Makes a block's checksum fit its contents.
  virtual void seal_block(Buffer& buffer, std::byte* data) = 0;
  /// The journal cannot go on. The lock is held or not.
  virtual void on_journal_failed(const char* what) = 0;
};

/// Makes changes of several metadata blocks atomic [journal.rst]: jbd2's format, with version-3
/// checksums where the file system has them.
///
/// Life cycle: open (the journal is empty: recover_journal first) -> operations and commits ->
/// close(). One transaction is running: operations put blocks into it under the volume's lock,
/// one operation at a time, so that between two operations it is consistent and may be closed at
/// any time. A commit closes it, lets the lock go, and writes it out, while the next one already
/// runs. Data that a transaction's metadata refers to was written before the metadata was put in;
/// the flush before the commit record makes both stable.
///
/// Without a journal (a null map) commits write the blocks home: complete, but not atomic.
class Journal {
 public:
  /// `lock`: the volume's.
  Journal(Disk& disk, BufferCache& buffers, Mutex& lock, JournalClient& client)
      : disk_(disk), buffers_(buffers), lock_(lock), client_(client) {}
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  Result<void> open(JournalMap map, const JournalHead& head);
  void open_without_journal() { is_open_ = true; }
  /// Commits, checkpoints, and marks the journal empty.
  Result<void> close();

  // Under the volume's lock.
  /// The block's contents, to be changed as part of the running transaction. The pointer is good
  /// until the lock is let go. Earlier pointers to the same buffer's data are stale. kNoMem, kRoFs.
  Result<std::byte*> modify(const BufferRef& buffer);
  /// A block of metadata is free now. It must not be used again before on_committed().
  Result<void> revoke(uint64_t block);
  /// Blocks that the running transaction may still take in before it must be committed.
  [[nodiscard]] bool has_room(unsigned credits) const { return running_count_ + credits <= limit_; }
  /// Counts calls of modify() and revoke().
  [[nodiscard]] uint64_t changes() const { return changes_; }
  [[nodiscard]] bool is_running_empty() const { return running_count_ == 0 && revoked_.empty(); }
  [[nodiscard]] uint32_t running_id() const { return running_id_; }

  // Without it.
  /// Returns when the transaction `id`, and with it all earlier ones and all data written before
  /// the call, are on stable storage. Any number of threads: one writes for all that wait.
  Result<void> commit(uint32_t id);
  /// The newest transaction that is on stable storage. Any time.
  [[nodiscard]] uint32_t committed_id() const {
    return committed_id_.load(std::memory_order_acquire);
  }
  [[nodiscard]] bool is_committed(uint32_t id) const {
    return static_cast<int32_t>(committed_id() - id) >= 0;
  }
  /// Writes what the journal holds to its home and empties the journal.
  Result<void> checkpoint();
  [[nodiscard]] bool has_failed() const { return failed_.load(std::memory_order_relaxed); }
  /// No commit and no checkpoint happens any more.
  void abort(const char* what);

 private:
  using RunningList = IntrusiveList<Buffer, &Buffer::running_node_>;
  using CommittingList = IntrusiveList<Buffer, &Buffer::committing_node_>;
  using CheckpointList = IntrusiveList<Buffer, &Buffer::checkpoint_node_>;
  class LogWriter;

  Result<void> commit_running();
  void close_running_locked();
  Result<void> write_transaction();
  Result<void> write_revokes(LogWriter& writer);
  Result<void> write_blocks(LogWriter& writer);
  Result<void> write_commit_record(LogWriter& writer);
  Result<void> write_home_directly();
  void finish_committing_locked();
  Result<void> checkpoint_with_commit_lock();
  [[nodiscard]] uint32_t capacity() const { return map_.block_count - first_; }
  [[nodiscard]] uint32_t blocks_needed() const;
  [[nodiscard]] size_t tags_per_block() const;
  [[nodiscard]] bool has(uint32_t incompat) const { return head_.has(incompat); }

  Disk& disk_;
  BufferCache& buffers_;
  Mutex& lock_;
  JournalClient& client_;
  bool is_open_ = false;
  std::atomic<bool> failed_{false};

  // Guarded by lock_.
  RunningList running_;
  unsigned running_count_ = 0;
  unsigned limit_ = 1024;
  uint32_t running_id_ = 1;
  uint64_t changes_ = 0;
  std::vector<uint64_t> revoked_;

  /// One commit or checkpoint at a time; guards what follows.
  Mutex commit_mutex_{LockRank::kJournal};
  std::atomic<uint32_t> committed_id_{0};
  CommittingList committing_;
  unsigned committing_count_ = 0;
  uint32_t committing_id_ = 0;
  std::vector<uint64_t> committing_revoked_;
  CheckpointList checkpoint_;
  size_t checkpoint_count_ = 0;
  JournalMap map_;
  JournalHead head_{};
  uint32_t first_ = 1;
  uint32_t write_at_ = 1;  ///< the log block that is written next
  uint32_t used_ = 0;      ///< log blocks between the oldest live one and write_at_
};

}  // namespace aril::ext4
