#include "image/cache.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
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

std::string key_of(const KernelFiles& files, const Tree& tree, RootPlacement placement) {
  const fs::path& kernel = files.elf;
  struct stat status = {};
  if (stat(kernel.c_str(), &status) != 0) fail_with_errno(kernel.string(), errno);
  std::string key = std::format(
      "aril 3 {} {}{}\n{} {} {} {}.{}\n", __DATE__ __TIME__, static_cast<int>(placement),
      files.unpacker.empty() ? "" : " packed", kernel.string(), status.st_size, status.st_ino,
      status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
  for (const auto& [path, entry] : tree.entries()) {
    key += std::format("{}\x1f{} {} {} {} {}.{} {} {} {}\x1f{}\x1f{}\n", path,
                       static_cast<int>(entry.kind), entry.mode, entry.uid, entry.gid,
                       entry.modified, entry.modified_nanoseconds, entry.size, entry.inode,
                       entry.text.size(), entry.host.string(), entry.text);
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

}  // namespace

ImageFiles write_image_files(const KernelFiles& kernel, const Tree& tree, RootPlacement placement,
                             const fs::path& output) {
  const fs::path directory = fs::absolute(output).parent_path();
  ImageFiles files = {.image = output};
  fs::path root = output;
  root += ".root";
  write_erofs(tree, root, directory);
  const bool in_memory =
      placement == RootPlacement::kMemory ||
      (placement == RootPlacement::kAutomatic && fs::file_size(root) <= kLargestRootInMemory);
  if (in_memory) {
    write_image(kernel.elf, root, output);
    fs::remove(root);
  } else {
    write_image(kernel.elf, std::nullopt, output);
    files.root = root;
  }
  if (!kernel.unpacker.empty()) pack_image(output, kernel.unpacker);
  return files;
}

ImageFiles cached_image(const KernelFiles& kernel, const Tree& tree, RootPlacement placement) {
  const fs::path images = cache_directory() / "images";
  fs::create_directories(images);
  const std::string key = key_of(kernel, tree, placement);
  const fs::path directory = images / std::format("{:016x}", fnv1a(key));
  std::error_code ignored;
  if (holds(directory, key)) {
    fs::last_write_time(directory, fs::file_time_type::clock::now(), ignored);
    return files_in(directory);
  }
  remove_old(images);
  TemporaryDirectory fresh(images);
  write_image_files(kernel, tree, placement, fresh.path() / "image");
  write_file(fresh.path() / "key", key);
  fs::remove_all(directory, ignored);
  fs::rename(fresh.path(), directory, ignored);
  if (holds(directory, key)) {
    fresh.keep();  // it is the cache's now, under another name
    return files_in(directory);
  }
  // Somebody else was faster with a different key of the same hash; use ours without caching it.
  fresh.keep();
  return files_in(fresh.path());
}

}  // namespace aril::tool
