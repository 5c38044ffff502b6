// Signals between processes: SIGCHLD, stops and continuations.
// variants: dynamic
// configurations: microvm,1 q35,2

#include "check.hpp"
#include "children.hpp"

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
