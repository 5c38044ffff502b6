#pragma once
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <random>
#include <sstream>

#include "fs_fixture.hpp"

namespace aril::vfs {

/// Runs the same random operations on a file system here and on a directory of the machine's own
/// tmpfs, into which the test is chrooted, and compares every answer. Needs root; skipped without.
class LinuxOracle : public FsTest {
 protected:
  void SetUp() override {
    FsTest::SetUp();
    if (geteuid() != 0) GTEST_SKIP() << "needs root for chroot";
    std::string name = "/dev/shm/aril-oracle-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
    chmod(directory_.c_str(), 0755);
    real_root_ = ::open("/", O_PATH | O_DIRECTORY);
    real_cwd_ = ::open(".", O_PATH | O_DIRECTORY);
    umask(0);
  }
  void TearDown() override {
    leave();
    if (real_root_ >= 0) close(real_root_);
    if (real_cwd_ >= 0) close(real_cwd_);
    if (!directory_.empty()) std::filesystem::remove_all(directory_);
  }
  void enter() {
    ASSERT_EQ(chroot(directory_.c_str()), 0);
    ASSERT_EQ(chdir("/"), 0);
    inside_ = true;
  }
  void leave() {
    if (!inside_) return;
    EXPECT_EQ(fchdir(real_root_), 0);
    EXPECT_EQ(chroot("."), 0);
    EXPECT_EQ(fchdir(real_cwd_), 0);
    inside_ = false;
  }

  void run(uint64_t seed, int operations);
  /// Every file below the root is the same on both sides.
  void compare_trees();

  const std::string& directory() const { return directory_; }

 private:
  using Pair = std::pair<int, int>;  // errors: Linux's, ours
  uint64_t pick(uint64_t below) { return random_() % below; }
  std::string name();
  std::string path();
  Pair step(std::string& text);
  Pair open_step(std::string& text);
  Pair status_step(std::string& text);
  void compare_directory(const std::string& path, int depth);
  void compare_file(const std::string& path);

  static int result(long value) { return value < 0 ? errno : 0; }

  template <typename Call>
  int on_linux(Call call) {
    bool other = identity.uid != 0;
    if (other) {
      setfsgid(identity.gid);
      setfsuid(identity.uid);
    }
    int error = result(call());
    if (other) {
      setfsuid(0);
      setfsgid(0);
    }
    return error;
  }

  std::string directory_;
  int real_root_ = -1, real_cwd_ = -1;
  bool inside_ = false;
  std::mt19937_64 random_;
};

inline std::string LinuxOracle::name() {
  static const char* const kNames[] = {"a", "b", "c", "d", "e", "f"};
  uint64_t n = pick(40);
  if (n == 0) return "..";
  if (n == 1) return ".";
  if (n == 2) return std::string(255, 'x');
  if (n == 3) return std::string(256, 'x');
  return kNames[pick(6)];
}

inline std::string LinuxOracle::path() {
  if (pick(100) == 0) return "";
  if (pick(100) == 0) return "/";
  std::string text = pick(4) == 0 ? "/" : "";
  uint64_t depth = 1 + pick(4);
  for (uint64_t i = 0; i < depth; ++i) {
    if (i != 0) text += pick(20) == 0 ? "//" : "/";
    text += name();
  }
  if (pick(10) == 0) text += '/';
  return text;
}

inline LinuxOracle::Pair LinuxOracle::open_step(std::string& text) {
  static const int kFlags[] = {O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW, O_PATH};
  std::string p = path();
  int flags = static_cast<int>(pick(3)) | O_NONBLOCK;
  if (pick(2) == 0) flags |= O_CREAT;
  for (int flag : kFlags)
    if (pick(6) == 0) flags |= flag;
  uint32_t permissions = pick(4) == 0 ? static_cast<uint32_t>(pick(07777)) : 0666;
  text = "open " + p + " flags " + std::to_string(flags) + " mode " + std::to_string(permissions);
  // A FIFO's opening is not the file system's business.
  struct stat status;
  if (fstatat(AT_FDCWD, p.c_str(), &status, 0) == 0 && S_ISFIFO(status.st_mode)) return {0, 0};
  int fd = -1;
  int theirs = on_linux([&] { return fd = ::open(p.c_str(), flags, permissions); });
  auto file = open_at(p, static_cast<OpenFlags>(flags), permissions);
  int ours = error_of(file);
  if (fd >= 0 && file) {
    if ((flags & O_PATH) == 0 && (flags & O_ACCMODE) != O_RDONLY) {
      std::string data(pick(3) == 0 ? pick(9000) : pick(100), static_cast<char>('a' + pick(26)));
      off_t offset = pick(2) == 0 ? 0 : static_cast<off_t>(pick(12000));
      text += " write " + std::to_string(data.size()) + " at " + std::to_string(offset);
      EXPECT_EQ(lseek(fd, offset, SEEK_SET), offset);
      EXPECT_EQ((*file)->seek(offset, SeekOrigin::kSet).value_or(9), static_cast<uint64_t>(offset));
      ssize_t count = ::write(fd, data.data(), data.size());
      EXPECT_EQ(static_cast<size_t>(count), write_to(**file, data)) << text;
      if (pick(4) == 0) {
        auto size = static_cast<off_t>(pick(12000));
        text += " truncate " + std::to_string(size);
        EXPECT_EQ(ftruncate(fd, size), 0);
        EXPECT_TRUE(as_node_file(**file)->truncate(static_cast<uint64_t>(size)));
      }
      if (pick(6) == 0) {
        static const int kModes[] = {0, FALLOC_FL_KEEP_SIZE,
                                     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE};
        int mode = kModes[pick(3)];
        auto start = static_cast<off_t>(pick(10000));
        auto length = static_cast<off_t>(1 + pick(9000));
        text += " allocate " + std::to_string(mode);
        EXPECT_EQ(result(fallocate(fd, mode, start, length)),
                  error_of(as_node_file(**file)->allocate(static_cast<uint32_t>(mode),
                                                          static_cast<uint64_t>(start),
                                                          static_cast<uint64_t>(length))))
            << text;
      }
    }
  }
  if (fd >= 0) close(fd);
  return {theirs, ours};
}

inline LinuxOracle::Pair LinuxOracle::status_step(std::string& text) {
  std::string p = path();
  bool follow = pick(2) == 0;
  text = (follow ? "stat " : "lstat ") + p;
  struct stat status;
  int theirs = on_linux(
      [&] { return fstatat(AT_FDCWD, p.c_str(), &status, follow ? 0 : AT_SYMLINK_NOFOLLOW); });
  auto mine = stat(p, follow ? LookupFlags::kFollow : LookupFlags::kNone);
  if (theirs == 0 && mine) {
    EXPECT_EQ(status.st_mode, mine->mode) << text;
    EXPECT_EQ(status.st_nlink, mine->link_count) << text;
    EXPECT_EQ(status.st_uid, mine->uid) << text;
    EXPECT_EQ(status.st_gid, mine->gid) << text;
    if (!S_ISDIR(status.st_mode))
      EXPECT_EQ(static_cast<uint64_t>(status.st_size), mine->size) << text;
  }
  return {theirs, error_of(mine)};
}

inline LinuxOracle::Pair LinuxOracle::step(std::string& text) {
  switch (pick(16)) {
    case 0:
    case 1: {
      std::string p = path();
      uint32_t mode = pick(3) == 0 ? static_cast<uint32_t>(pick(010000)) : 0755;
      text = "mkdir " + p + " " + std::to_string(mode);
      return {on_linux([&] { return mkdir(p.c_str(), mode); }), make_dir(p, mode)};
    }
    case 2: {
      std::string p = path();
      text = "rmdir " + p;
      return {on_linux([&] { return rmdir(p.c_str()); }),
              error_of(remove_directory(context(), cwd, p))};
    }
    case 3: {
      std::string p = path();
      text = "unlink " + p;
      return {on_linux([&] { return unlink(p.c_str()); }),
              error_of(remove_file(context(), cwd, p))};
    }
    case 4:
    case 5: {
      std::string from = path(), to = path();
      auto flags = static_cast<unsigned>(pick(3) == 0 ? pick(4) : 0);
      text = "rename " + from + " " + to + " " + std::to_string(flags);
      return {on_linux([&] {
                return syscall(SYS_renameat2, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags);
              }),
              error_of(rename(context(), cwd, from, cwd, to, static_cast<RenameFlags>(flags)))};
    }
    case 6: {
      std::string from = path(), to = path();
      bool follow = pick(2) == 0;
      text = "link " + from + " " + to;
      int theirs = on_linux([&] {
        return linkat(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), follow ? AT_SYMLINK_FOLLOW : 0);
      });
      auto source =
          resolve(context(), cwd, from, follow ? LookupFlags::kFollow : LookupFlags::kNone);
      return {theirs, source ? error_of(make_link(context(), *source, cwd, to)) : error_of(source)};
    }
    case 7: {
      std::string target = path(), p = path();
      text = "symlink " + target + " " + p;
      return {on_linux([&] { return symlink(target.c_str(), p.c_str()); }),
              error_of(make_symlink(context(), target, cwd, p))};
    }
    case 8: {
      std::string p = path();
      text = "readlink " + p;
      std::string buffer(5000, '\0');
      ssize_t length = -1;
      int theirs =
          on_linux([&] { return length = readlink(p.c_str(), buffer.data(), buffer.size()); });
      auto mine = read_link(context(), cwd, p);
      if (theirs == 0 && mine) EXPECT_EQ(buffer.substr(0, static_cast<size_t>(length)), *mine);
      // "" is served for readlinkat(fd, ""), which readlink("") is not.
      return {theirs, p.empty() ? theirs : error_of(mine)};
    }
    case 9: {
      std::string p = path();
      auto mode = static_cast<uint32_t>(pick(010000));
      text = "chmod " + p + " " + std::to_string(mode);
      int theirs = on_linux([&] { return chmod(p.c_str(), mode); });
      auto place = resolve(context(), cwd, p, LookupFlags::kFollow);
      return {theirs, place ? error_of(change_mode(context(), *place, mode)) : error_of(place)};
    }
    case 10: {
      std::string p = path();
      static constexpr uint32_t kIds[] = {0, 1000, 1001, ~0u};
      uint32_t uid = kIds[pick(4)], gid = kIds[pick(4)];
      text = "lchown " + p + " " + std::to_string(uid) + " " + std::to_string(gid);
      int theirs = on_linux([&] { return lchown(p.c_str(), uid, gid); });
      auto place = resolve(context(), cwd, p, LookupFlags::kNone);
      auto id = [](uint32_t value) { return value == ~0u ? std::nullopt : std::optional(value); };
      return {theirs, place ? error_of(change_owner(context(), *place, id(uid), id(gid)))
                            : error_of(place)};
    }
    case 11: {
      std::string p = path();
      auto size = static_cast<off_t>(pick(20000));
      text = "truncate " + p + " " + std::to_string(size);
      int theirs = on_linux([&] { return ::truncate(p.c_str(), size); });
      auto place = resolve(context(), cwd, p, LookupFlags::kFollow);
      return {theirs, place
                          ? error_of(vfs::truncate(context(), *place, static_cast<uint64_t>(size)))
                          : error_of(place)};
    }
    case 12: {
      std::string p = path();
      text = "mkfifo " + p;
      return {on_linux([&] { return mkfifo(p.c_str(), 0644); }),
              error_of(make_node(context(), cwd, p, mode::kFifo | 0644, 0))};
    }
    case 13:
      return status_step(text);
    default:
      return open_step(text);
  }
}

inline void LinuxOracle::run(uint64_t seed, int operations) {
  random_.seed(seed);
  mask = 0;
  enter();
  for (int i = 0; i < operations && !HasFailure(); ++i) {
    bool root_acts = pick(4) != 0;
    identity = root_acts ? Identity{} : Identity{.uid = 1000, .gid = 1000, .has_override = false};
    std::string text;
    auto [theirs, ours] = step(text);
    ASSERT_EQ(theirs, ours) << "seed " << seed << ", operation " << i << " by " << identity.uid
                            << ": " << text;
  }
  identity = {};
  compare_trees();
  leave();
}

inline void LinuxOracle::compare_file(const std::string& path) {
  struct stat status;
  ASSERT_EQ(lstat(path.c_str(), &status), 0) << path;
  auto mine = stat(path, LookupFlags::kNone);
  ASSERT_TRUE(mine) << path;
  EXPECT_EQ(status.st_mode, mine->mode) << path;
  EXPECT_EQ(status.st_nlink, mine->link_count) << path;
  EXPECT_EQ(status.st_uid, mine->uid) << path;
  EXPECT_EQ(status.st_gid, mine->gid) << path;
  EXPECT_EQ(status.st_rdev, mine->special_device) << path;
  if (S_ISREG(status.st_mode)) {
    EXPECT_EQ(static_cast<uint64_t>(status.st_size), mine->size) << path;
    std::string bytes(static_cast<size_t>(status.st_size), '\0');
    int fd = ::open(path.c_str(), O_RDONLY);
    ASSERT_GE(fd, 0);
    EXPECT_EQ(::read(fd, bytes.data(), bytes.size()), status.st_size);
    close(fd);
    std::string read = read_file(path, bytes.size() + 10);
    auto differs = std::ranges::mismatch(read, bytes);
    EXPECT_TRUE(read == bytes) << path << ": " << read.size() << " instead of " << bytes.size()
                               << " bytes, the first difference at " << differs.in1 - read.begin();
  }
  if (S_ISLNK(status.st_mode)) {
    std::string target(static_cast<size_t>(status.st_size), '\0');
    EXPECT_EQ(readlink(path.c_str(), target.data(), target.size()), status.st_size);
    EXPECT_EQ(read_link(context(), cwd, path).value_or("?"), target);
  }
}

inline void LinuxOracle::compare_directory(const std::string& path, int depth) {
  std::multimap<std::string, uint8_t> theirs;
  DIR* stream = opendir(path.c_str());
  ASSERT_NE(stream, nullptr) << path;
  while (dirent* entry = readdir(stream)) theirs.emplace(entry->d_name, entry->d_type);
  closedir(stream);
  NameCollector mine = list(path);
  EXPECT_EQ(theirs, mine.names) << path;
  if (depth > 200) return;
  for (const auto& [name, type] : theirs) {
    if (name == "." || name == "..") continue;
    std::string child = (path == "/" ? "" : path) + "/" + name;
    compare_file(child);
    if (type == DT_DIR) compare_directory(child, depth + 1);
  }
}

inline void LinuxOracle::compare_trees() {
  if (!HasFailure()) compare_directory("/", 0);
}

}  // namespace aril::vfs
