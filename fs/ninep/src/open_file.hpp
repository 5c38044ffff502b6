#pragma once
#include "fs/vfs/open_file.hpp"
#include "inode.hpp"

namespace aril::ninep {

/// An open regular file: an open fid and a position.
class NinepFile final : public vfs::NodeFile {
 public:
  static Result<RefPtr<NinepFile>> create(const vfs::Path& path, OpenFlags flags);
  ~NinepFile() override;

  Result<size_t> read(IoBuffer& buffer) override;
  Result<size_t> write(IoBuffer& buffer) override;
  Result<size_t> read_at(IoBuffer& buffer, uint64_t offset) override;
  Result<size_t> write_at(IoBuffer& buffer, uint64_t offset) override;
  Result<uint64_t> seek(int64_t offset, SeekOrigin origin) override;
  Result<RefPtr<MemoryObject>> memory_object() override;
  Result<void> truncate(uint64_t size) override;
  Result<void> allocate(uint32_t mode, uint64_t offset, uint64_t length) override;
  Result<void> sync() override;

 private:
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  NinepFile(vfs::Path path, OpenFlags flags, RefPtr<Fid> fid)
      : NodeFile(std::move(path), flags), fid_(std::move(fid)) {}
  [[nodiscard]] NinepInode& node() const { return static_cast<NinepInode&>(inode()); }
  /// Where the next write goes; inode().mutex() held.
  Result<uint64_t> write_offset_locked(uint64_t offset);

  const RefPtr<Fid> fid_;
  Mutex position_mutex_{LockRank::kFilePosition};
  uint64_t position_ = 0;
};

/// An open directory. Offsets are the server's, which is asked as the program reads.
class NinepDirectory final : public vfs::NodeFile {
 public:
  static Result<RefPtr<NinepDirectory>> create(const vfs::Path& path, OpenFlags flags);

  Result<size_t> read(IoBuffer& buffer) override;
  Result<uint64_t> seek(int64_t offset, SeekOrigin origin) override;
  Result<void> read_directory(vfs::DirectoryEmitter& emitter) override;
  Result<void> sync() override;

 private:
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  NinepDirectory(vfs::Path path, OpenFlags flags, RefPtr<Fid> fid)
      : NodeFile(std::move(path), flags), fid_(std::move(fid)) {}
  [[nodiscard]] NinepInode& node() const { return static_cast<NinepInode&>(inode()); }

  const RefPtr<Fid> fid_;
  Mutex position_mutex_{LockRank::kFilePosition};
  uint64_t position_ = 0;
};

}  // namespace aril::ninep
