#pragma once
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "arch/layout.hpp"
#include "kernel/io/devices.hpp"

namespace aril::ext4 {

/// A disk in memory with a write cache that a crash loses: writes count when they are flushed.
class TestDisk final : public BlockDevice {
 public:
  explicit TestDisk(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}

  uint64_t sector_count() const override { return bytes_.size() / kSectorSize; }
  bool is_read_only() const override { return read_only; }
  std::string_view name() const override { return "vdb"; }

  Result<void> read(uint64_t sector, std::span<const Segment> segments) override {
    ++reads;
    return transfer(sector, segments, [this](size_t at, std::byte* data, size_t length) {
      std::memcpy(data, bytes_.data() + at, length);
    });
  }
  Result<void> write(uint64_t sector, std::span<const Segment> segments) override {
    if (read_only) return fail(Errno::kRoFs);
    if (fails) return fail(Errno::kIo);
    ++writes;
    return transfer(sector, segments, [this](size_t at, std::byte* data, size_t length) {
      if (records) cached_.push_back({at, {bytes_.data() + at, bytes_.data() + at + length}});
      std::memcpy(bytes_.data() + at, data, length);
    });
  }
  Result<void> flush() override {
    if (fails) return fail(Errno::kIo);
    ++flushes;
    cached_.clear();
    return {};
  }

  /// What a machine would find that lost power now: of the writes that were not flushed, sector by
  /// sector, some have arrived.
  template <typename Random>
  std::vector<std::byte> after_crash(Random& random) const {
    std::vector<std::byte> image = bytes_;
    // Undone from the newest to the oldest; each holds what it overwrote.
    for (auto write = cached_.rbegin(); write != cached_.rend(); ++write) {
      for (size_t i = 0; i < write->before.size(); i += kSectorSize) {
        if (random() % 2 == 0)
          std::memcpy(image.data() + write->at + i, write->before.data() + i, kSectorSize);
      }
    }
    return image;
  }

  [[nodiscard]] std::vector<std::byte>& bytes() { return bytes_; }
  bool read_only = false, fails = false, records = false;
  unsigned reads = 0, writes = 0, flushes = 0;

 private:
  struct Write {
    size_t at;
    std::vector<std::byte> before;
  };
  template <typename Copy>
  Result<void> transfer(uint64_t sector, std::span<const Segment> segments, Copy copy) {
    if (sector > sector_count()) return fail(Errno::kInval);
    uint64_t at = sector * kSectorSize;
    for (const Segment& segment : segments) {
      if (segment.length > bytes_.size() - at) return fail(Errno::kInval);
      copy(at, arch::physical_to_virtual(segment.address), segment.length);
      at += segment.length;
    }
    return {};
  }

  std::vector<std::byte> bytes_;
  std::vector<Write> cached_;
};

/// Runs a command; its output is kept for the message of a failed test.
inline std::pair<int, std::string> run_command(const std::string& command) {
  std::string output;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return {-1, "popen"};
  char buffer[4096];
  while (size_t count = fread(buffer, 1, sizeof buffer, pipe)) output.append(buffer, count);
  int status = pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, output};
}

/// A file of the host for the real tools.
class ImageFile {
 public:
  ImageFile() {
    int fd = mkstemp(name_.data());
    if (fd >= 0) close(fd);
  }
  ~ImageFile() { std::filesystem::remove(name_); }
  ImageFile(const ImageFile&) = delete;
  ImageFile& operator=(const ImageFile&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }
  void store(const std::vector<std::byte>& bytes) const {
    std::ofstream stream(name_, std::ios::binary | std::ios::trunc);
    stream.write(reinterpret_cast<const char*>(bytes.data()),
                 static_cast<std::streamsize>(bytes.size()));
  }
  [[nodiscard]] std::vector<std::byte> load() const {
    std::vector<std::byte> bytes(std::filesystem::file_size(name_));
    std::ifstream stream(name_, std::ios::binary);
    stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return bytes;
  }

 private:
  std::string name_ = "/tmp/aril-ext4-XXXXXX";
};

/// What mkfs.ext4 makes; empty when it is not installed.
inline std::vector<std::byte> make_image(const std::string& size, const std::string& options = "") {
  ImageFile file;
  auto [status, text] = run_command("mkfs.ext4 -q -F -U 01234567-89ab-cdef-0123-456789abcdef " +
                                    options + " " + file.name() + " " + size);
  return status == 0 ? file.load() : std::vector<std::byte>();
}

/// What `e2fsck -fn` says of an image; empty when it is in order.
inline std::string check_image(const std::vector<std::byte>& bytes) {
  ImageFile file;
  file.store(bytes);
  auto [status, text] = run_command("e2fsck -fn " + file.name());
  return status == 0 ? std::string() : text;
}

}  // namespace aril::ext4
