#pragma once
#include <cstdint>
#include <string>

#include "fs/vfs/dentry.hpp"
#include "fs/vfs/inode.hpp"
#include "fs/vfs/path.hpp"
#include "kernel/io/file.hpp"
#include "kernel/sched/mutex.hpp"

namespace aril::vfs {

struct LookupContext;

/// An open file that has a place in the tree: base of everything that open(2) returns, FIFOs and
/// terminals of other layers included.
class NodeFile : public File {
 public:
  NodeFile(Path path, OpenFlags flags);
  ~NodeFile() override;

  [[nodiscard]] const Path& path() const { return path_; }
  [[nodiscard]] Inode& inode() const { return path_.inode(); }

  Result<FileStatus> status() override;
  /// The path from the machine's root.
  [[nodiscard]] std::string description() const override;
  void* facet(const void* tag) override;
  Result<void> sync() override;
  Result<void> sync_data() override;

  /// Directory entries from the current position on (getdents64). kNotDir.
  virtual Result<void> read_directory(DirectoryEmitter& emitter);
  /// ftruncate: kInval unless a regular file open for writing.
  virtual Result<void> truncate(uint64_t size);
  /// fallocate(2)'s mode.
  virtual Result<void> allocate(uint32_t mode, uint64_t offset, uint64_t length);

  /// Once, after open(2) for writing: kTxtBsy while the file is being executed.
  Result<void> claim_writing();

 private:
  Path path_;
  bool is_writer_ = false;
};

/// Keeps a program's file from being opened for writing while it runs.
class Execution {
 public:
  Execution() = default;
  /// kTxtBsy while it is open for writing.
  static Result<Execution> begin(Inode& program);
  Execution(Execution&& other) noexcept : program_(std::move(other.program_)) {}
  Execution& operator=(Execution&& other) noexcept {
    std::swap(program_, other.program_);
    return *this;
  }
  ~Execution();

 private:
  explicit Execution(RefPtr<Inode> program) : program_(std::move(program)) {}
  RefPtr<Inode> program_;
};

/// The file as a NodeFile, or null: pipes, sockets and event files have no place.
NodeFile* as_node_file(File& file);
/// Its place, or null. For dirfds, fchdir, fchmod, fstatfs, AT_EMPTY_PATH.
const Path* path_of(File& file);

/// An open regular file.
class OpenFile : public NodeFile {
 public:
  OpenFile(Path path, OpenFlags flags);
  ~OpenFile() override;

  Result<size_t> read(IoBuffer& buffer) override;
  Result<size_t> write(IoBuffer& buffer) override;
  Result<size_t> read_at(IoBuffer& buffer, uint64_t offset) override;
  Result<size_t> write_at(IoBuffer& buffer, uint64_t offset) override;
  Result<uint64_t> seek(int64_t offset, SeekOrigin origin) override;
  Result<RefPtr<MemoryObject>> memory_object() override;
  Result<void> truncate(uint64_t size) override;
  Result<void> allocate(uint32_t mode, uint64_t offset, uint64_t length) override;

 private:
  Result<size_t> write_locked(IoBuffer& buffer, uint64_t offset);
  /// What O_SYNC and O_DSYNC ask for, after a write that took `written` bytes.
  Result<size_t> synced(Result<size_t> written);
  /// Linux's f_pos_lock: reads, writes and seeks at the position are atomic to each other.
  Mutex position_mutex_{LockRank::kFilePosition};
  uint64_t position_ = 0;
};

/// An open directory.
class DirectoryFile final : public NodeFile {
 public:
  DirectoryFile(Path path, OpenFlags flags);
  Result<size_t> read(IoBuffer& buffer) override;
  Result<uint64_t> seek(int64_t offset, SeekOrigin origin) override;
  Result<void> read_directory(DirectoryEmitter& emitter) override;

 private:
  Mutex position_mutex_;
  uint64_t position_ = 0;
};

/// O_PATH: names a place and can do nothing else.
class PathOnlyFile final : public NodeFile {
 public:
  using NodeFile::NodeFile;
  Result<uint64_t> seek(int64_t offset, SeekOrigin origin) override;
};

/// Copies from the page cache to another file (sendfile): calls write on `out` with page contents
/// in place. `out` must not be a regular file of the same inode. Count, as sendfile(2).
Result<size_t> send_pages(File& in, uint64_t offset, size_t count, File& out);

}  // namespace aril::vfs
