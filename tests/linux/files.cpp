// Descriptors, regular files, positions, modes and their errors.
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "check.hpp"

static const char* const kFile = "/tmp/aril-files-test";

static int fresh() { return open(kFile, O_RDWR | O_CREAT | O_TRUNC, 0644); }

PROPERTY(read_back_what_was_written) {
  int fd = fresh();
  CHECK(fd >= 0);
  CHECK_EQ(write(fd, "hello world", 11), 11);
  CHECK_EQ(lseek(fd, 6, SEEK_SET), 6);
  char text[16] = {};
  CHECK_EQ(read(fd, text, 16), 5);
  CHECK(!strcmp(text, "world"));
  CHECK_EQ(read(fd, text, 16), 0);
  close(fd);
}
PROPERTY(open_gives_the_lowest_free_number) {
  int a = open("/dev/null", O_RDONLY), b = open("/dev/null", O_RDONLY);
  close(a);
  CHECK_EQ(open("/dev/null", O_RDONLY), a);
  close(a);
  close(b);
}
PROPERTY(pread_and_pwrite_leave_the_position) {
  int fd = fresh();
  CHECK_EQ(pwrite(fd, "abc", 3, 10), 3);
  CHECK_EQ(lseek(fd, 0, SEEK_CUR), 0);
  char text[4] = {};
  CHECK_EQ(pread(fd, text, 3, 10), 3);
  CHECK(!strcmp(text, "abc"));
  CHECK_EQ(pread(fd, text, 1, 0), 1);
  CHECK_EQ(text[0], 0);
  close(fd);
}
PROPERTY(append_writes_at_the_end) {
  int fd = fresh();
  CHECK_EQ(write(fd, "12345", 5), 5);
  int append = open(kFile, O_WRONLY | O_APPEND);
  CHECK_EQ(write(append, "6", 1), 1);
  CHECK_EQ(lseek(append, 0, SEEK_CUR), 6);
  CHECK_EQ(lseek(append, 0, SEEK_SET), 0);
  CHECK_EQ(write(append, "7", 1), 1);
  struct stat status;
  CHECK_EQ(fstat(fd, &status), 0);
  CHECK_EQ(status.st_size, 7);
  close(append);
  close(fd);
}
PROPERTY(lseek_checks_its_arguments) {
  int fd = fresh();
  CHECK_ERRNO(lseek(fd, -1, SEEK_SET), EINVAL);
  CHECK_ERRNO(lseek(fd, 0, 77), EINVAL);
  CHECK_EQ(lseek(fd, 1000, SEEK_END), 1000);
  int pipe_ends[2];
  CHECK_EQ(pipe(pipe_ends), 0);
  CHECK_ERRNO(lseek(pipe_ends[0], 0, SEEK_CUR), ESPIPE);
  CHECK_ERRNO(lseek(999, 0, SEEK_CUR), EBADF);
  close(pipe_ends[0]);
  close(pipe_ends[1]);
  close(fd);
}
PROPERTY(holes_read_as_zeroes) {
  int fd = fresh();
  CHECK_EQ(lseek(fd, 100000, SEEK_SET), 100000);
  CHECK_EQ(write(fd, "x", 1), 1);
  std::vector<char> bytes(100001, 'q');
  CHECK_EQ(pread(fd, bytes.data(), bytes.size(), 0), 100001);
  CHECK(std::all_of(bytes.begin(), bytes.end() - 1, [](char c) { return c == 0; }));
  CHECK_EQ(bytes.back(), 'x');
  close(fd);
}
PROPERTY(ftruncate_shrinks_and_grows) {
  int fd = fresh();
  CHECK_EQ(write(fd, "abcdef", 6), 6);
  CHECK_EQ(ftruncate(fd, 3), 0);
  CHECK_EQ(ftruncate(fd, 6), 0);
  char text[7] = {};
  CHECK_EQ(pread(fd, text, 6, 0), 6);
  CHECK(!memcmp(text, "abc\0\0\0", 6));
  CHECK_ERRNO(ftruncate(fd, -1), EINVAL);
  int readonly = open(kFile, O_RDONLY);
  CHECK_ERRNO(ftruncate(readonly, 0), EINVAL);
  close(readonly);
  close(fd);
}
PROPERTY(access_mode_is_enforced) {
  close(fresh());
  int readonly = open(kFile, O_RDONLY), writeonly = open(kFile, O_WRONLY);
  char byte;
  CHECK_ERRNO(write(readonly, "x", 1), EBADF);
  CHECK_ERRNO(read(writeonly, &byte, 1), EBADF);
  close(readonly);
  close(writeonly);
}
PROPERTY(open_reports_the_right_error) {
  CHECK_ERRNO(open("/nonexistent", O_RDONLY), ENOENT);
  CHECK_ERRNO(open("/nonexistent/x", O_RDONLY | O_CREAT, 0644), ENOENT);
  CHECK_ERRNO(open("", O_RDONLY), ENOENT);
  CHECK_ERRNO(open("/tmp", O_WRONLY), EISDIR);
  CHECK_ERRNO(open("/dev/null/x", O_RDONLY), ENOTDIR);
  CHECK_ERRNO(open("/dev/null", O_RDONLY | O_DIRECTORY), ENOTDIR);
  close(fresh());
  CHECK_ERRNO(open(kFile, O_RDWR | O_CREAT | O_EXCL, 0644), EEXIST);
  std::string name(300, 'n');
  CHECK_ERRNO(open(("/tmp/" + name).c_str(), O_RDONLY), ENAMETOOLONG);
  CHECK_ERRNO(open((const char*)1, O_RDONLY), EFAULT);
}
PROPERTY(bad_pointers_give_efault_not_death) {
  int fd = fresh();
  CHECK_EQ(write(fd, "abcd", 4), 4);
  CHECK_ERRNO(write(fd, (void*)8, 4), EFAULT);
  lseek(fd, 0, SEEK_SET);
  CHECK_ERRNO(read(fd, (void*)8, 4), EFAULT);
  CHECK_ERRNO(fstat(fd, (struct stat*)8), EFAULT);
  CHECK_ERRNO(read(fd, (void*)0xffff800000000000, 4), EFAULT);
  close(fd);
}
PROPERTY(dup_shares_the_position) {
  int fd = fresh();
  int copy = dup(fd);
  CHECK_EQ(write(fd, "abc", 3), 3);
  CHECK_EQ(lseek(copy, 0, SEEK_CUR), 3);
  CHECK_EQ(dup2(fd, 50), 50);
  CHECK_EQ(dup2(fd, fd), fd);
  CHECK_ERRNO(dup3(fd, fd, 0), EINVAL);
  CHECK_ERRNO(dup2(999, 50), EBADF);
  CHECK_EQ(fcntl(fd, F_DUPFD, 60), 60);
  close(60);
  close(50);
  close(copy);
  close(fd);
}
PROPERTY(close_on_exec_is_a_property_of_the_descriptor) {
  int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  int copy = dup(fd);
  CHECK_EQ(fcntl(copy, F_GETFD), 0);
  CHECK_EQ(fcntl(copy, F_SETFD, FD_CLOEXEC), 0);
  CHECK_EQ(fcntl(copy, F_GETFD), FD_CLOEXEC);
  close(copy);
  close(fd);
}
PROPERTY(status_flags_can_be_changed) {
  int fd = fresh();
  CHECK_EQ(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
  CHECK_EQ(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK), 0);
  CHECK_EQ(fcntl(fd, F_GETFL) & (O_APPEND | O_NONBLOCK), O_APPEND | O_NONBLOCK);
  close(fd);
}
PROPERTY(vectors_are_gathered_and_scattered) {
  int fd = fresh();
  char a[] = "one", b[] = "two";
  struct iovec out[] = {{a, 3}, {nullptr, 0}, {b, 3}};
  CHECK_EQ(writev(fd, out, 3), 6);
  char x[4] = {}, y[4] = {};
  struct iovec in[] = {{x, 2}, {y, 3}};
  CHECK_EQ(preadv(fd, in, 2, 1), 5);
  CHECK(!strcmp(x, "ne") && !strcmp(y, "two"));
  CHECK_ERRNO(writev(fd, out, -1), EINVAL);
  CHECK_ERRNO(writev(fd, out, 1025), EINVAL);
  CHECK_EQ(writev(fd, out, 0), 0);
  close(fd);
}
PROPERTY(stat_tells_type_mode_and_size) {
  int fd = fresh();
  CHECK_EQ(fchmod(fd, 0640), 0);
  CHECK_EQ(write(fd, "abc", 3), 3);
  struct stat status;
  CHECK_EQ(stat(kFile, &status), 0);
  CHECK(S_ISREG(status.st_mode));
  CHECK_EQ(status.st_mode & 07777, 0640u);
  CHECK_EQ(status.st_size, 3);
  CHECK_EQ(status.st_nlink, 1u);
  CHECK_EQ(stat("/tmp", &status), 0);
  CHECK(S_ISDIR(status.st_mode));
  CHECK_EQ(stat("/dev/null", &status), 0);
  CHECK(S_ISCHR(status.st_mode));
  CHECK_EQ(fstatat(fd, "", &status, AT_EMPTY_PATH), 0);
  CHECK_EQ(status.st_size, 3);
  close(fd);
}
PROPERTY(statx_agrees_with_stat) {
  close(fresh());
  struct stat status;
  struct statx extended;
  CHECK_EQ(stat(kFile, &status), 0);
  CHECK_EQ(statx(AT_FDCWD, kFile, 0, STATX_BASIC_STATS, &extended), 0);
  CHECK_EQ(extended.stx_ino, status.st_ino);
  CHECK_EQ(extended.stx_mode, status.st_mode);
  CHECK_EQ((long)extended.stx_mtime.tv_sec, (long)status.st_mtim.tv_sec);
}
PROPERTY(times_can_be_set) {
  close(fresh());
  struct timespec times[2] = {{1000, 5}, {2000, 7}};
  CHECK_EQ(utimensat(AT_FDCWD, kFile, times, 0), 0);
  struct stat status;
  CHECK_EQ(stat(kFile, &status), 0);
  CHECK_EQ(status.st_atim.tv_sec, 1000);
  CHECK_EQ(status.st_mtim.tv_sec, 2000);
  CHECK_EQ(status.st_mtim.tv_nsec, 7);
  times[0].tv_nsec = UTIME_OMIT;
  times[1].tv_sec = 3000;
  CHECK_EQ(utimensat(AT_FDCWD, kFile, times, 0), 0);
  CHECK_EQ(stat(kFile, &status), 0);
  CHECK_EQ(status.st_atim.tv_sec, 1000);
  CHECK_EQ(status.st_mtim.tv_sec, 3000);
}
PROPERTY(unlinked_file_lives_until_it_is_closed) {
  int fd = fresh();
  CHECK_EQ(unlink(kFile), 0);
  CHECK_ERRNO(access(kFile, F_OK), ENOENT);
  CHECK_EQ(write(fd, "still", 5), 5);
  struct stat status;
  CHECK_EQ(fstat(fd, &status), 0);
  CHECK_EQ(status.st_nlink, 0u);
  CHECK_EQ(status.st_size, 5);
  close(fd);
}
PROPERTY(tmpfile_has_no_name_until_linked) {
  int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
  CHECK(fd >= 0);
  CHECK_EQ(write(fd, "x", 1), 1);
  struct stat status;
  CHECK_EQ(fstat(fd, &status), 0);
  CHECK_EQ(status.st_nlink, 0u);
  close(fd);
}
PROPERTY(sendfile_copies_between_files) {
  int fd = fresh();
  CHECK_EQ(write(fd, "0123456789", 10), 10);
  int other = open("/tmp/aril-files-other", O_RDWR | O_CREAT | O_TRUNC, 0644);
  off_t offset = 2;
  CHECK_EQ(sendfile(other, fd, &offset, 5), 5);
  CHECK_EQ(offset, 7);
  char text[6] = {};
  CHECK_EQ(pread(other, text, 5, 0), 5);
  CHECK(!strcmp(text, "23456"));
  CHECK_EQ(copy_file_range(fd, nullptr, other, nullptr, 0, 0), 0);
  close(other);
  close(fd);
  unlink("/tmp/aril-files-other");
}
PROPERTY(fallocate_extends_and_punches) {
  int fd = fresh();
  std::vector<char> bytes(16384, 'a');
  CHECK_EQ(write(fd, bytes.data(), bytes.size()), 16384);
  CHECK_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 8192), 0);
  CHECK_EQ(pread(fd, bytes.data(), bytes.size(), 0), 16384);
  CHECK(bytes[4095] == 'a' && bytes[4096] == 0 && bytes[12287] == 0 && bytes[12288] == 'a');
  CHECK_EQ(fallocate(fd, 0, 0, 20000), 0);
  struct stat status;
  CHECK_EQ(fstat(fd, &status), 0);
  CHECK_EQ(status.st_size, 20000);
  close(fd);
}
PROPERTY(flock_excludes_other_descriptions) {
  int a = fresh(), b = open(kFile, O_RDWR);
  CHECK_EQ(flock(a, LOCK_EX), 0);
  CHECK_ERRNO(flock(b, LOCK_EX | LOCK_NB), EWOULDBLOCK);
  CHECK_EQ(flock(a, LOCK_UN), 0);
  CHECK_EQ(flock(b, LOCK_EX | LOCK_NB), 0);
  close(b);
  CHECK_EQ(flock(a, LOCK_SH | LOCK_NB), 0);
  close(a);
}
PROPERTY(record_locks_within_one_process_do_not_conflict) {
  int fd = fresh();
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_len = 10;
  CHECK_EQ(fcntl(fd, F_SETLK, &lock), 0);
  CHECK_EQ(fcntl(fd, F_SETLK, &lock), 0);
  CHECK_EQ(fcntl(fd, F_GETLK, &lock), 0);
  CHECK_EQ(lock.l_type, F_UNLCK);
  close(fd);
}
PROPERTY(ofd_locks_conflict_between_descriptions) {
  int a = fresh(), b = open(kFile, O_RDWR);
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_len = 10;
  CHECK_EQ(fcntl(a, F_OFD_SETLK, &lock), 0);
  CHECK_ERRNO(fcntl(b, F_OFD_SETLK, &lock), EAGAIN);
  lock.l_start = 10;
  CHECK_EQ(fcntl(b, F_OFD_SETLK, &lock), 0);
  close(a);
  close(b);
}
PROPERTY(device_files_behave) {
  int zero = open("/dev/zero", O_RDONLY), null = open("/dev/null", O_RDWR);
  int full = open("/dev/full", O_WRONLY), random = open("/dev/urandom", O_RDONLY);
  char bytes[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  CHECK_EQ(read(zero, bytes, 8), 8);
  CHECK(!memcmp(bytes, "\0\0\0\0\0\0\0\0", 8));
  CHECK_EQ(read(null, bytes, 8), 0);
  CHECK_EQ(write(null, bytes, 8), 8);
  CHECK_ERRNO(write(full, bytes, 8), ENOSPC);
  CHECK_EQ(read(random, bytes, 8), 8);
  CHECK(memcmp(bytes, "\0\0\0\0\0\0\0\0", 8));
  close(zero);
  close(null);
  close(full);
  close(random);
}
PROPERTY(statfs_answers) {
  struct statfs status;
  CHECK_EQ(statfs("/tmp", &status), 0);
  CHECK(status.f_bsize > 0 && status.f_namelen == 255);
  CHECK_ERRNO(statfs("/nonexistent", &status), ENOENT);
}
PROPERTY(umask_limits_new_modes) {
  unlink(kFile);
  mode_t before = umask(027);
  int fd = open(kFile, O_RDWR | O_CREAT, 0666);
  umask(before);
  struct stat status;
  CHECK_EQ(fstat(fd, &status), 0);
  CHECK_EQ(status.st_mode & 0777, 0640u);
  close(fd);
}
PROPERTY(closing_twice_is_an_error) {
  int fd = open("/dev/null", O_RDONLY);
  CHECK_EQ(close(fd), 0);
  CHECK_ERRNO(close(fd), EBADF);
  CHECK_ERRNO(close(-1), EBADF);
}
PROPERTY(proc_self_fd_names_open_files) {
  int fd = fresh();
  char link[64], target[256] = {};
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  CHECK(readlink(link, target, 255) > 0);
  CHECK(!strcmp(target, kFile));
  close(fd);
  unlink(kFile);
}
