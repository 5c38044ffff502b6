#pragma once
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "../../../kernel/memory/tests/host_memory.hpp"
#include "fs/vfs/open_file.hpp"
#include "fs/vfs/operations.hpp"

namespace aril::vfs {

class NameCollector final : public DirectoryEmitter {
 public:
  bool emit(std::string_view name, uint64_t inode, uint8_t type, uint64_t next) override {
    if (names.size() >= limit) return false;
    names.emplace(name, type);
    order.emplace_back(name);
    inodes[std::string(name)] = inode;
    last_offset = next;
    return true;
  }
  std::multimap<std::string, uint8_t> names;
  std::vector<std::string> order;
  std::map<std::string, uint64_t> inodes;
  uint64_t last_offset = 0;
  size_t limit = ~size_t{0};
};

/// A mount tree over one file system, and its operations by path with Linux's error numbers.
class FsTest : public ::testing::Test {
 protected:
  void SetUp() override { initialize_host_memory(); }

  void mount(RefPtr<FileSystem> file_system) {
    root = *tree->mount_root(std::move(file_system), "test", MountFlags::kNone);
    cwd = root;
  }
  void unmount() {
    root = cwd = {};
    tree.emplace();
  }
  LookupContext context() {
    return {.mounts = *tree, .identity = identity, .root = root, .umask = mask};
  }

  template <typename T>
  static int error_of(const Result<T>& result) {
    return result ? 0 : static_cast<int>(result.error());
  }
  int make_dir(std::string_view path, uint32_t permissions = 0755) {
    return error_of(make_directory(context(), cwd, path, permissions));
  }
  Result<RefPtr<File>> open_at(std::string_view path, OpenFlags flags,
                               uint32_t permissions = 0644) {
    return vfs::open(context(), cwd, path, flags, permissions);
  }
  int write_file(std::string_view path, std::string_view text) {
    auto file = open_at(path, OpenFlags::kWriteOnly | OpenFlags::kCreate | OpenFlags::kTruncate);
    if (!file) return error_of(file);
    return write_to(**file, text) == text.size() ? 0 : -1;
  }
  static size_t write_to(File& file, std::string_view text) {
    std::string copy(text);
    IoBuffer::Segment segment;
    auto buffer = IoBuffer::kernel(segment, std::as_writable_bytes(std::span(copy)));
    return file.write(buffer).value_or(0);
  }
  static std::string read_from(File& file, size_t limit = 1 << 20) {
    std::string text(limit, '\0');
    IoBuffer::Segment segment;
    auto buffer = IoBuffer::kernel(segment, std::as_writable_bytes(std::span(text)));
    size_t total = 0;
    while (buffer.remaining() != 0) {
      Result<size_t> count = file.read(buffer);
      if (!count || *count == 0) break;
      total += *count;
    }
    text.resize(total);
    return text;
  }
  std::string read_file(std::string_view path, size_t limit = 1 << 20) {
    auto file = open_at(path, OpenFlags::kReadOnly);
    if (!file) return "error " + std::to_string(error_of(file));
    return read_from(**file, limit);
  }
  NameCollector list(std::string_view path) {
    NameCollector names;
    auto file = open_at(path, OpenFlags::kReadOnly | OpenFlags::kDirectory);
    EXPECT_TRUE(file) << path;
    if (file) EXPECT_TRUE(as_node_file(**file)->read_directory(names));
    return names;
  }
  Result<FileStatus> stat(std::string_view path, LookupFlags flags = LookupFlags::kFollow) {
    auto place = resolve(context(), cwd, path, flags);
    if (!place) return fail(place.error());
    return vfs::status(*place);
  }

  std::optional<MountTree> tree{std::in_place};
  Path root, cwd;
  Identity identity;
  uint32_t mask = 022;
};

}  // namespace aril::vfs
