// vfork, clone, clone3 and pidfds.
// variants: dynamic
// configurations: microvm,1 q35,2
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cstdint>

#include "check.hpp"
#include "children.hpp"

PROPERTY(a_vfork_child_borrows_the_memory) {
  volatile int value = 1;
  pid_t pid = vfork();
  if (pid == 0) {
    value = 2;
    _exit(7);
  }
  CHECK_EQ(value, 2);
  CHECK_EQ(WEXITSTATUS(status_of(pid)), 7);
}

PROPERTY(clone_vm_without_vfork_shares_memory) {
  static char stack[65536];
  static volatile int value;
  value = 0;
  pid_t pid = clone(
      [](void*) {
        value = 5;
        return 3;
      },
      stack + sizeof stack, CLONE_VM | SIGCHLD, nullptr);
  CHECK(pid > 0);
  CHECK_EQ(WEXITSTATUS(status_of(pid)), 3);
  CHECK_EQ(value, 5);
}

PROPERTY(clone_files_shares_descriptors) {
  static char stack[65536];
  static int fd;
  fd = open("/dev/null", O_RDONLY);
  pid_t pid =
      clone([](void*) { return close(fd); }, stack + sizeof stack, CLONE_FILES | SIGCHLD, nullptr);
  CHECK_EQ(status_of(pid), 0);
  CHECK_ERRNO(close(fd), EBADF);
}

PROPERTY(clone_fs_shares_the_directory) {
  static char stack[65536];
  CHECK_EQ(chdir("/tmp"), 0);
  pid_t pid =
      clone([](void*) { return chdir("/"); }, stack + sizeof stack, CLONE_FS | SIGCHLD, nullptr);
  CHECK_EQ(status_of(pid), 0);
  char name[64];
  CHECK(getcwd(name, sizeof name) != nullptr);
  CHECK_EQ(strcmp(name, "/"), 0);
}

PROPERTY(clone_tid_words_are_written_and_cleared_only_where_memory_is_shared) {
  static char stack[65536];
  auto* words =
      (pid_t*)mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  static pid_t* child_word;
  child_word = words + 1;
  pid_t pid = clone([](void*) { return *child_word == getpid() ? 0 : 1; }, stack + sizeof stack,
                    CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD,
                    nullptr, words, nullptr, words + 1);
  CHECK_EQ(words[0], pid);
  CHECK_EQ(status_of(pid), 0);
  CHECK_EQ(words[1], pid);
  pid = clone([](void*) { return 0; }, stack + sizeof stack,
              CLONE_VM | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD, nullptr, nullptr,
              nullptr, words + 1);
  CHECK_EQ(status_of(pid), 0);
  CHECK_EQ(words[1], 0);
  munmap(words, 4096);
}

PROPERTY(a_child_without_exit_signal_needs_wall) {
  static char stack[65536];
  pid_t pid = clone([](void*) { return 8; }, stack + sizeof stack, 0, nullptr);
  CHECK_ERRNO(waitpid(pid, nullptr, 0), ECHILD);
  int status;
  CHECK_EQ(waitpid(pid, &status, __WALL), pid);
  CHECK_EQ(WEXITSTATUS(status), 8);
}

PROPERTY(clone3_makes_a_child_and_a_pidfd) {
  int pidfd = -1;
  clone_args arguments = {};
  arguments.flags = CLONE_PIDFD;
  arguments.pidfd = (uint64_t)&pidfd;
  arguments.exit_signal = SIGCHLD;
  long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid == 0) _exit(12);
  CHECK(pid > 0);
  CHECK(pidfd >= 0);
  CHECK_EQ(fcntl(pidfd, F_GETFD), FD_CLOEXEC);
  siginfo_t info = {};
  CHECK_EQ(waitid((idtype_t)3 /* P_PIDFD */, (id_t)pidfd, &info, WEXITED), 0);
  CHECK_EQ(info.si_status, 12);
  CHECK_ERRNO(syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, nullptr, 0), ESRCH);
  close(pidfd);
}

PROPERTY(clone3_refuses_nonsense) {
  clone_args arguments = {};
  CHECK_ERRNO(syscall(SYS_clone3, &arguments, 32), EINVAL);
  arguments.exit_signal = 200;
  CHECK_ERRNO(syscall(SYS_clone3, &arguments, sizeof arguments), EINVAL);
  arguments.exit_signal = SIGCHLD;
  arguments.flags = CLONE_THREAD;
  CHECK_ERRNO(syscall(SYS_clone3, &arguments, sizeof arguments), EINVAL);
  arguments.flags = CLONE_SIGHAND;
  CHECK_ERRNO(syscall(SYS_clone3, &arguments, sizeof arguments), EINVAL);
  arguments.flags = 0;
  arguments.stack_size = 4096;
  CHECK_ERRNO(syscall(SYS_clone3, &arguments, sizeof arguments), EINVAL);
}

PROPERTY(a_pidfd_becomes_readable_at_the_end) {
  Pipe go;
  pid_t pid = start([&] {
    go.hear();
    return 0;
  });
  int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
  CHECK(pidfd >= 0);
  pollfd item = {pidfd, POLLIN, 0};
  CHECK_EQ(poll(&item, 1, 0), 0);
  go.say();
  CHECK_EQ(poll(&item, 1, 10000), 1);
  CHECK_EQ(item.revents, POLLIN);
  CHECK_EQ(status_of(pid), 0);
  close(pidfd);
}

PROPERTY(a_pidfd_signals_its_process) {
  pid_t pid = start([] {
    for (;;) pause();
    return 0;
  });
  int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
  CHECK_EQ(syscall(SYS_pidfd_send_signal, pidfd, 0, nullptr, 0), 0);
  CHECK_EQ(syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, nullptr, 0), 0);
  CHECK_EQ(WTERMSIG(status_of(pid)), SIGTERM);
  close(pidfd);
  CHECK_ERRNO(syscall(SYS_pidfd_open, pid, 0), ESRCH);
  CHECK_ERRNO(syscall(SYS_pidfd_open, 0, 0), EINVAL);
  CHECK_ERRNO(syscall(SYS_pidfd_send_signal, 0, 0, nullptr, 0), EBADF);
}

PROPERTY(a_collected_process_is_gone_at_once) {
  for (int turn = 0; turn < 300; ++turn) {
    pid_t pid = start([] { return 0; });
    CHECK_EQ(status_of(pid), 0);
    CHECK_ERRNO(syscall(SYS_pidfd_open, pid, 0), ESRCH);
    CHECK_ERRNO(syscall(SYS_tgkill, pid, pid, 0), ESRCH);
    CHECK_ERRNO(sched_getscheduler(pid), ESRCH);
  }
}

PROPERTY(pidfd_getfd_takes_a_copy) {
  Pipe data, ready;
  pid_t pid = start([&] {
    int copy = dup2(data.ends[1], 77);
    ready.say();
    data.hear();
    return copy == 77 ? 0 : 1;
  });
  ready.hear();
  int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
  int fd = (int)syscall(SYS_pidfd_getfd, pidfd, 77, 0);
  CHECK(fd >= 0);
  CHECK_ERRNO(syscall(SYS_pidfd_getfd, pidfd, 78, 0), EBADF);
  CHECK_EQ(write(fd, "x", 1), 1);
  CHECK_EQ(status_of(pid), 0);
  close(fd), close(pidfd);
}
