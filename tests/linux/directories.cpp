// Names: directories, links, renames, path resolution and their errors.
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>
#include <string>

#include "check.hpp"

static const std::string kRoot = "/tmp/aril-directories-test";
static std::string in(const char* name) { return kRoot + "/" + name; }
static bool touch(const std::string& path) {
  int fd = open(path.c_str(), O_CREAT | O_WRONLY, 0644);
  if (fd < 0) return false;
  return close(fd) == 0;
}
static std::set<std::string> list(const std::string& path) {
  std::set<std::string> names;
  DIR* directory = opendir(path.c_str());
  if (!directory) return names;
  while (dirent* entry = readdir(directory)) names.insert(entry->d_name);
  closedir(directory);
  return names;
}
static ino_t inode(const std::string& path) {
  struct stat status;
  return lstat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

PROPERTY(mkdir_makes_an_empty_directory) {
  CHECK_EQ(mkdir(kRoot.c_str(), 0755), 0);
  CHECK_ERRNO(mkdir(kRoot.c_str(), 0755), EEXIST);
  CHECK((list(kRoot) == std::set<std::string>{".", ".."}));
  struct stat status;
  CHECK_EQ(stat(kRoot.c_str(), &status), 0);
  CHECK_EQ(status.st_mode & 07777, 0755u);
}
PROPERTY(entries_appear_and_disappear) {
  CHECK(touch(in("a")) && touch(in("b")));
  CHECK((list(kRoot) == std::set<std::string>{".", "..", "a", "b"}));
  CHECK_EQ(unlink(in("a").c_str()), 0);
  CHECK_ERRNO(unlink(in("a").c_str()), ENOENT);
  CHECK((list(kRoot) == std::set<std::string>{".", "..", "b"}));
  CHECK_EQ(unlink(in("b").c_str()), 0);
}
PROPERTY(many_entries_are_all_listed) {
  CHECK_EQ(mkdir(in("many").c_str(), 0755), 0);
  for (int i = 0; i < 500; ++i)
    CHECK(touch(in("many/entry-with-a-long-name-") + std::to_string(i)));
  CHECK_EQ(list(in("many")).size(), 502u);
  for (int i = 0; i < 500; ++i)
    CHECK_EQ(unlink((in("many/entry-with-a-long-name-") + std::to_string(i)).c_str()), 0);
  CHECK_EQ(rmdir(in("many").c_str()), 0);
}
PROPERTY(rmdir_wants_an_empty_directory) {
  CHECK_EQ(mkdir(in("d").c_str(), 0755), 0);
  CHECK(touch(in("d/x")));
  CHECK_ERRNO(rmdir(in("d").c_str()), ENOTEMPTY);
  CHECK_ERRNO(rmdir(in("d/x").c_str()), ENOTDIR);
  CHECK_ERRNO(unlink(in("d").c_str()), EISDIR);
  CHECK_EQ(unlink(in("d/x").c_str()), 0);
  CHECK_ERRNO(rmdir(in("d/.").c_str()), EINVAL);
  CHECK_EQ(rmdir(in("d").c_str()), 0);
  CHECK_ERRNO(rmdir("/"), EBUSY);
}
PROPERTY(rename_replaces_atomically) {
  CHECK(touch(in("from")) && touch(in("to")));
  ino_t moved = inode(in("from"));
  CHECK_EQ(rename(in("from").c_str(), in("to").c_str()), 0);
  CHECK_EQ(inode(in("to")), moved);
  CHECK_EQ(inode(in("from")), 0u);
  CHECK_EQ(unlink(in("to").c_str()), 0);
}
PROPERTY(rename_checks_kinds) {
  CHECK(touch(in("file")));
  CHECK_EQ(mkdir(in("dir").c_str(), 0755), 0);
  CHECK_EQ(mkdir(in("full").c_str(), 0755), 0);
  CHECK(touch(in("full/x")));
  CHECK_ERRNO(rename(in("file").c_str(), in("dir").c_str()), EISDIR);
  CHECK_ERRNO(rename(in("dir").c_str(), in("file").c_str()), ENOTDIR);
  CHECK_ERRNO(rename(in("dir").c_str(), in("full").c_str()), ENOTEMPTY);
  CHECK_ERRNO(rename(in("full").c_str(), in("full/inside").c_str()), EINVAL);
  CHECK_EQ(rename(in("full").c_str(), in("dir").c_str()), 0);
  CHECK_EQ(access(in("dir/x").c_str(), F_OK), 0);
  CHECK_EQ(unlink(in("dir/x").c_str()), 0);
  CHECK_EQ(rmdir(in("dir").c_str()), 0);
  CHECK_EQ(unlink(in("file").c_str()), 0);
}
PROPERTY(renameat2_flags) {
  CHECK(touch(in("a")) && touch(in("b")));
  ino_t a = inode(in("a")), b = inode(in("b"));
  CHECK_ERRNO(renameat2(AT_FDCWD, in("a").c_str(), AT_FDCWD, in("b").c_str(), RENAME_NOREPLACE),
              EEXIST);
  CHECK(inode(in("a")) == a && inode(in("b")) == b);
  CHECK_EQ(unlink(in("a").c_str()) | unlink(in("b").c_str()), 0);
}
PROPERTY(renameat2_exchanges) {
  CHECK(touch(in("a")) && touch(in("b")));
  ino_t a = inode(in("a")), b = inode(in("b"));
  int result = renameat2(AT_FDCWD, in("a").c_str(), AT_FDCWD, in("b").c_str(), RENAME_EXCHANGE);
  bool exchanged = inode(in("a")) == b && inode(in("b")) == a;
  CHECK_EQ(unlink(in("a").c_str()) | unlink(in("b").c_str()), 0);
  CHECK_EQ(result, 0);
  CHECK(exchanged);
}
PROPERTY(hard_links_count) {
  CHECK(touch(in("a")));
  CHECK_EQ(link(in("a").c_str(), in("b").c_str()), 0);
  struct stat status;
  CHECK_EQ(stat(in("b").c_str(), &status), 0);
  CHECK_EQ(status.st_nlink, 2u);
  CHECK_EQ(inode(in("a")), inode(in("b")));
  CHECK_ERRNO(link(in("a").c_str(), in("b").c_str()), EEXIST);
  CHECK_EQ(rename(in("a").c_str(), in("b").c_str()), 0);
  CHECK_EQ(access(in("a").c_str(), F_OK), 0);
  CHECK_EQ(unlink(in("a").c_str()), 0);
  CHECK_EQ(stat(in("b").c_str(), &status), 0);
  CHECK_EQ(status.st_nlink, 1u);
  CHECK_EQ(unlink(in("b").c_str()), 0);
  CHECK_ERRNO(link(kRoot.c_str(), in("c").c_str()), EPERM);
}
PROPERTY(symbolic_links_are_followed_and_read) {
  CHECK(touch(in("target")));
  CHECK_EQ(symlink("target", in("link").c_str()), 0);
  char text[64] = {};
  CHECK_EQ(readlink(in("link").c_str(), text, 64), 6);
  CHECK(!strcmp(text, "target"));
  CHECK_EQ(readlink(in("link").c_str(), text, 3), 3);
  CHECK_ERRNO(readlink(in("target").c_str(), text, 64), EINVAL);
  struct stat status;
  CHECK_EQ(stat(in("link").c_str(), &status), 0);
  CHECK(S_ISREG(status.st_mode));
  CHECK_EQ(lstat(in("link").c_str(), &status), 0);
  CHECK(S_ISLNK(status.st_mode));
  CHECK_EQ(status.st_size, 6);
  CHECK_ERRNO(open(in("link").c_str(), O_RDONLY | O_NOFOLLOW), ELOOP);
  CHECK_EQ(unlink(in("link").c_str()), 0);
  CHECK_EQ(access(in("target").c_str(), F_OK), 0);
  CHECK_EQ(unlink(in("target").c_str()), 0);
}
PROPERTY(dangling_and_looping_links) {
  CHECK_EQ(symlink("nowhere", in("dangling").c_str()), 0);
  CHECK_ERRNO(open(in("dangling").c_str(), O_RDONLY), ENOENT);
  CHECK_ERRNO(open(in("dangling").c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST);
  CHECK_EQ(symlink("loop2", in("loop1").c_str()), 0);
  CHECK_EQ(symlink("loop1", in("loop2").c_str()), 0);
  CHECK_ERRNO(open(in("loop1").c_str(), O_RDONLY), ELOOP);
  for (const char* name : {"dangling", "loop1", "loop2"}) CHECK_EQ(unlink(in(name).c_str()), 0);
}
PROPERTY(trailing_slashes_ask_for_a_directory) {
  CHECK(touch(in("f")));
  CHECK_ERRNO(open(in("f/").c_str(), O_RDONLY), ENOTDIR);
  CHECK_EQ(access((kRoot + "///").c_str(), F_OK), 0);
  CHECK_ERRNO(unlink(in("f/").c_str()), ENOTDIR);
  CHECK_EQ(mkdir(in("g/").c_str(), 0755), 0);
  CHECK_EQ(rmdir(in("g/").c_str()), 0);
  CHECK_EQ(unlink(in("f").c_str()), 0);
}
PROPERTY(dot_dot_resolves_upward) {
  CHECK_EQ(mkdir(in("x").c_str(), 0755), 0);
  CHECK_EQ(inode(in("x/..")), inode(kRoot));
  CHECK_EQ(inode("/.."), inode("/"));
  CHECK_ERRNO(access(in("missing/../x").c_str(), F_OK), ENOENT);
  CHECK_EQ(rmdir(in("x").c_str()), 0);
}
PROPERTY(working_directory_moves) {
  CHECK_EQ(chdir(kRoot.c_str()), 0);
  char path[PATH_MAX];
  CHECK(getcwd(path, sizeof path) && path == kRoot);
  CHECK_ERRNO((long)getcwd(path, 3) ? 0 : -1, ERANGE);
  CHECK_EQ(mkdir("rel", 0755), 0);
  CHECK_EQ(chdir("rel"), 0);
  CHECK(getcwd(path, sizeof path) && path == in("rel"));
  CHECK_EQ(chdir(".."), 0);
  CHECK_EQ(rmdir("rel"), 0);
  int fd = open("/", O_RDONLY | O_DIRECTORY);
  CHECK_EQ(fchdir(fd), 0);
  CHECK(getcwd(path, sizeof path) && !strcmp(path, "/"));
  close(fd);
  CHECK_ERRNO(chdir("/dev/null"), ENOTDIR);
}
PROPERTY(paths_relative_to_a_descriptor) {
  int fd = open(kRoot.c_str(), O_RDONLY | O_DIRECTORY);
  int file = openat(fd, "at", O_CREAT | O_WRONLY, 0600);
  CHECK(file >= 0);
  CHECK_EQ(faccessat(fd, "at", F_OK, 0), 0);
  CHECK_EQ(mkdirat(fd, "sub", 0755), 0);
  CHECK_EQ(renameat(fd, "at", fd, "sub/at"), 0);
  CHECK_EQ(access(in("sub/at").c_str(), F_OK), 0);
  CHECK_EQ(unlinkat(fd, "sub/at", 0), 0);
  CHECK_ERRNO(unlinkat(fd, "sub", 0), EISDIR);
  CHECK_EQ(unlinkat(fd, "sub", AT_REMOVEDIR), 0);
  CHECK_ERRNO(openat(file, "x", O_RDONLY), ENOTDIR);
  CHECK_ERRNO(openat(999, "x", O_RDONLY), EBADF);
  close(file);
  close(fd);
}
PROPERTY(o_path_descriptors_only_name) {
  CHECK(touch(in("p")));
  int fd = open(in("p").c_str(), O_PATH);
  CHECK(fd >= 0);
  char byte;
  CHECK_ERRNO(read(fd, &byte, 1), EBADF);
  struct stat status;
  CHECK_EQ(fstat(fd, &status), 0);
  close(fd);
  CHECK_EQ(unlink(in("p").c_str()), 0);
}
PROPERTY(directories_cannot_be_read_as_files) {
  int fd = open(kRoot.c_str(), O_RDONLY);
  char byte;
  CHECK_ERRNO(read(fd, &byte, 1), EISDIR);
  close(fd);
}
PROPERTY(rewinddir_sees_new_entries) {
  DIR* directory = opendir(kRoot.c_str());
  int before = 0, after = 0;
  while (readdir(directory)) ++before;
  CHECK(touch(in("new")));
  rewinddir(directory);
  while (readdir(directory)) ++after;
  closedir(directory);
  CHECK_EQ(after, before + 1);
  CHECK_EQ(unlink(in("new").c_str()), 0);
}
PROPERTY(lower_files_can_be_replaced_and_removed) {
  // /etc comes from the read-only image on Aril, from a disk on Linux: writable on both.
  CHECK_EQ(access("/etc/passwd", R_OK), 0);
  CHECK_EQ(mkdir("/etc/aril-test-dir", 0755), 0);
  CHECK(touch("/etc/aril-test-dir/file"));
  CHECK_EQ(rename("/etc/aril-test-dir", "/etc/aril-test-moved"), 0);
  CHECK_EQ(unlink("/etc/aril-test-moved/file"), 0);
  CHECK_EQ(rmdir("/etc/aril-test-moved"), 0);
}
PROPERTY(fifos_and_device_nodes_can_be_made) {
  CHECK_EQ(mkfifo(in("fifo").c_str(), 0600), 0);
  struct stat status;
  CHECK_EQ(stat(in("fifo").c_str(), &status), 0);
  CHECK(S_ISFIFO(status.st_mode));
  CHECK_ERRNO(open(in("fifo").c_str(), O_WRONLY | O_NONBLOCK), ENXIO);
  int reader = open(in("fifo").c_str(), O_RDONLY | O_NONBLOCK);
  CHECK(reader >= 0);
  int writer = open(in("fifo").c_str(), O_WRONLY);
  CHECK(writer >= 0);
  CHECK_EQ(write(writer, "hi", 2), 2);
  char text[3] = {};
  CHECK_EQ(read(reader, text, 2), 2);
  close(writer);
  CHECK_EQ(read(reader, text, 2), 0);
  close(reader);
  CHECK_EQ(unlink(in("fifo").c_str()), 0);
}
PROPERTY(the_tree_is_empty_at_the_end) {
  CHECK((list(kRoot) == std::set<std::string>{".", ".."}));
  CHECK_EQ(rmdir(kRoot.c_str()), 0);
}
