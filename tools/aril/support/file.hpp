#pragma once
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace aril::tool {

/// An open file descriptor, closed at the end.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset();

 private:
  int fd_ = -1;
};

/// A file's bytes, mapped read-only for as long as the object lives. Empty files map to no bytes.
class MappedFile {
 public:
  /// Throws Error naming the path when it cannot be opened or is not a regular file.
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  MappedFile& operator=(MappedFile&&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

/// A private directory (mode 0700) that is removed with all its content at the end.
class TemporaryDirectory {
 public:
  /// Makes it inside `parent`, which must exist.
  explicit TemporaryDirectory(const std::filesystem::path& parent);
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory();

  const std::filesystem::path& path() const { return path_; }
  /// Leaves it on disk.
  void keep() { kept_ = true; }

 private:
  std::filesystem::path path_;
  bool kept_ = false;
};

/// Whole content of a file; works for /proc too. Throws Error.
std::string read_file(const std::filesystem::path& path);

/// Writes all of `content` to `fd`. Throws Error naming `name`.
void write_all(int fd, std::span<const std::byte> content, const std::string& name);
inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

/// Creates or replaces a file.
void write_file(const std::filesystem::path& path, std::string_view content);

/// Copies from `source` to `target` at their current offsets until the end of `source`, inside the
/// kernel, sharing blocks where the file system can.
void copy_content(int source, int target, const std::string& name);

/// The first `limit` bytes of a file, fewer when it is shorter; empty when it cannot be read.
std::string read_prefix(const std::filesystem::path& path, size_t limit);

/// $XDG_CACHE_HOME/aril or ~/.cache/aril or a directory in /tmp named by the user; made when it is
/// missing. Throws Error when it cannot be, or belongs to somebody else.
std::filesystem::path cache_directory();

/// Directory of the running executable.
std::filesystem::path executable_directory();

}  // namespace aril::tool
