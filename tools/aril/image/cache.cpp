#include "image/cache.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <format>
#include <vector>

#include "image/erofs_writer.hpp"
#include "image/image_elf.hpp"
#include "image/packed_image.hpp"
#include "support/error.hpp"
#include "support/file.hpp"
#include "support/text.hpp"

namespace aril::tool {

namespace fs = std::filesystem;

namespace {

constexpr size_t kKeptImages = 32;
constexpr uint64_t kKeptBytes = uint64_t{4} << 30;
/// An image that somebody has just been given must not vanish before their machine has opened it.
constexpr auto kSafeAge = std::chrono::minutes(10);

std::string kernel_key(const KernelFiles& files, uint64_t largest_in_memory) {
  const fs::path& kernel = files.elf;
  struct stat status = {};
  if (stat(kernel.c_str(), &status) != 0) fail_with_errno(kernel.string(), errno);
  return std::format("{}{}\n{} {} {} {}.{}\n", largest_in_memory,
                     files.unpacker.empty() ? "" : " packed", kernel.string(), status.st_size,
                     status.st_ino, status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}

std::string key_of(const std::string& kernel, const Tree& tree) {
  std::string key = std::format("aril 5 {} {}", __DATE__ __TIME__, kernel);
  // Every start makes it, and std::format would take most of the time.
  const auto add = [&](auto number) {
    std::array<char, 24> text;
    key.append(text.data(), std::to_chars(text.begin(), text.end(), number).ptr);
    key += ' ';
  };
  for (const auto& [path, entry] : tree.entries()) {
    key += path;
    key += '\x1f';
    add(static_cast<int>(entry.kind));
    add(entry.mode);
    add(entry.uid);
    add(entry.gid);
    add(entry.modified);
    add(entry.modified_nanoseconds);
    add(entry.size);
    add(entry.inode);
    add(entry.text.size());
    key += entry.host.native();
    key += '\x1f';
    key += entry.text;
    key += '\n';
  }
  return key;
}

ImageFiles files_in(const fs::path& directory) {
  ImageFiles files = {.image = directory / "image"};
  std::error_code ignored;
  if (fs::exists(directory / "image.root", ignored)) files.root = directory / "image.root";
  return files;
}

bool holds(const fs::path& directory, const std::string& key) {
  std::error_code error;
  if (!fs::exists(directory / "key", error)) return false;
  try {
    return read_file(directory / "key") == key;
  } catch (const Error&) {
    return false;  // removed meanwhile
  }
}

void remove_old(const fs::path& images) {
  struct Candidate {
    fs::path path;
    fs::file_time_type used;
    uint64_t size = 0;
  };
  std::vector<Candidate> candidates;
  std::error_code error;
  for (const auto& directory : fs::directory_iterator(images, error)) {
    Candidate candidate = {directory.path(), fs::last_write_time(directory.path(), error)};
    for (const auto& file : fs::directory_iterator(directory.path(), error)) {
      if (file.is_regular_file(error)) candidate.size += file.file_size(error);
    }
    candidates.push_back(candidate);
  }
  std::ranges::sort(candidates, std::greater(), &Candidate::used);
  uint64_t total = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    total += candidates[i].size;
    const bool old = fs::file_time_type::clock::now() - candidates[i].used > kSafeAge;
    if (old && (i >= kKeptImages || total > kKeptBytes)) fs::remove_all(candidates[i].path, error);
  }
}

/// The folder of the cache that holds what `make(folder)` makes for this key.
template <typename Make>
fs::path cached(const std::string& key, Make make) {
  const fs::path images = cache_directory() / "images";
  const fs::path directory = images / std::format("{:016x}", fnv1a(key));
  std::error_code ignored;
  if (holds(directory, key)) {
    fs::last_write_time(directory, fs::file_time_type::clock::now(), ignored);
    return directory;
  }
  fs::create_directories(images);
  remove_old(images);
  TemporaryDirectory fresh(images);
  make(fresh.path());
  write_file(fresh.path() / "key", key);
  std::error_code failed;
  fs::rename(fresh.path(), directory, failed);
  // Somebody else was faster: theirs is in use already, unless it is for a key of the same hash.
  if (failed && holds(directory, key)) return directory;
  if (failed) {
    fs::remove_all(directory, ignored);
    fs::rename(fresh.path(), directory, failed);
  }
  fresh.keep();  // it is the cache's now, perhaps under another name
  return failed ? fresh.path() : directory;
}

uint64_t memory_end(const fs::path& image) {
  return read_image(MappedFile(image).bytes()).memory_end;
}

/// Whether the image fits below 640 KiB; if not, what is at `output` is not to be used.
bool write_low_image(const KernelFiles& kernel, const std::optional<fs::path>& root,
                     const fs::path& output) {
  write_image(kernel.low_elf, root, output);
  if (memory_end(output) > kLowMemoryEnd) return false;  // even before it is packed
  pack_image(output, kernel.unpacker);
  return memory_end(output) <= kLowMemoryEnd;
}

}  // namespace

ImageFiles write_image_files(const KernelFiles& kernel, const Tree& tree,
                             uint64_t largest_in_memory, const fs::path& output) {
  const fs::path directory = fs::absolute(output).parent_path();
  ImageFiles files = {.image = output};
  fs::path root = output;
  root += ".root";
  write_erofs(tree, root, directory);
  const bool in_memory = fs::file_size(root) <= largest_in_memory;
  if (!in_memory) files.root = root;
  const auto in_image = in_memory ? std::optional(root) : std::nullopt;
  const bool is_low = !kernel.low_elf.empty() && write_low_image(kernel, in_image, output);
  if (!is_low) {
    write_image(kernel.elf, in_image, output);
    if (!kernel.unpacker.empty()) pack_image(output, kernel.unpacker);
  }
  if (in_memory) fs::remove(root);
  return files;
}

ImageFiles cached_image(const KernelFiles& kernel, const Tree& tree, uint64_t largest_in_memory) {
  return files_in(
      cached(key_of(kernel_key(kernel, largest_in_memory), tree), [&](const fs::path& folder) {
        write_image_files(kernel, tree, largest_in_memory, folder / "image");
      }));
}

fs::path cached_root(const Tree& tree) {
  const auto make = [&](const fs::path& folder) { write_erofs(tree, folder / "root", folder); };
  return cached(key_of("root\n", tree), make) / "root";
}

}  // namespace aril::tool
