#pragma once
#include <atomic>
#include <cstdint>
#include <span>
#include <string>

#include "base/flags.hpp"
#include "base/poll_events.hpp"
#include "base/ref_ptr.hpp"
#include "base/result.hpp"
#include "kernel/sched/wait_queue.hpp"
#include "kernel/vm/io_buffer.hpp"
#include "kernel/vm/memory_object.hpp"
#include "kernel/vm/user_copy.hpp"

namespace aril {

/// Told by a file which queues announce changes of its poll state.
class PollRegistrar {
 public:
  virtual ~PollRegistrar() = default;
  /// The queue lives as long as the file.
  virtual void watch(WaitQueue& queue) = 0;
};

/// O_* flags that belong to an open file description [open(2)]; x86-64 Linux values.
enum class OpenFlags : uint32_t {
  kReadOnly = 0,
  kWriteOnly = 1,
  kReadWrite = 2,
  kAccessMask = 3,
  kCreate = 0100,
  kExclusive = 0200,
  kNoCtty = 0400,
  kTruncate = 01000,
  kAppend = 02000,
  kNonBlock = 04000,
  kDataSync = 010000,
  kAsync = 020000,
  kDirect = 040000,
  kLargeFile = 0100000,
  kDirectory = 0200000,
  kNoFollow = 0400000,
  kNoAtime = 01000000,
  kCloseOnExec = 02000000,
  kSync = 04010000,
  kPath = 010000000,
  kTmpFile = 020200000,
};
ARIL_FLAG_OPERATORS(OpenFlags);

/// As struct stat and statx need it; linux/ lays it out.
struct FileStatus {
  uint64_t device = 0, inode = 0, link_count = 1;
  uint32_t mode = 0;  ///< S_IF* | permissions
  uint32_t uid = 0, gid = 0;
  uint64_t special_device = 0, size = 0, block_size = 4096, blocks_512 = 0;
  int64_t access_ns = 0, modify_ns = 0, change_ns = 0, birth_ns = 0;  ///< since 1970
};

enum class SeekOrigin : uint8_t { kSet = 0, kCurrent = 1, kEnd = 2, kData = 3, kHole = 4 };

class File;

/// Whoever refers to a file without owning it (epoll registrations). Made at the first
/// registration, it stays with the file until the end.
class FileWatchers {
 public:
  virtual ~FileWatchers() = default;
  /// The last reference is gone and nothing is destroyed yet: forget the file. Thread context, may
  /// sleep. Deletes itself.
  virtual void file_released(File& file) = 0;
};

/// An open file description: what descriptors refer to. Regular files and directories (fs/vfs),
/// pipes, sockets, eventfd, epoll, terminals... derive from it. Reference-counted: the destructor
/// is the last close. Methods lock what they need; any thread.
class File : public RefCounted {
 public:
  explicit File(OpenFlags flags) : flags_(flags) {}
  virtual ~File() = default;
  /// Called by the last RefPtr, before the destructors. The holder has no lock of rank kEpoll or
  /// above.
  void before_destruction() {
    // Acquire pairs with set_watchers' release.
    if (FileWatchers* watchers = watchers_.load(std::memory_order_acquire)) {
      watchers->file_released(*this);
    }
  }
  /// For the owner of `FileWatchers`, under its own lock.
  [[nodiscard]] FileWatchers* watchers() const { return watchers_.load(std::memory_order_acquire); }
  void set_watchers(FileWatchers* watchers) {
    watchers_.store(watchers, std::memory_order_release);
  }

  /// At the current position for seekable files. Count; 0 is end of file. kAgain when
  /// non-blocking and nothing is there; kRestart when interrupted before any byte moved.
  virtual Result<size_t> read(IoBuffer& buffer);
  virtual Result<size_t> write(IoBuffer& buffer);
  /// kSPipe unless seekable. The position is not moved.
  virtual Result<size_t> read_at(IoBuffer& buffer, uint64_t offset);
  virtual Result<size_t> write_at(IoBuffer& buffer, uint64_t offset);
  virtual Result<uint64_t> seek(int64_t offset, SeekOrigin origin);

  /// The events that hold now; registers with `registrar` (may be null) first, so that no change
  /// is missed in between. Default: always readable and writable.
  virtual PollEvents poll(PollRegistrar* registrar);
  /// epoll accepts it (not regular files or directories).
  [[nodiscard]] virtual bool is_pollable() const { return false; }

  virtual Result<int64_t> ioctl(uint32_t request, uint64_t argument);
  virtual Result<FileStatus> status();
  /// For a mapping; kNoDev when it cannot be mapped.
  virtual Result<RefPtr<MemoryObject>> memory_object();
  virtual Result<void> sync();                         ///< fsync
  virtual Result<void> sync_data() { return sync(); }  ///< fdatasync
  /// Called at each close(2) of a descriptor (not at the last reference): releases POSIX locks.
  virtual void flush() {}
  /// A write that fails with kPipe sends SIGPIPE to the writer: pipes and stream sockets.
  [[nodiscard]] virtual bool raises_broken_pipe() const { return false; }
  /// This file as an object of the layer that `tag` (the address of a constant of that layer)
  /// stands for, or null: in place of RTTI. fs/vfs answers with its NodeFile.
  virtual void* facet(const void* tag) {
    (void)tag;
    return nullptr;
  }
  /// What /proc/self/fd/N shows: "pipe:[7]", "socket:[8]", a path.
  [[nodiscard]] virtual std::string description() const { return "anon_inode:[file]"; }

  [[nodiscard]] OpenFlags flags() const { return flags_; }
  /// fcntl F_SETFL: only kAppend, kNonBlock, kAsync, kDirect, kNoAtime change.
  virtual Result<void> set_flags(OpenFlags flags);
  [[nodiscard]] bool is_nonblocking() const { return has(flags_, OpenFlags::kNonBlock); }
  [[nodiscard]] bool is_readable() const {
    return (flags_ & OpenFlags::kAccessMask) != OpenFlags::kWriteOnly &&
           !has(flags_, OpenFlags::kPath);
  }
  [[nodiscard]] bool is_writable() const {
    return (flags_ & OpenFlags::kAccessMask) != OpenFlags::kReadOnly &&
           !has(flags_, OpenFlags::kPath);
  }

 protected:
  OpenFlags flags_;

 private:
  std::atomic<FileWatchers*> watchers_{nullptr};
};

}  // namespace aril
