#pragma once
#include <cstdint>
#include <memory>
#include <utility>

#include "kernel/io/file.hpp"
#include "kernel/memory/page.hpp"
#include "kernel/sched/mutex.hpp"

namespace aril::linux_abi {

/// The buffer between the ends of a pipe or FIFO [pipe(7)]: up to `slots` pages with data, filled
/// at the back and drained at the front. Ends count themselves in and out. Any thread.
class Pipe final : public RefCounted {
 public:
  static constexpr size_t kAtomicSize = kPageSize;  ///< PIPE_BUF
  static constexpr unsigned kDefaultSlots = 16;
  static constexpr unsigned kMaxSlots = 256;  ///< 1 MiB, /proc/sys/fs/pipe-max-size

  static Result<RefPtr<Pipe>> create();

  enum class Blocking : uint8_t { kNo, kYes };
  /// Takes what is there, waiting for the first byte; 0 when it is empty and no writer is left.
  Result<size_t> read(IoBuffer& buffer, Blocking blocking);
  /// All of the buffer, in one piece when it is at most kAtomicSize; a part when non-blocking or
  /// interrupted. kPipe without readers.
  Result<size_t> write(IoBuffer& buffer, Blocking blocking);
  /// Shares up to `count` bytes of what is there with `target`, leaving them here (tee). kAgain,
  /// 0 as read().
  Result<size_t> tee(Pipe& target, size_t count);

  void add_reader();
  void add_writer();
  void remove_reader();
  void remove_writer();
  /// FIFO opens: returns when an end of the other kind is open or was opened since.
  Result<void> wait_for_writer();
  Result<void> wait_for_reader();
  [[nodiscard]] bool has_reader();

  enum class Side : uint8_t { kReader = 1, kWriter = 2, kBoth = 3 };
  PollEvents poll(Side side, PollRegistrar* registrar);
  [[nodiscard]] size_t readable_bytes();
  [[nodiscard]] size_t capacity();
  /// F_SETPIPE_SZ; the capacity in force. kInval, kPerm above kMaxSlots, kBusy when the data does
  /// not fit.
  Result<size_t> set_capacity(size_t bytes);
  Result<int64_t> ioctl(uint32_t request, uint64_t argument);

 private:
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  Pipe() = default;

  struct Slot {
    PageRef page;
    uint32_t offset = 0;
    uint32_t length = 0;
    bool shared = false;  // by tee: must not be appended to
  };
  [[nodiscard]] Slot& slot_locked(unsigned index) { return slots_[(first_ + index) % slot_count_]; }
  [[nodiscard]] size_t room_locked();
  Result<size_t> drain_locked(IoBuffer& buffer);
  Result<size_t> fill_locked(IoBuffer& buffer);
  Result<size_t> append_locked(IoBuffer& buffer);
  void pop_locked();

  Mutex mutex_{LockRank::kSocket};
  WaitQueue readers_queue_;  // something to read, or no writers any more
  WaitQueue writers_queue_;  // room to write, or no readers any more
  std::unique_ptr<Slot[]> slots_;
  unsigned slot_count_ = 0;
  unsigned first_ = 0, used_ = 0;
  size_t bytes_ = 0;
  unsigned readers_ = 0, writers_ = 0;
  uint64_t readers_ever_ = 0, writers_ever_ = 0;
};

/// One end of an anonymous pipe.
class PipeEnd final : public File {
 public:
  PipeEnd(RefPtr<Pipe> pipe, Pipe::Side side, OpenFlags flags, uint64_t inode);
  ~PipeEnd() override;

  Result<size_t> read(IoBuffer& buffer) override;
  Result<size_t> write(IoBuffer& buffer) override;
  PollEvents poll(PollRegistrar* registrar) override { return pipe_->poll(side_, registrar); }
  [[nodiscard]] bool is_pollable() const override { return true; }
  Result<int64_t> ioctl(uint32_t request, uint64_t argument) override {
    return pipe_->ioctl(request, argument);
  }
  Result<FileStatus> status() override;
  [[nodiscard]] bool raises_broken_pipe() const override { return true; }
  [[nodiscard]] std::string description() const override;
  void* facet(const void* tag) override;

 private:
  RefPtr<Pipe> pipe_;
  Pipe::Side side_;
  uint64_t inode_;
};

/// The facet tag of files that are an end of a Pipe; see File::facet.
extern const char kPipeFacet;
/// The pipe behind a file (anonymous or FIFO), or null.
Pipe* as_pipe(File& file);

/// pipe2: the reading and the writing end. `flags`: kNonBlock, kDirect (packets) is refused before.
Result<std::pair<RefPtr<File>, RefPtr<File>>> make_pipe(OpenFlags flags);

/// Serves FIFOs in the file system; once at start-up, by the platform.
void register_fifo();

}  // namespace aril::linux_abi
