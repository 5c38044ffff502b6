// Process groups, sessions, orphans.
// variants: dynamic
// configurations: microvm,1 q35,2
#include <sys/prctl.h>

#include "check.hpp"
#include "children.hpp"

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
