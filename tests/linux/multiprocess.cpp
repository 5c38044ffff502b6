// variants: dynamic
// configurations: microvm,1 q35,2
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>

#include "check.hpp"

// fork, wait, groups, sessions, pidfds: processes among themselves.

namespace {

/// Runs `body` in a child, whose exit status is its result.
template <typename Body>
pid_t start(Body body) {
  pid_t pid = fork();
  if (pid == 0) {
    alarm(60);  // should the property fail and leave it
    _exit(body());
  }
  return pid;
}

int status_of(pid_t pid) {
  int status = -1;
  return waitpid(pid, &status, 0) == pid ? status : -1;
}

struct Pipe {
  int ends[2];
  Pipe() { (void)!pipe(ends); }
  ~Pipe() { close(ends[0]), close(ends[1]); }
  void say(char byte = 'x') const { (void)!write(ends[1], &byte, 1); }
  char hear() const {
    char byte = 0;
    return read(ends[0], &byte, 1) == 1 ? byte : 0;
  }
};

volatile sig_atomic_t signals_seen;
siginfo_t last_info;
void note(int, siginfo_t* info, void*) {
  signals_seen = signals_seen + 1;
  last_info = *info;
}
void catch_signal(int number, int flags = 0) {
  struct sigaction action = {};
  action.sa_sigaction = note;
  action.sa_flags = SA_SIGINFO | flags;
  sigaction(number, &action, nullptr);
  signals_seen = 0;
  last_info = {};
}

}  // namespace

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

PROPERTY(sigchld_tells_of_the_end) {
  catch_signal(SIGCHLD);
  pid_t pid = start([] { return 6; });
  CHECK_EQ(WEXITSTATUS(status_of(pid)), 6);
  CHECK_EQ(signals_seen, 1);
  CHECK_EQ(last_info.si_code, CLD_EXITED);
  CHECK_EQ(last_info.si_pid, pid);
  CHECK_EQ(last_info.si_status, 6);
  signal(SIGCHLD, SIG_DFL);
}

PROPERTY(sigchld_is_pending_when_wait_returns) {
  sigset_t set, old, pending;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_BLOCK, &set, &old);
  CHECK_EQ(status_of(start([] { return 0; })), 0);
  sigpending(&pending);
  bool is_pending = sigismember(&pending, SIGCHLD);
  siginfo_t info;
  sigwaitinfo(&set, &info);
  sigprocmask(SIG_SETMASK, &old, nullptr);
  CHECK(is_pending);
  CHECK_EQ(info.si_code, CLD_EXITED);
}

PROPERTY(children_of_a_parent_that_ignores_sigchld_leave_no_zombie) {
  signal(SIGCHLD, SIG_IGN);
  pid_t pid = start([] { return 0; });
  int result = waitpid(pid, nullptr, 0), error = errno;
  signal(SIGCHLD, SIG_DFL);
  CHECK_EQ(result, -1);
  CHECK_EQ(error, ECHILD);
}

PROPERTY(sa_nocldwait_leaves_no_zombie_but_signals) {
  catch_signal(SIGCHLD, SA_NOCLDWAIT);
  pid_t pid = start([] { return 0; });
  int result;
  do {
    result = waitpid(pid, nullptr, 0);
  } while (result == -1 && errno == EINTR);
  int error = errno, seen = signals_seen;
  signal(SIGCHLD, SIG_DFL);
  CHECK_EQ(result, -1);
  CHECK_EQ(error, ECHILD);
  CHECK_EQ(seen, 1);
}

PROPERTY(a_handler_interrupts_wait) {
  catch_signal(SIGUSR1);
  Pipe go;
  pid_t parent = getpid();
  pid_t pid = start([&] {
    usleep(50000);
    kill(parent, SIGUSR1);
    go.hear();
    return 0;
  });
  CHECK_ERRNO(waitpid(pid, nullptr, 0), EINTR);
  go.say();
  CHECK_EQ(status_of(pid), 0);
}

PROPERTY(sa_restart_restarts_wait) {
  catch_signal(SIGUSR1, SA_RESTART);
  pid_t parent = getpid();
  pid_t pid = start([&] {
    usleep(50000);
    kill(parent, SIGUSR1);
    usleep(50000);
    return 4;
  });
  CHECK_EQ(WEXITSTATUS(status_of(pid)), 4);
  CHECK_EQ(signals_seen, 1);
}

PROPERTY(kill_carries_the_sender) {
  catch_signal(SIGUSR1, SA_RESTART);
  pid_t parent = getpid();
  pid_t pid = start([&] { return kill(parent, SIGUSR1); });
  CHECK_EQ(status_of(pid), 0);
  CHECK_EQ(signals_seen, 1);
  CHECK_EQ(last_info.si_code, SI_USER);
  CHECK_EQ(last_info.si_pid, pid);
}

PROPERTY(handlers_are_inherited_and_pending_signals_are_not) {
  catch_signal(SIGUSR1);
  sigset_t set, old;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, &old);
  raise(SIGUSR1);
  pid_t pid = start([&] {
    sigset_t pending;
    sigpending(&pending);
    if (sigismember(&pending, SIGUSR1)) return 1;
    sigprocmask(SIG_SETMASK, &old, nullptr);
    if (signals_seen != 0) return 2;
    raise(SIGUSR1);
    return signals_seen == 1 ? 0 : 3;
  });
  int status = status_of(pid);
  sigprocmask(SIG_SETMASK, &old, nullptr);
  CHECK_EQ(status, 0);
}

PROPERTY(an_alarm_is_not_inherited) {
  alarm(100);
  pid_t pid = fork();
  if (pid == 0) _exit((int)alarm(0));
  CHECK_EQ(status_of(pid), 0);
  CHECK(alarm(0) > 0);
}

PROPERTY(stop_and_continue_are_reported) {
  pid_t pid = start([] {
    for (;;) pause();
    return 0;
  });
  int status = 0;
  CHECK_EQ(kill(pid, SIGSTOP), 0);
  CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
  CHECK(WIFSTOPPED(status));
  CHECK_EQ(WSTOPSIG(status), SIGSTOP);
  CHECK_EQ(waitpid(pid, &status, WUNTRACED | WNOHANG), 0);
  CHECK_EQ(kill(pid, SIGCONT), 0);
  CHECK_EQ(waitpid(pid, &status, WCONTINUED), pid);
  CHECK(WIFCONTINUED(status));
  CHECK_EQ(kill(pid, SIGTERM), 0);
  CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
  CHECK_EQ(WTERMSIG(status), SIGTERM);
}

PROPERTY(sigkill_ends_a_stopped_process) {
  pid_t pid = start([] { return raise(SIGSTOP); });
  int status;
  CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
  CHECK(WIFSTOPPED(status));
  kill(pid, SIGKILL);
  CHECK_EQ(WTERMSIG(status_of(pid)), SIGKILL);
}

PROPERTY(a_stopped_process_takes_signals_later) {
  catch_signal(SIGUSR1);
  pid_t pid = start([] {
    raise(SIGSTOP);
    return (int)signals_seen;
  });
  int status;
  CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
  kill(pid, SIGUSR1);
  usleep(20000);
  CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
  kill(pid, SIGCONT);
  CHECK_EQ(WEXITSTATUS(status_of(pid)), 1);
}

PROPERTY(sa_nocldstop_keeps_stops_quiet) {
  catch_signal(SIGCHLD, SA_NOCLDSTOP | SA_RESTART);
  pid_t pid = start([] { return raise(SIGSTOP); });
  int status;
  CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
  CHECK_EQ(signals_seen, 0);
  kill(pid, SIGCONT);
  CHECK_EQ(status_of(pid), 0);
  CHECK_EQ(signals_seen, 1);
  signal(SIGCHLD, SIG_DFL);
}

PROPERTY(setpgid_moves_a_child) {
  Pipe go;
  pid_t pid = start([&] {
    go.hear();
    return getpgrp() == getpid() ? 0 : 1;
  });
  CHECK_EQ(setpgid(pid, pid), 0);
  CHECK_EQ(getpgid(pid), pid);
  CHECK_EQ(waitpid(-pid, nullptr, WNOHANG), 0);
  CHECK_ERRNO(waitpid(0, nullptr, WNOHANG), ECHILD);
  go.say();
  int status;
  CHECK_EQ(waitpid(-pid, &status, 0), pid);
  CHECK_EQ(status, 0);
}

PROPERTY(setpgid_wants_a_group_of_the_session) {
  CHECK_EQ(status_of(start([] {
             if (setpgid(0, 0) != 0) return 1;
             if (setpgid(0, 99999) != -1 || errno != EPERM) return 2;
             if (setpgid(0, -1) != -1 || errno != EINVAL) return 3;
             if (setpgid(getppid(), 0) != -1 || errno != ESRCH) return 4;
             return 0;
           })),
           0);
}

PROPERTY(setsid_makes_a_session) {
  CHECK_EQ(status_of(start([] {
             pid_t self = getpid();
             if (setsid() != self || getsid(0) != self || getpgrp() != self) return 1;
             if (setsid() != -1 || errno != EPERM) return 2;
             if (setpgid(0, 0) != -1 || errno != EPERM) return 3;
             return 0;
           })),
           0);
}

PROPERTY(a_group_is_signalled_as_a_whole) {
  Pipe ready;
  pid_t leader = start([&] {
    setpgid(0, 0);
    for (int i = 0; i < 3; ++i)
      if (fork() == 0) break;
    ready.say();
    for (;;) pause();
    return 0;
  });
  for (int i = 0; i < 4; ++i) ready.hear();
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  CHECK_EQ(kill(-leader, SIGTERM), 0);
  CHECK_EQ(WTERMSIG(status_of(leader)), SIGTERM);
  int ended = 0, status;
  while (waitpid(-leader, &status, 0) > 0) ended += WTERMSIG(status) == SIGTERM;
  prctl(PR_SET_CHILD_SUBREAPER, 0);
  CHECK_EQ(ended, 3);
  CHECK_ERRNO(kill(-leader, 0), ESRCH);
}

PROPERTY(orphans_go_to_the_subreaper) {
  CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  Pipe pipe;
  pid_t child = start([&] {
    start([&] {
      while (getppid() != 1 && getppid() == getpid() - 1) usleep(1000);
      for (int i = 0; i < 200 && pipe.hear() != 'g'; ++i) usleep(1000);
      return 21;
    });
    return 0;
  });
  CHECK_EQ(status_of(child), 0);
  pipe.say('g');
  int status = 0;
  pid_t orphan = wait(&status);
  prctl(PR_SET_CHILD_SUBREAPER, 0);
  CHECK(orphan > 0);
  CHECK_EQ(WEXITSTATUS(status), 21);
}

PROPERTY(the_parent_death_signal_comes) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  Pipe ready;
  pid_t child = start([&] {
    start([&] {
      prctl(PR_SET_PDEATHSIG, SIGUSR2);
      ready.say();
      for (;;) pause();
      return 0;
    });
    return ready.hear() == 'x' ? 0 : 1;
  });
  CHECK_EQ(status_of(child), 0);
  int status = 0;
  CHECK(wait(&status) > 0);
  prctl(PR_SET_CHILD_SUBREAPER, 0);
  CHECK(WIFSIGNALED(status));
  CHECK_EQ(WTERMSIG(status), SIGUSR2);
}

PROPERTY(an_orphaned_group_with_a_stopped_member_gets_hangup_and_continue) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  pid_t session = start([] {
    setsid();
    pid_t member = start([] {
      setpgid(0, 0);
      catch_signal(SIGHUP);
      raise(SIGSTOP);
      return signals_seen == 1 ? 33 : 1;
    });
    int status;
    return waitpid(member, &status, WUNTRACED) == member && WIFSTOPPED(status) ? 0 : 1;
  });
  CHECK_EQ(status_of(session), 0);
  int status = 0;
  CHECK(wait(&status) > 0);
  prctl(PR_SET_CHILD_SUBREAPER, 0);
  CHECK_EQ(WEXITSTATUS(status), 33);
}

PROPERTY(terminal_stops_do_nothing_to_an_orphaned_group) {
  CHECK_EQ(status_of(start([] {
             setsid();
             raise(SIGTSTP);
             return 0;
           })),
           0);
}

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

PROPERTY(a_process_shared_mutex_works_across_processes) {
  struct Shared {
    pthread_mutex_t mutex;
    int count;
  };
  auto* shared =
      (Shared*)mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutex_init(&shared->mutex, &attributes);
  auto add = [&] {
    for (int i = 0; i < 2000; ++i) {
      pthread_mutex_lock(&shared->mutex);
      int seen = shared->count;
      if (i % 100 == 0) sched_yield();
      shared->count = seen + 1;
      pthread_mutex_unlock(&shared->mutex);
    }
    return 0;
  };
  pid_t a = start(add), b = start(add);
  add();
  CHECK_EQ(status_of(a), 0);
  CHECK_EQ(status_of(b), 0);
  CHECK_EQ(shared->count, 6000);
  munmap(shared, 4096);
}

PROPERTY(a_robust_mutex_tells_of_its_dead_owner) {
  auto* mutex = (pthread_mutex_t*)mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(mutex, &attributes);
  pid_t pid = start([&] {
    pthread_mutex_lock(mutex);
    return raise(SIGKILL);
  });
  CHECK_EQ(WTERMSIG(status_of(pid)), SIGKILL);
  CHECK_EQ(pthread_mutex_lock(mutex), EOWNERDEAD);
  CHECK_EQ(pthread_mutex_consistent(mutex), 0);
  CHECK_EQ(pthread_mutex_unlock(mutex), 0);
  munmap(mutex, 4096);
}

PROPERTY(a_waiter_gets_a_robust_mutex_when_its_owner_dies) {
  auto* mutex = (pthread_mutex_t*)mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(mutex, &attributes);
  Pipe locked;
  pid_t pid = start([&] {
    pthread_mutex_lock(mutex);
    locked.say();
    usleep(50000);
    return raise(SIGKILL);
  });
  locked.hear();
  CHECK_EQ(pthread_mutex_lock(mutex), EOWNERDEAD);
  CHECK_EQ(WTERMSIG(status_of(pid)), SIGKILL);
  munmap(mutex, 4096);
}

PROPERTY(a_private_futex_does_not_cross_a_fork) {
  static int word;
  word = 0;
  Pipe ready;
  pid_t pid = start([&] {
    ready.say();
    timespec limit = {0, 100000000};
    long result = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &limit, nullptr, 0);
    return result == -1 && errno == ETIMEDOUT ? 0 : 1;
  });
  ready.hear();
  usleep(20000);
  CHECK_EQ(syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0), 0);
  CHECK_EQ(status_of(pid), 0);
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
