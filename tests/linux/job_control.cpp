// configurations: microvm,1 q35,2 process,1
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "check.hpp"

// Sessions, terminals and limits. Each property runs in a session of its own on a new terminal.

namespace {

int master = -1;

/// Runs `body` as leader of a session whose terminal is descriptor 0; its result.
template <typename Body>
int in_session(Body body) {
  pid_t pid = forkpty(&master, nullptr, nullptr, nullptr);
  if (pid == 0) {
    alarm(60);
    _exit(body());
  }
  int status = -1;
  waitpid(pid, &status, 0);
  close(master);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/// Starts `body` in a background group.
template <typename Body>
pid_t background(Body body) {
  pid_t pid = fork();
  if (pid == 0) {
    setpgid(0, 0);
    _exit(body());
  }
  setpgid(pid, pid);
  return pid;
}

int stopped_by(pid_t pid) {
  int status = 0;
  if (waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status)) return 0;
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  return WSTOPSIG(status);
}

}  // namespace

PROPERTY(the_leader_has_the_terminal) {
  CHECK_EQ(in_session([] { return tcgetsid(0) == getpid() && tcgetpgrp(0) == getpid() ? 0 : 1; }),
           0);
}

PROPERTY(a_background_read_stops) {
  CHECK_EQ(in_session([] {
             char byte;
             return stopped_by(background([&] { return (int)read(0, &byte, 1); })) == SIGTTIN ? 0
                                                                                              : 1;
           }),
           0);
}

PROPERTY(a_background_read_fails_when_the_signal_is_ignored) {
  CHECK_EQ(in_session([] {
             pid_t pid = background([] {
               signal(SIGTTIN, SIG_IGN);
               char byte;
               return read(0, &byte, 1) == -1 && errno == EIO ? 21 : 1;
             });
             int status;
             waitpid(pid, &status, WUNTRACED);
             return WEXITSTATUS(status);
           }),
           21);
}

PROPERTY(a_background_write_is_allowed_unless_tostop) {
  CHECK_EQ(in_session([] {
             pid_t pid = background([] { return write(1, "x", 1) == 1 ? 5 : 1; });
             int status;
             waitpid(pid, &status, WUNTRACED);
             if (WEXITSTATUS(status) != 5) return 1;
             termios settings;
             tcgetattr(0, &settings);
             settings.c_lflag |= TOSTOP;
             tcsetattr(0, TCSANOW, &settings);
             return stopped_by(background([] { return (int)write(1, "x", 1); })) == SIGTTOU ? 0 : 2;
           }),
           0);
}

PROPERTY(a_background_change_of_the_terminal_stops) {
  CHECK_EQ(in_session([] {
             return stopped_by(background([] { return tcsetpgrp(0, getpgrp()); })) == SIGTTOU ? 0
                                                                                              : 1;
           }),
           0);
}

PROPERTY(the_foreground_moves) {
  CHECK_EQ(in_session([] {
             signal(SIGTTOU, SIG_IGN);
             pid_t pid = background([] { return pause(); });
             if (tcsetpgrp(0, pid) != 0 || tcgetpgrp(0) != pid) return 1;
             kill(pid, SIGKILL);
             waitpid(pid, nullptr, 0);
             if (tcsetpgrp(0, 99999) != -1) return 2;
             return tcsetpgrp(0, getpgrp()) == 0 ? 0 : 3;
           }),
           0);
}

PROPERTY(sigpending_limits_queued_signals) {
  CHECK_EQ(in_session([] {
             rlimit limit = {4096, 4096};
             setrlimit(RLIMIT_SIGPENDING, &limit);
             sigset_t set;
             sigemptyset(&set);
             sigaddset(&set, SIGRTMIN);
             sigprocmask(SIG_BLOCK, &set, nullptr);
             union sigval value = {};
             for (int i = 0; i < 100000; ++i)
               if (sigqueue(getpid(), SIGRTMIN, value) != 0) return errno == EAGAIN ? 0 : 1;
             return 2;
           }),
           0);
}

PROPERTY(descriptors_run_out_with_emfile) {
  CHECK_EQ(in_session([] {
             while (open("/dev/null", O_RDONLY) >= 0) {}
             if (errno != EMFILE) return 1;
             int ends[2];
             if (pipe(ends) != -1 || errno != EMFILE) return 2;
             pid_t pid = fork();
             if (pid == 0) _exit(0);
             int status;
             return waitpid(pid, &status, 0) == pid ? 0 : 3;
           }),
           0);
}
