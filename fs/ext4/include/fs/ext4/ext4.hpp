#pragma once
#include <string_view>

#include "fs/vfs/file_system.hpp"
#include "kernel/io/devices.hpp"

namespace aril::ext4 {

class Volume;

/// An ext4 file system on a disk [Linux Documentation/filesystems/ext4]: what mkfs.ext4 makes by
/// default, with blocks of 1 to 4 KiB. Metadata is journalled (data=ordered), checksums are checked
/// whenever something is read from the disk and made when it is written. Nothing on the disk is
/// trusted: what makes no sense gives kIo and a line in the log.
///
/// Not served, and refused with the feature's name: bigalloc, casefold, encrypt, ea_inode,
/// inline_data, large_dir, mmp, quota, verity, a journal on another disk; files with the block maps
/// of ext2 and ext3 can be named, not read.
class Ext4 final : public vfs::FileSystem {
 public:
  static constexpr uint64_t kMagic = 0xEF53;
  enum class Access : uint8_t { kReadOnly, kReadWrite };

  /// Replays the journal and completes what was under way when the machine last ended. The disk
  /// outlives the file system, and nobody else writes to it. kInval when there is no ext4 on it,
  /// kOpNotSupp for features that are not served, kRoFs when it cannot be mounted without writing,
  /// kIo, kNoMem; the log says what.
  static Result<RefPtr<Ext4>> mount(BlockDevice& device, Access access);
  ~Ext4() override;

  /// Writes everything out and marks the file system clean. What comes after fails with kRoFs.
  Result<void> unmount();

  [[nodiscard]] std::string_view type_name() const override { return "ext4"; }
  vfs::FileSystemStatus status() override;
  /// Everything that was changed before the call is on stable storage when it returns.
  Result<void> sync() override;
  /// Names and attributes changed so far, and data written out so far: what happens every few
  /// seconds anyway.
  Result<void> commit();
  [[nodiscard]] bool is_read_only() const override;
  [[nodiscard]] Volume& volume() const { return *volume_; }

 private:
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  explicit Ext4(RefPtr<Volume> volume);

  const RefPtr<Volume> volume_;
};

}  // namespace aril::ext4
