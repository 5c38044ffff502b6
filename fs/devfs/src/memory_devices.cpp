#include <array>
#include <limits>

#include "devices.hpp"
#include "fs/devfs/devfs.hpp"
#include "fs/vfs/devices.hpp"
#include "kernel/random/random.hpp"
#include "kernel/vm/page_cache.hpp"

namespace aril::devfs {

size_t swallow(IoBuffer& buffer) {
  size_t count = buffer.remaining();
  buffer.truncate(0);
  return count;
}

namespace {

class NullFile final : public DeviceFile {
 public:
  using DeviceFile::DeviceFile;
  Result<size_t> read(IoBuffer&) override { return size_t{0}; }
  Result<size_t> write(IoBuffer& buffer) override { return swallow(buffer); }
};

class ZeroFile : public DeviceFile {
 public:
  using DeviceFile::DeviceFile;
  Result<size_t> read(IoBuffer& buffer) override { return buffer.zero_out(buffer.remaining()); }
  Result<size_t> write(IoBuffer& buffer) override { return swallow(buffer); }
  /// Memory of its own for each mapping [null(4)].
  Result<RefPtr<MemoryObject>> memory_object() override {
    static constexpr uint64_t kSize = std::numeric_limits<int64_t>::max();
    return ARIL_TRY(PageCache::create(nullptr, kSize, "/dev/zero"));
  }
};

class FullFile final : public ZeroFile {
 public:
  using ZeroFile::ZeroFile;
  Result<size_t> write(IoBuffer&) override { return fail(Errno::kNoSpc); }
};

class RandomFile final : public DeviceFile {
 public:
  using DeviceFile::DeviceFile;
  Result<size_t> read(IoBuffer& buffer) override {
    std::array<std::byte, 256> bytes;
    size_t total = 0;
    while (buffer.remaining() != 0) {
      auto piece = std::span(bytes).first(std::min(bytes.size(), buffer.remaining()));
      random::fill(piece);
      Result<size_t> copied = buffer.copy_out(piece);
      if (!copied) return total != 0 ? Result<size_t>(total) : copied;
      total += *copied;
      if (*copied < piece.size()) break;
    }
    return total;
  }
  /// Mixed in, but not counted as entropy [random(4)].
  Result<size_t> write(IoBuffer& buffer) override {
    std::array<std::byte, 256> bytes;
    size_t total = 0;
    while (buffer.remaining() != 0) {
      Result<size_t> copied = buffer.copy_in(bytes);
      if (!copied) return total != 0 ? Result<size_t>(total) : copied;
      random::add_entropy(std::span(bytes).first(*copied), 0);
      total += *copied;
    }
    return total;
  }
  [[nodiscard]] bool is_pollable() const override { return true; }
};

template <typename T>
Result<RefPtr<File>> open_as(const vfs::Path& path, OpenFlags flags) {
  return ARIL_TRY(try_make_ref<T>(path, flags));
}

}  // namespace

void register_memory_devices() {
  vfs::register_char_device(kMemoryMajor, 3, open_as<NullFile>);
  vfs::register_char_device(kMemoryMajor, 5, open_as<ZeroFile>);
  vfs::register_char_device(kMemoryMajor, 7, open_as<FullFile>);
  vfs::register_char_device(kMemoryMajor, 8, open_as<RandomFile>);
  vfs::register_char_device(kMemoryMajor, 9, open_as<RandomFile>);
  vfs::register_char_device(kMemoryMajor, 11, open_kmsg);
}

}  // namespace aril::devfs
