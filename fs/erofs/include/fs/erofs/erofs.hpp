#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "fs/vfs/file_system.hpp"
#include "kernel/io/devices.hpp"

namespace aril::erofs {

class Volume;

/// A read-only EROFS image [Linux Documentation/filesystems/erofs.rst], uncompressed, with 4 KiB
/// blocks: what mkfs.erofs makes without options. Nothing in the image is trusted: sizes, offsets
/// and links are checked where they are used, and what is wrong gives kIo.
class Erofs final : public vfs::FileSystem {
 public:
  static constexpr uint64_t kMagic = 0xE0F5E1E2;

  /// An image in RAM (direct map), which stays for ever. Whole blocks of files are used in place
  /// when it is page-aligned. kInval when it is no EROFS image, kOpNotSupp when it uses features
  /// that are not served here; the log says which.
  static Result<RefPtr<Erofs>> open(std::span<const std::byte> image);
  /// An image on a disk, which outlives the file system.
  static Result<RefPtr<Erofs>> open(BlockDevice& device);
  ~Erofs() override;

  [[nodiscard]] std::string_view type_name() const override { return "erofs"; }
  vfs::FileSystemStatus status() override;
  [[nodiscard]] bool is_read_only() const override { return true; }

  [[nodiscard]] const RefPtr<Volume>& volume() const { return volume_; }

 private:
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  explicit Erofs(RefPtr<Volume> volume);
  static Result<RefPtr<Erofs>> open(RefPtr<Volume> volume);

  RefPtr<Volume> volume_;
};

}  // namespace aril::erofs
