// fork, wait, and what parents and children share.
// variants: dynamic
// configurations: microvm,1 q35,2 process,1
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "check.hpp"
#include "children.hpp"

PROPERTY(exit_status_reaches_the_parent) {
  int status = status_of(start([] { return 42; }));
  CHECK(WIFEXITED(status));
  CHECK_EQ(WEXITSTATUS(status), 42);
}

PROPERTY(only_eight_bits_of_the_status_arrive) {
  CHECK_EQ(WEXITSTATUS(status_of(start([] { return 0x1ff; }))), 0xff);
}

PROPERTY(a_signal_that_kills_is_reported) {
  int status = status_of(start([] { return raise(SIGKILL); }));
  CHECK(WIFSIGNALED(status));
  CHECK_EQ(WTERMSIG(status), SIGKILL);
}

PROPERTY(memory_is_copied) {
  static int value;
  value = 1;
  int status = status_of(start([] { return ++value == 2 ? 0 : 1; }));
  CHECK_EQ(status, 0);
  CHECK_EQ(value, 1);
}

PROPERTY(the_parents_writes_do_not_reach_the_child) {
  static char* page =
      (char*)mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(page, 1, 1 << 20);
  Pipe go;
  pid_t pid = start([&] {
    go.hear();
    for (int i = 0; i < 1 << 20; i += 4096)
      if (page[i] != 1) return 1;
    return 0;
  });
  memset(page, 2, 1 << 20);
  go.say();
  CHECK_EQ(status_of(pid), 0);
}

PROPERTY(shared_memory_is_shared) {
  auto* word =
      (volatile int*)mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK_EQ(status_of(start([&] {
             *word = 77;
             return 0;
           })),
           0);
  CHECK_EQ(*word, 77);
  munmap((void*)word, 4096);
}

PROPERTY(the_child_has_another_pid_and_knows_its_parent) {
  pid_t self = getpid();
  CHECK_EQ(status_of(start([&] { return getpid() != self && getppid() == self ? 0 : 1; })), 0);
}

PROPERTY(descriptors_are_copied_but_share_the_position) {
  int fd = memfd_create("x", 0);
  (void)!write(fd, "abcdef", 6);
  lseek(fd, 0, SEEK_SET);
  CHECK_EQ(status_of(start([&] {
             char byte;
             (void)!read(fd, &byte, 1);
             close(fd);
             return byte == 'a' ? 0 : 1;
           })),
           0);
  char byte = 0;
  CHECK_EQ(read(fd, &byte, 1), 1);
  CHECK_EQ(byte, 'b');
  close(fd);
}

PROPERTY(a_pipe_ends_when_the_last_writer_has_gone) {
  Pipe pipe;
  pid_t pid = start([&] {
    pipe.say('q');
    return 0;
  });
  close(pipe.ends[1]);
  pipe.ends[1] = -1;
  char text[4];
  CHECK_EQ(read(pipe.ends[0], text, 4), 1);
  CHECK_EQ(read(pipe.ends[0], text, 4), 0);
  CHECK_EQ(status_of(pid), 0);
}

PROPERTY(the_working_directory_is_the_childs_own) {
  CHECK_EQ(chdir("/tmp"), 0);
  CHECK_EQ(status_of(start([] { return chdir("/"); })), 0);
  char name[64];
  CHECK(getcwd(name, sizeof name) != nullptr);
  CHECK_EQ(strcmp(name, "/tmp"), 0);
}

PROPERTY(wait_without_children_fails) { CHECK_ERRNO(wait(nullptr), ECHILD); }

PROPERTY(wait_for_a_stranger_fails) {
  pid_t pid = start([] { return 0; });
  CHECK_ERRNO(waitpid(getppid() > 0 ? getppid() : 1, nullptr, 0), ECHILD);
  CHECK_EQ(status_of(pid), 0);
}

PROPERTY(wnohang_does_not_wait) {
  Pipe go;
  pid_t pid = start([&] {
    go.hear();
    return 3;
  });
  int status = 99;
  CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
  CHECK_EQ(status, 99);
  go.say();
  CHECK_EQ(WEXITSTATUS(status_of(pid)), 3);
}

PROPERTY(unknown_wait_options_are_refused) { CHECK_ERRNO(waitpid(-1, nullptr, 0x10), EINVAL); }

PROPERTY(waitid_needs_something_to_wait_for) {
  siginfo_t info;
  CHECK_ERRNO(waitid(P_ALL, 0, &info, WNOHANG), EINVAL);
}

PROPERTY(waitid_tells_how_the_child_ended) {
  pid_t pid = start([] { return 9; });
  siginfo_t info = {};
  CHECK_EQ(waitid(P_PID, pid, &info, WEXITED), 0);
  CHECK_EQ(info.si_signo, SIGCHLD);
  CHECK_EQ(info.si_code, CLD_EXITED);
  CHECK_EQ(info.si_status, 9);
  CHECK_EQ(info.si_pid, pid);
  CHECK_EQ((long long)info.si_uid, (long long)getuid());
}

PROPERTY(wnowait_leaves_the_child) {
  pid_t pid = start([] { return 5; });
  siginfo_t info = {};
  CHECK_EQ(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0);
  CHECK_EQ(info.si_status, 5);
  CHECK_EQ(WEXITSTATUS(status_of(pid)), 5);
}

PROPERTY(waitid_with_wnohang_clears_the_pid) {
  Pipe go;
  pid_t pid = start([&] {
    go.hear();
    return 0;
  });
  siginfo_t info;
  memset(&info, 0xff, sizeof info);
  CHECK_EQ(waitid(P_PID, pid, &info, WEXITED | WNOHANG), 0);
  CHECK_EQ(info.si_pid, 0);
  CHECK_EQ(info.si_signo, 0);
  go.say();
  CHECK_EQ(status_of(pid), 0);
}

PROPERTY(a_zombie_can_be_signalled_until_it_is_collected) {
  pid_t pid = start([] { return 0; });
  siginfo_t info;
  CHECK_EQ(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0);
  CHECK_EQ(kill(pid, 0), 0);
  CHECK_EQ(kill(pid, SIGKILL), 0);
  CHECK_EQ(status_of(pid), 0);
  CHECK_ERRNO(kill(pid, 0), ESRCH);
}

PROPERTY(a_zombie_shows_in_proc) {
  pid_t pid = start([] { return 0; });
  siginfo_t info;
  CHECK_EQ(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0);
  char name[32], text[256] = {};
  snprintf(name, sizeof name, "/proc/%d/stat", pid);
  int fd = open(name, O_RDONLY);
  CHECK(fd >= 0);
  CHECK(read(fd, text, sizeof text - 1) > 0);
  close(fd);
  char* state = strrchr(text, ')');
  CHECK(state != nullptr);
  CHECK_EQ(state[2], 'Z');
  CHECK_EQ(status_of(pid), 0);
  CHECK_ERRNO(open(name, O_RDONLY), ENOENT);
}
PROPERTY(usage_of_children_is_counted_when_they_are_collected) {
  rusage before, between, after;
  getrusage(RUSAGE_CHILDREN, &before);
  pid_t pid = start([] {
    clock_t end = clock() + CLOCKS_PER_SEC / 20;
    while (clock() < end) {}
    return 0;
  });
  siginfo_t info;
  waitid(P_PID, pid, &info, WEXITED | WNOWAIT);
  getrusage(RUSAGE_CHILDREN, &between);
  rusage own;
  int status;
  CHECK_EQ(wait4(pid, &status, 0, &own), pid);
  getrusage(RUSAGE_CHILDREN, &after);
  auto total = [](const rusage& usage) {
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000LL + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
  };
  CHECK_EQ(total(between), total(before));
  CHECK(total(after) >= total(before) + 40000);
  CHECK(total(own) >= 40000);
  CHECK(own.ru_maxrss > 0);
}
PROPERTY(fork_from_a_thread_takes_that_thread_only) {
  static pid_t result;
  pthread_t thread;
  pthread_create(
      &thread, nullptr,
      [](void*) -> void* {
        pid_t pid = start([] { return getpid() == (pid_t)syscall(SYS_gettid) ? 0 : 1; });
        result = status_of(pid);
        return nullptr;
      },
      nullptr);
  pthread_join(thread, nullptr);
  CHECK_EQ(result, 0);
}

PROPERTY(any_thread_may_wait_for_a_child_of_another) {
  static pid_t pid;
  pid = start([] { return 17; });
  pthread_t thread;
  pthread_create(
      &thread, nullptr, [](void*) -> void* { return (void*)(long)status_of(pid); }, nullptr);
  void* status;
  pthread_join(thread, &status);
  CHECK_EQ(WEXITSTATUS((int)(long)status), 17);
}

PROPERTY(nproc_limits_other_users_than_root) {
  if (getuid() != 0) return;
  CHECK_EQ(status_of(start([] {
             rlimit limit = {1, 1};
             if (setrlimit(RLIMIT_NPROC, &limit) != 0 || setuid(54321) != 0) return 1;
             if (fork() != -1) return 2;
             return errno == EAGAIN ? 0 : 3;
           })),
           0);
}

PROPERTY(other_users_may_not_signal) {
  if (getuid() != 0) return;
  pid_t target = getpid();
  CHECK_EQ(status_of(start([&] {
             if (setuid(54321) != 0) return 1;
             if (kill(target, 0) != -1 || errno != EPERM) return 2;
             if (kill(target, SIGCONT) != 0) return 3;
             return 0;
           })),
           0);
}

PROPERTY(many_children_come_and_go) {
  for (int i = 0; i < 200; ++i)
    CHECK_EQ(WEXITSTATUS(status_of(start([&] { return i & 0x7f; }))), i & 0x7f);
}

PROPERTY(many_children_at_once) {
  int sum = 0, status;
  for (int i = 0; i < 40; ++i)
    CHECK(start([&] {
            usleep(1000);
            return i;
          }) > 0);
  while (wait(&status) > 0) sum += WEXITSTATUS(status);
  CHECK_EQ(sum, 780);
}
