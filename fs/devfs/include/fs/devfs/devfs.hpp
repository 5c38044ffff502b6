#pragma once
#include <cstdint>
#include <string_view>

#include "fs/tmpfs/memory_inode.hpp"

namespace aril::devfs {

/// Device numbers [Linux Documentation/admin-guide/devices.txt].
inline constexpr uint32_t kMemoryMajor = 1;
inline constexpr uint32_t kTtyMajor = 5;  ///< minors: 0 tty, 1 console, 2 ptmx
inline constexpr uint32_t kPtsMajor = 136;

/// /dev: a file system in memory that starts out with the standard nodes and links, and the
/// directories pts and shm to mount on.
class Devfs final : public tmpfs::MemoryFileSystem {
 public:
  static Result<RefPtr<Devfs>> create();
  ~Devfs() override;
  [[nodiscard]] std::string_view type_name() const override { return "devtmpfs"; }

 private:
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  Devfs() : MemoryFileSystem(0, 0) {}
  Result<void> populate(vfs::Inode& root);
};

/// /dev/pts: nodes that whoever serves terminals adds and removes.
class DevPts final : public tmpfs::MemoryFileSystem {
 public:
  static Result<RefPtr<DevPts>> create();
  ~DevPts() override;
  [[nodiscard]] std::string_view type_name() const override { return "devpts"; }
  /// Adds "N", mode 0620, owned by these. kExist, kNoMem.
  Result<void> add_terminal(uint32_t number, uint32_t uid, uint32_t gid);
  void remove_terminal(uint32_t number);

 private:
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  DevPts() : MemoryFileSystem(0, 0) {}
};

/// Serves null, zero, full, random, urandom and kmsg. Once, at start-up.
void register_memory_devices();

}  // namespace aril::devfs
