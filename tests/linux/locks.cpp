// fcntl's record locks, open-file-description locks, flock, between processes.
#include "check.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

namespace {

struct flock whole(short type, off_t start = 0, off_t length = 0) {
  struct flock lock{};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = start;
  lock.l_len = length;
  return lock;
}

int open_new(const char* name) {
  unlink(name);
  return open(name, O_RDWR | O_CREAT, 0600);
}

int set(int fd, short type, off_t start = 0, off_t length = 0, int command = F_SETLK) {
  struct flock lock = whole(type, start, length);
  return fcntl(fd, command, &lock);
}

// The exit status of `body` in a child.
template <typename Body>
int in_child(Body body) {
  pid_t child = fork();
  if (child == 0) _exit(body());
  int status = -1;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void sleep_ms(int ms) {
  timespec time{0, ms * 1000000L};
  nanosleep(&time, nullptr);
}

}  // namespace

PROPERTY(child_does_not_inherit_record_locks) {
  int fd = open_new("locked");
  CHECK_EQ(set(fd, F_WRLCK), 0);
  CHECK_EQ(in_child([&] { return set(fd, F_WRLCK) == -1 && errno == EAGAIN ? 1 : 0; }), 1);
  close(fd);
}

PROPERTY(getlk_names_the_holder) {
  int fd = open_new("locked");
  CHECK_EQ(set(fd, F_WRLCK, 10, 5), 0);
  pid_t parent = getpid();
  CHECK_EQ(in_child([&] {
             struct flock lock = whole(F_RDLCK);
             if (fcntl(fd, F_GETLK, &lock) != 0) return 2;
             return lock.l_type == F_WRLCK && lock.l_pid == parent && lock.l_start == 10 &&
                            lock.l_len == 5
                        ? 1
                        : 0;
           }),
           1);
  close(fd);
}

PROPERTY(any_close_releases_record_locks) {
  int fd = open_new("locked"), other = open("locked", O_RDWR);
  CHECK_EQ(set(fd, F_WRLCK), 0);
  close(other);
  CHECK_EQ(in_child([&] { return set(fd, F_WRLCK) == 0 ? 1 : 0; }), 1);
  close(fd);
}

PROPERTY(exit_releases_record_locks) {
  int fd = open_new("locked");
  CHECK_EQ(in_child([&] { return set(fd, F_WRLCK) == 0 ? 1 : 0; }), 1);
  CHECK_EQ(set(fd, F_WRLCK), 0);
  close(fd);
}

PROPERTY(setlkw_waits_for_release) {
  int fd = open_new("locked");
  CHECK_EQ(set(fd, F_WRLCK), 0);
  pid_t child = fork();
  if (child == 0) _exit(set(fd, F_WRLCK, 0, 0, F_SETLKW) == 0 ? 7 : 1);
  sleep_ms(50);
  int status;
  CHECK_EQ(waitpid(child, &status, WNOHANG), 0);
  CHECK_EQ(set(fd, F_UNLCK), 0);
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(WEXITSTATUS(status), 7);
  close(fd);
}

PROPERTY(deadlock_is_seen) {
  int fd = open_new("locked");
  CHECK_EQ(set(fd, F_WRLCK, 0, 1), 0);
  pid_t child = fork();
  if (child == 0) {
    // Holds the second byte, waits for the first.
    if (set(fd, F_WRLCK, 1, 1) != 0) _exit(1);
    _exit(set(fd, F_WRLCK, 0, 1, F_SETLKW) == 0 ? 7 : 2);
  }
  sleep_ms(200);
  CHECK_ERRNO(set(fd, F_WRLCK, 1, 1, F_SETLKW), EDEADLK);
  CHECK_EQ(set(fd, F_UNLCK), 0);
  int status;
  waitpid(child, &status, 0);
  CHECK_EQ(WEXITSTATUS(status), 7);
  close(fd);
}

PROPERTY(setlkw_is_interrupted) {
  int fd = open_new("locked");
  CHECK_EQ(set(fd, F_WRLCK), 0);
  CHECK_EQ(in_child([&] {
             struct sigaction action{};
             action.sa_handler = [](int) {};
             sigaction(SIGALRM, &action, nullptr);
             ualarm(50000, 0);
             return set(fd, F_WRLCK, 0, 0, F_SETLKW) == -1 && errno == EINTR ? 1 : 0;
           }),
           1);
  close(fd);
}

PROPERTY(description_locks_are_shared_by_fork) {
  int fd = open_new("locked");
  CHECK_EQ(set(fd, F_WRLCK, 0, 0, F_OFD_SETLK), 0);
  CHECK_EQ(in_child([&] {
             if (set(fd, F_WRLCK, 0, 0, F_OFD_SETLK) != 0) return 2;
             int other = open("locked", O_RDWR);
             return set(other, F_WRLCK, 0, 0, F_OFD_SETLK) == -1 && errno == EAGAIN ? 1 : 0;
           }),
           1);
  // The child's close was not the last.
  int other = open("locked", O_RDWR);
  CHECK_ERRNO(set(other, F_WRLCK, 0, 0, F_OFD_SETLK), EAGAIN);
  close(fd);
  CHECK_EQ(set(other, F_WRLCK, 0, 0, F_OFD_SETLK), 0);
  close(other);
}

PROPERTY(flock_belongs_to_the_description) {
  int fd = open_new("locked");
  CHECK_EQ(flock(fd, LOCK_EX), 0);
  CHECK_EQ(in_child([&] {
             int other = open("locked", O_RDWR);
             if (flock(other, LOCK_SH | LOCK_NB) != -1 || errno != EWOULDBLOCK) return 2;
             return flock(fd, LOCK_UN) == 0 ? 1 : 0;  // the parent's lock
           }),
           1);
  int other = open("locked", O_RDWR);
  CHECK_EQ(flock(other, LOCK_SH | LOCK_NB), 0);
  CHECK_EQ(flock(fd, LOCK_SH | LOCK_NB), 0);
  CHECK_ERRNO(flock(fd, LOCK_EX | LOCK_NB), EWOULDBLOCK);
  close(other);
  CHECK_EQ(flock(fd, LOCK_EX | LOCK_NB), 0);
  close(fd);
}

PROPERTY(flock_and_fcntl_do_not_meet) {
  int fd = open_new("locked");
  CHECK_EQ(flock(fd, LOCK_EX), 0);
  CHECK_EQ(in_child([&] {
             int other = open("locked", O_RDWR);
             return set(other, F_WRLCK) == 0 ? 1 : 0;
           }),
           1);
  close(fd);
}

PROPERTY(locks_do_not_outlive_the_file) {
  int fd = open_new("locked");
  CHECK_EQ(set(fd, F_WRLCK), 0);
  unlink("locked");
  close(fd);
  fd = open_new("locked");
  CHECK_EQ(in_child([&] { return set(fd, F_WRLCK) == 0 ? 1 : 0; }), 1);
  close(fd);
  unlink("locked");
}
