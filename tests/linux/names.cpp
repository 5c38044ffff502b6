// Names and attributes of files: openat2, faccessat2, statx, close_range, xattrs, links, times.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <string>

#include "check.hpp"

namespace {

// An empty folder that is the current one for a scope.
struct Place {
  char name[32] = "/tmp/names-XXXXXX";
  int old = open(".", O_PATH);
  Place() {
    if (mkdtemp(name) == nullptr || chdir(name) != 0) name[0] = '\0';
  }
  ~Place() {
    for (const char* each :
         {"a", "b", "link", "dangling", "dir/inner", "dir/up", "dir/out", "fifo"})
      unlink(each);
    rmdir("dir");
    (void)!fchdir(old);
    rmdir(name);
    close(old);
  }
};
int make(const char* name, const char* text = "") {
  int fd = open(name, O_CREAT | O_RDWR | O_TRUNC, 0644);
  (void)!write(fd, text, strlen(text));
  return fd;
}
int openat2(int folder, const char* name, uint64_t flags, uint64_t resolve, uint64_t mode = 0) {
  open_how how{};
  how.flags = flags;
  how.mode = mode;
  how.resolve = resolve;
  return (int)syscall(SYS_openat2, folder, name, &how, sizeof how);
}

}  // namespace

PROPERTY(openat2_opens) {
  Place place;
  int fd = openat2(AT_FDCWD, "a", O_CREAT | O_RDWR, 0, 0600);
  CHECK(fd >= 0);
  close(fd);
  CHECK_ERRNO(openat2(AT_FDCWD, "missing", O_RDONLY, 0), ENOENT);
}
PROPERTY(openat2_is_strict) {
  Place place;
  close(make("a"));
  CHECK_ERRNO(openat2(AT_FDCWD, "a", O_RDONLY, 0, 0600), EINVAL);
  CHECK_ERRNO(openat2(AT_FDCWD, "a", O_RDONLY, 1 << 20), EINVAL);
  CHECK_ERRNO(openat2(AT_FDCWD, "a", 1ull << 40, 0), EINVAL);
  open_how how{};
  CHECK_ERRNO(syscall(SYS_openat2, AT_FDCWD, "a", &how, 8), EINVAL);
  struct {
    open_how how;
    uint64_t more;
  } longer{{}, 1};
  CHECK_ERRNO(syscall(SYS_openat2, AT_FDCWD, "a", &longer, sizeof longer), E2BIG);
  longer.more = 0;
  int fd = (int)syscall(SYS_openat2, AT_FDCWD, "a", &longer, sizeof longer);
  CHECK(fd >= 0);
  close(fd);
}
PROPERTY(resolution_stays_beneath) {
  Place place;
  CHECK_EQ(mkdir("dir", 0755), 0);
  close(make("dir/inner"));
  close(make("a"));
  CHECK_EQ(symlink("../a", "dir/out"), 0);
  int dir = open("dir", O_PATH);
  int fd = openat2(dir, "inner", O_RDONLY, RESOLVE_BENEATH);
  CHECK(fd >= 0);
  close(fd);
  CHECK_ERRNO(openat2(dir, "../a", O_RDONLY, RESOLVE_BENEATH), EXDEV);
  CHECK_ERRNO(openat2(dir, "/tmp", O_RDONLY, RESOLVE_BENEATH), EXDEV);
  CHECK_ERRNO(openat2(dir, "out", O_RDONLY, RESOLVE_BENEATH), EXDEV);
  close(dir);
}
PROPERTY(resolution_in_a_root) {
  Place place;
  CHECK_EQ(mkdir("dir", 0755), 0);
  close(make("dir/inner"));
  int dir = open("dir", O_PATH);
  int fd = openat2(dir, "/../inner", O_RDONLY, RESOLVE_IN_ROOT);
  CHECK(fd >= 0);
  close(fd);
  CHECK_ERRNO(openat2(dir, "x", O_RDONLY, RESOLVE_IN_ROOT | RESOLVE_BENEATH), EINVAL);
  close(dir);
}
PROPERTY(resolution_without_links) {
  Place place;
  close(make("a"));
  CHECK_EQ(symlink("a", "link"), 0);
  CHECK_ERRNO(openat2(AT_FDCWD, "link", O_RDONLY, RESOLVE_NO_SYMLINKS), ELOOP);
  CHECK_ERRNO(openat2(AT_FDCWD, "/proc/self/exe", O_RDONLY, RESOLVE_NO_MAGICLINKS), ELOOP);
  CHECK_ERRNO(openat2(AT_FDCWD, "/proc/self", O_RDONLY, RESOLVE_NO_XDEV), EXDEV);
}
PROPERTY(faccessat2_takes_flags) {
  Place place;
  close(make("a"));
  CHECK_EQ(syscall(SYS_faccessat2, AT_FDCWD, "a", R_OK | W_OK, AT_EACCESS), 0);
  CHECK_ERRNO(syscall(SYS_faccessat2, AT_FDCWD, "a", X_OK, 0), EACCES);
  CHECK_ERRNO(syscall(SYS_faccessat2, AT_FDCWD, "a", 8, 0), EINVAL);
  CHECK_ERRNO(syscall(SYS_faccessat2, AT_FDCWD, "a", R_OK, 1), EINVAL);
  CHECK_EQ(symlink("missing", "dangling"), 0);
  CHECK_EQ(syscall(SYS_faccessat2, AT_FDCWD, "dangling", F_OK, AT_SYMLINK_NOFOLLOW), 0);
  CHECK_ERRNO(syscall(SYS_faccessat2, AT_FDCWD, "dangling", F_OK, 0), ENOENT);
  int fd = open("a", O_RDONLY);
  CHECK_EQ(syscall(SYS_faccessat2, fd, "", R_OK, AT_EMPTY_PATH), 0);
  close(fd);
}
PROPERTY(statx_agrees_with_stat) {
  Place place;
  int fd = make("a", "12345");
  struct stat old;
  struct statx more;
  CHECK_EQ(fstat(fd, &old), 0);
  CHECK_EQ(statx(AT_FDCWD, "a", 0, STATX_BASIC_STATS | STATX_BTIME, &more), 0);
  CHECK_EQ(more.stx_size, 5u);
  CHECK_EQ(more.stx_ino, old.st_ino);
  CHECK_EQ(more.stx_mode, old.st_mode);
  CHECK_EQ(more.stx_nlink, old.st_nlink);
  CHECK_EQ(more.stx_blocks, (uint64_t)old.st_blocks);
  CHECK_EQ(more.stx_mtime.tv_sec, old.st_mtim.tv_sec);
  CHECK_EQ(makedev(more.stx_dev_major, more.stx_dev_minor), old.st_dev);
  CHECK_EQ(more.stx_mask & STATX_BASIC_STATS, STATX_BASIC_STATS);
  CHECK_EQ(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &more), 0);
  CHECK_ERRNO(statx(AT_FDCWD, "a", 0, 1u << 31, &more), EINVAL);
  CHECK_ERRNO(statx(AT_FDCWD, "a", 0x8000, 0, &more), EINVAL);
  CHECK_ERRNO(statx(fd, "", 0, 0, &more), ENOENT);
  close(fd);
}
PROPERTY(close_range_closes_and_marks) {
  int a = fcntl(0, F_DUPFD, 100), b = fcntl(0, F_DUPFD, 101), c = fcntl(0, F_DUPFD, 102);
  CHECK_EQ(close_range(101, 101, CLOSE_RANGE_CLOEXEC), 0);
  CHECK_EQ(fcntl(a, F_GETFD), 0);
  CHECK_EQ(fcntl(b, F_GETFD), FD_CLOEXEC);
  CHECK_EQ(close_range(100, 101, 0), 0);
  CHECK_ERRNO(fcntl(a, F_GETFD), EBADF);
  CHECK_ERRNO(fcntl(b, F_GETFD), EBADF);
  CHECK_EQ(fcntl(c, F_GETFD), 0);
  CHECK_EQ(close_range(100, ~0u, CLOSE_RANGE_UNSHARE), 0);
  CHECK_ERRNO(fcntl(c, F_GETFD), EBADF);
  CHECK_ERRNO(close_range(5, 4, 0), EINVAL);
  CHECK_ERRNO(close_range(100, 101, 64), EINVAL);
}
PROPERTY(attributes_are_kept) {
  Place place;
  int fd = make("a");
  char value[16];
  CHECK_EQ(setxattr("a", "trusted.one", "first", 5, 0), 0);
  CHECK_EQ(getxattr("a", "trusted.one", value, sizeof value), 5);
  CHECK_EQ(memcmp(value, "first", 5), 0);
  CHECK_EQ(fsetxattr(fd, "trusted.one", "2nd", 3, XATTR_REPLACE), 0);
  CHECK_EQ(fgetxattr(fd, "trusted.one", nullptr, 0), 3);
  CHECK_ERRNO(fgetxattr(fd, "trusted.one", value, 2), ERANGE);
  CHECK_ERRNO(setxattr("a", "trusted.one", "", 0, XATTR_CREATE), EEXIST);
  CHECK_ERRNO(setxattr("a", "trusted.two", "", 0, XATTR_REPLACE), ENODATA);
  CHECK_EQ(removexattr("a", "trusted.one"), 0);
  CHECK_ERRNO(getxattr("a", "trusted.one", value, sizeof value), ENODATA);
  close(fd);
}
PROPERTY(attributes_are_listed) {
  Place place;
  int fd = make("a");
  CHECK_EQ(fsetxattr(fd, "trusted.one", "1", 1, 0), 0);
  CHECK_EQ(fsetxattr(fd, "trusted.two", "2", 1, 0), 0);
  char names[256];
  ssize_t length = flistxattr(fd, names, sizeof names);
  CHECK_EQ(length, 24);
  CHECK_EQ(listxattr("a", nullptr, 0), 24);
  CHECK_ERRNO(listxattr("a", names, 3), ERANGE);
  CHECK_EQ(fremovexattr(fd, "trusted.two"), 0);
  CHECK_EQ(llistxattr("a", names, sizeof names), 12);
  close(fd);
}
PROPERTY(attributes_are_checked) {
  Place place;
  close(make("a"));
  std::string longname = "trusted." + std::string(300, 'x');
  CHECK_ERRNO(setxattr("a", longname.c_str(), "", 0, 0), ERANGE);
  CHECK_ERRNO(setxattr("a", "nonsense.x", "", 0, 0), EOPNOTSUPP);
  CHECK_ERRNO(setxattr("a", "", "", 0, 0), ERANGE);
  CHECK_ERRNO(setxattr("missing", "trusted.x", "", 0, 0), ENOENT);
  CHECK_ERRNO(setxattr("a", "trusted.x", "", 0, 8), EINVAL);
  CHECK_ERRNO(setxattr("a", "trusted.x", "", 1 << 20, 0), E2BIG);
}
PROPERTY(times_are_set_to_the_nanosecond) {
  Place place;
  int fd = make("a");
  timespec times[2] = {{1000, 123456789}, {2000, 987654321}};
  CHECK_EQ(futimens(fd, times), 0);
  struct stat status;
  CHECK_EQ(fstat(fd, &status), 0);
  CHECK_EQ(status.st_atim.tv_sec, 1000);
  CHECK_EQ(status.st_mtim.tv_nsec, 987654321);
  times[0].tv_nsec = UTIME_OMIT;
  times[1].tv_nsec = UTIME_NOW;
  CHECK_EQ(utimensat(AT_FDCWD, "a", times, 0), 0);
  CHECK_EQ(fstat(fd, &status), 0);
  CHECK_EQ(status.st_atim.tv_sec, 1000);
  CHECK(status.st_mtim.tv_sec > 1000000000);
  times[0].tv_nsec = 1000000000;
  CHECK_ERRNO(utimensat(AT_FDCWD, "a", times, 0), EINVAL);
  close(fd);
}
PROPERTY(special_files_are_made) {
  Place place;
  CHECK_EQ(mkfifo("fifo", 0600), 0);
  struct stat status;
  CHECK_EQ(stat("fifo", &status), 0);
  CHECK(S_ISFIFO(status.st_mode));
  CHECK_ERRNO(open("fifo", O_WRONLY | O_NONBLOCK), ENXIO);
  CHECK_ERRNO(mkfifo("fifo", 0600), EEXIST);
  CHECK_ERRNO(mknod("a", S_IFDIR, 0), EPERM);
}
PROPERTY(links_are_followed_so_far) {
  Place place;
  CHECK_EQ(symlink("link", "link"), 0);
  CHECK_ERRNO(open("link", O_RDONLY), ELOOP);
  char target[16];
  CHECK_EQ(readlink("link", target, sizeof target), 4);
  CHECK_EQ(readlink("link", target, 2), 2);
  CHECK_ERRNO(readlink("link", target, 0), EINVAL);
  CHECK_ERRNO(readlink(".", target, sizeof target), EINVAL);
  CHECK_ERRNO(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
  int fd = open("link", O_PATH | O_NOFOLLOW);
  CHECK(fd >= 0);
  CHECK_ERRNO(read(fd, target, 1), EBADF);
  close(fd);
}
PROPERTY(hard_links_share_a_file) {
  Place place;
  int fd = make("a", "shared");
  CHECK_EQ(link("a", "b"), 0);
  struct stat status;
  CHECK_EQ(fstat(fd, &status), 0);
  CHECK_EQ(status.st_nlink, 2u);
  CHECK_EQ(unlink("a"), 0);
  CHECK_EQ(fstat(fd, &status), 0);
  CHECK_EQ(status.st_nlink, 1u);
  CHECK_ERRNO(link("missing", "c"), ENOENT);
  CHECK_ERRNO(link("b", "b"), EEXIST);
  CHECK_ERRNO(link(".", "c"), EPERM);
  close(fd);
}
PROPERTY(renames_exchange) {
  Place place;
  close(make("a", "A"));
  close(make("b", "BB"));
  CHECK_EQ(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE), 0);
  struct stat status;
  CHECK_EQ(stat("a", &status), 0);
  CHECK_EQ(status.st_size, 2);
}
PROPERTY(renames_replace_and_refuse) {
  Place place;
  close(make("a", "A"));
  close(make("b", "BB"));
  CHECK_ERRNO(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE), EEXIST);
  struct stat status;
  CHECK_EQ(mkdir("dir", 0755), 0);
  CHECK_ERRNO(rename("a", "dir"), EISDIR);
  CHECK_ERRNO(rename("dir", "a"), ENOTDIR);
  CHECK_ERRNO(rename("dir", "dir/inner"), EINVAL);
  CHECK_EQ(rename("a", "b"), 0);
  CHECK_ERRNO(stat("a", &status), ENOENT);
  CHECK_ERRNO(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", 64), EINVAL);
}
PROPERTY(chroot_moves_the_root) {
  Place place;
  CHECK_EQ(mkdir("dir", 0755), 0);
  close(make("dir/inner"));
  pid_t pid = fork();
  if (pid == 0) {
    if (chroot("dir") != 0 || chdir("/") != 0) _exit(1);
    if (access("/inner", F_OK) != 0) _exit(2);
    if (access("/../../tmp", F_OK) != -1) _exit(3);
    char cwd[16];
    _exit(getcwd(cwd, sizeof cwd) != nullptr && strcmp(cwd, "/") == 0 ? 0 : 4);
  }
  int status;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK_EQ(status, 0);
}
PROPERTY(names_have_limits) {
  std::string name(255, 'n'), too_long(256, 'n'), path(5000, '/');
  int fd = open(("/tmp/" + name).c_str(), O_CREAT | O_RDWR, 0600);
  CHECK(fd >= 0);
  close(fd);
  CHECK_EQ(unlink(("/tmp/" + name).c_str()), 0);
  CHECK_ERRNO(open(("/tmp/" + too_long).c_str(), O_CREAT | O_RDWR, 0600), ENAMETOOLONG);
  CHECK_ERRNO(open(path.c_str(), O_RDONLY), ENAMETOOLONG);
  CHECK_ERRNO(open("", O_RDONLY), ENOENT);
  CHECK_ERRNO(syscall(SYS_openat, AT_FDCWD, 8, O_RDONLY), EFAULT);
  CHECK_ERRNO(open("/tmp/missing/x", O_CREAT | O_RDWR, 0600), ENOENT);
  CHECK_ERRNO(open("/dev/null/x", O_RDONLY), ENOTDIR);
}
