#include "image/tree.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ranges>
#include <string_view>

#include "support/error.hpp"

namespace aril::tool {

namespace fs = std::filesystem;

namespace {

constexpr int kMaximumLinks = 40;  // as Linux

/// From the top, without empty components, "." and "..", and without a slash at the end.
bool is_normal(std::string_view path) {
  if (!path.starts_with('/')) return false;
  if (path.size() == 1) return true;
  for (size_t start = 1; start <= path.size();) {
    const size_t end = std::min(path.find('/', start), path.size());
    const std::string_view name = path.substr(start, end - start);
    if (name.empty() || name == "." || name == "..") return false;
    start = end + 1;
  }
  return true;
}

std::string normal(const fs::path& path) {
  if (is_normal(path.native())) return path;
  std::string text = (fs::path("/") / path).lexically_normal();
  while (text.size() > 1 && text.ends_with('/')) text.pop_back();
  return text;
}

struct stat status_of(const fs::path& host) {
  struct stat status = {};
  if (lstat(host.c_str(), &status) != 0) {
    throw Error(std::format("{}: {}", host.string(),
                            errno == ENOENT ? "no such file or directory"
                                            : std::generic_category().message(errno)),
                {}, errno == ENOENT ? ExitStatus::kNotFound : ExitStatus::kFailure);
  }
  return status;
}

TreeEntry entry_of(const fs::path& host, const struct stat& status) {
  TreeEntry entry;
  entry.mode = status.st_mode & 07777;
  entry.uid = status.st_uid;
  entry.gid = status.st_gid;
  entry.modified = status.st_mtim.tv_sec;
  entry.modified_nanoseconds = status.st_mtim.tv_nsec;
  if (S_ISDIR(status.st_mode)) return entry;
  if (S_ISLNK(status.st_mode)) {
    entry.kind = EntryKind::kLink;
    entry.text = fs::read_symlink(host);
    return entry;
  }
  if (access(host.c_str(), R_OK) != 0) fail_with_errno(host.string(), errno);
  entry.kind = EntryKind::kHostFile;
  entry.host = host;
  entry.size = static_cast<uint64_t>(status.st_size);
  entry.inode = status.st_ino;
  return entry;
}

bool has_content(mode_t mode) { return S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode); }

}  // namespace

std::string Tree::resolve(const fs::path& guest, int depth) const {
  // Follows links in all components but the last one.
  if (depth > kMaximumLinks) throw Error(std::format("{}: too many links", guest.string()));
  const std::string path = normal(guest);
  for (size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
    const auto found = entries_.find(std::string_view(path).substr(0, end));
    if (found == entries_.end() || found->second.kind != EntryKind::kLink) continue;
    const fs::path link = found->first;
    return resolve(link.parent_path() / found->second.text / path.substr(end + 1), depth + 1);
  }
  return path;
}

void Tree::ensure_directories(const fs::path& guest) {
  const std::string parent = fs::path(guest).parent_path();
  if (parent == guest.string()) return;
  const auto found = entries_.find(parent);
  if (found == entries_.end()) {
    ensure_directories(parent);
    entries_[parent] = {};
  } else if (found->second.kind != EntryKind::kDirectory) {
    throw Error(
        std::format("{} cannot lie below {}, which is not a directory", guest.string(), parent));
  }
}

void Tree::put(const fs::path& guest, TreeEntry entry) {
  const std::string path = resolve(guest);
  ensure_directories(path);
  const auto existing = entries_.find(path);
  if (existing != entries_.end() &&
      (existing->second.kind == EntryKind::kDirectory) != (entry.kind == EntryKind::kDirectory)) {
    if (entry.kind == EntryKind::kDirectory && existing->second.kind == EntryKind::kLink) return;
    throw Error(std::format("{} would be both a directory and a file in the image", path));
  }
  entries_[path] = std::move(entry);
}

void Tree::add(const fs::path& host, const fs::path& guest) {
  struct stat status = {};
  if (stat(host.c_str(), &status) != 0) status = status_of(host);  // names the link or the error
  if (S_ISDIR(status.st_mode)) {
    add_tree(host, guest);
    return;
  }
  if (!S_ISREG(status.st_mode)) {
    throw Error(std::format("{}: is neither a file nor a directory", host.string()));
  }
  put(guest, entry_of(host, status));
}

void Tree::add_tree(const fs::path& host, const fs::path& guest) {
  struct stat top = {};
  if (stat(host.c_str(), &top) != 0) fail_with_errno(host.string(), errno);
  put(guest, entry_of(host, top));
  std::error_code error;
  for (auto walk = fs::recursive_directory_iterator(host, error);
       walk != fs::recursive_directory_iterator(); walk.increment(error)) {
    if (error) throw Error(std::format("{}: {}", host.string(), error.message()));
    const struct stat status = status_of(walk->path());
    if (!has_content(status.st_mode)) continue;
    put(guest / walk->path().lexically_relative(host), entry_of(walk->path(), status));
  }
  if (error) throw Error(std::format("{}: {}", host.string(), error.message()));
}

void Tree::add_mirrored(const fs::path& path, const fs::path& root) {
  fs::path pending = path.lexically_relative(root.empty() ? fs::path("/") : root);
  fs::path done = "/";
  for (int links = 0; links <= kMaximumLinks;) {
    if (pending.empty() || pending == ".") return;
    const fs::path name = *pending.begin();
    fs::path rest;
    for (const fs::path& part : pending | std::views::drop(1)) rest /= part;
    if (name == "..") {
      done = done.parent_path();
      pending = rest;
      continue;
    }
    const fs::path guest = done / name;
    const fs::path host = root.empty() ? guest : root / guest.relative_path();
    const struct stat status = status_of(host);
    TreeEntry entry = entry_of(host, status);
    if (S_ISLNK(status.st_mode)) {
      ++links;
      const std::string target = entry.text;
      put(guest, entry);
      if (target.starts_with('/')) done = "/";
      pending = fs::path(target).relative_path() / rest;
      if (rest.empty()) pending = fs::path(target).relative_path();
      continue;
    }
    // A directory is here for what lies below it: its time on the host changes with every file
    // that somebody makes beside, and would make the cached image useless.
    if (S_ISDIR(status.st_mode)) entry.modified = entry.modified_nanoseconds = 0;
    if (!S_ISDIR(status.st_mode) || !entries_.contains(guest)) put(guest, entry);
    done = guest;
    pending = rest;
  }
  throw Error(std::format("{}: too many links", path.string()));
}

void Tree::add_content(const fs::path& guest, std::string content, mode_t mode) {
  put(guest, {.kind = EntryKind::kContent, .text = std::move(content), .mode = mode});
}

void Tree::replace_content(const fs::path& guest, std::string content) {
  TreeEntry& entry = entries_.at(resolve(guest));
  entry.kind = EntryKind::kContent;
  entry.host.clear();
  entry.size = entry.inode = 0;
  entry.text = std::move(content);
}

void Tree::add_directory(const fs::path& guest, mode_t mode) {
  const TreeEntry* existing = find(guest);
  if (existing != nullptr && existing->kind == EntryKind::kDirectory) return;
  put(guest, {.kind = EntryKind::kDirectory, .mode = mode});
}

void Tree::add_link(const fs::path& guest, const std::string& target) {
  put(guest, {.kind = EntryKind::kLink, .text = target, .mode = 0777});
}

const TreeEntry* Tree::find(const fs::path& guest) const {
  std::string path = resolve(guest);
  for (int links = 0; links <= kMaximumLinks; ++links) {
    const auto found = entries_.find(path);
    if (found == entries_.end()) return nullptr;
    if (found->second.kind != EntryKind::kLink) return &found->second;
    path = resolve(fs::path(path).parent_path() / found->second.text);
  }
  return nullptr;
}

bool Tree::contains(const fs::path& guest) const { return entries_.contains(resolve(guest)); }

uint64_t Tree::total_size() const {
  uint64_t total = 0;
  for (const auto& [path, entry] : entries_) {
    total += entry.kind == EntryKind::kHostFile ? entry.size : entry.text.size();
  }
  return total;
}

}  // namespace aril::tool
