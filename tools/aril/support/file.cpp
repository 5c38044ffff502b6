#include "support/file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "support/error.hpp"

namespace aril::tool {

namespace fs = std::filesystem;

void Descriptor::reset() {
  if (fd_ >= 0) close(std::exchange(fd_, -1));
}

MappedFile::MappedFile(const fs::path& path) {
  const Descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) fail_with_errno(path.string(), errno);
  struct stat status = {};
  if (fstat(fd.get(), &status) != 0) fail_with_errno(path.string(), errno);
  if (!S_ISREG(status.st_mode)) {
    throw Error(std::format("{}: {}", path.string(),
                            S_ISDIR(status.st_mode) ? "is a directory" : "is not a regular file"));
  }
  const auto size = static_cast<size_t>(status.st_size);
  if (size == 0) return;
  void* address = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (address == MAP_FAILED) fail_with_errno(path.string(), errno);
  bytes_ = {static_cast<const std::byte*>(address), size};
}

MappedFile::~MappedFile() {
  // munmap takes a mutable pointer; the mapping itself was made read-only.
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

TemporaryDirectory::TemporaryDirectory(const fs::path& parent) {
  std::string name = (parent / "aril-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) {
    fail_with_errno(std::format("cannot make a directory in {}", parent.string()), errno);
  }
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  if (kept_) return;
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string read_file(const fs::path& path) {
  const Descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) fail_with_errno(path.string(), errno);
  std::string content;
  char buffer[65536];
  for (;;) {
    const ssize_t count = read(fd.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_with_errno(path.string(), errno);
    if (count == 0) return content;
    content.append(buffer, static_cast<size_t>(count));
  }
}

std::string read_prefix(const fs::path& path, size_t limit) {
  const Descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return {};
  std::string content(limit, '\0');
  const ssize_t count = read(fd.get(), content.data(), limit);
  content.resize(count > 0 ? static_cast<size_t>(count) : 0);
  return content;
}

void write_all(int fd, std::span<const std::byte> content, const std::string& name) {
  while (!content.empty()) {
    const ssize_t count = write(fd, content.data(), content.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_with_errno(name, errno);
    content = content.subspan(static_cast<size_t>(count));
  }
}

void write_file(const fs::path& path, std::string_view content) {
  const Descriptor fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd) fail_with_errno(path.string(), errno);
  write_all(fd.get(), bytes_of(content), path.string());
}

void copy_content(int source, int target, const std::string& name) {
  constexpr size_t kChunk = size_t{1} << 30;
  bool kernel_copies = true;
  std::string buffer;
  for (;;) {
    ssize_t count = 0;
    if (kernel_copies) {
      count = copy_file_range(source, nullptr, target, nullptr, kChunk, 0);
      if (count < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS ||
                        errno == EOPNOTSUPP || errno == EPERM)) {
        kernel_copies = false;
        buffer.resize(size_t{1} << 20);
        continue;
      }
    } else {
      count = read(source, buffer.data(), buffer.size());
      if (count > 0) write_all(target, bytes_of({buffer.data(), static_cast<size_t>(count)}), name);
    }
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_with_errno(std::format("cannot copy {}", name), errno);
    if (count == 0) return;
  }
}

fs::path cache_directory() {
  fs::path base;
  if (const char* xdg = getenv("XDG_CACHE_HOME"); xdg != nullptr && xdg[0] == '/') {
    base = fs::path(xdg) / "aril";
  } else if (const char* home = getenv("HOME"); home != nullptr && home[0] == '/') {
    base = fs::path(home) / ".cache" / "aril";
  } else {
    base = fs::path("/tmp") / std::format("aril-{}", getuid());
  }
  std::error_code error;
  fs::create_directories(base, error);
  // What lies in the cache is executed later: nobody else may be able to put anything there.
  struct stat status = {};
  if (stat(base.c_str(), &status) != 0) {
    throw Error(
        std::format("cannot make the cache directory {}: {}", base.string(), error.message()),
        "set XDG_CACHE_HOME to a directory that can be written");
  }
  if (status.st_uid != geteuid() || (status.st_mode & S_IWOTH) != 0) {
    throw Error(std::format("the cache directory {} can be written by others", base.string()),
                "set XDG_CACHE_HOME to a directory of your own");
  }
  return base;
}

fs::path executable_directory() { return fs::read_symlink("/proc/self/exe").parent_path(); }

}  // namespace aril::tool
