#pragma once
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

// What the programs about processes among themselves share.

/// What `body` returns in a child, or 128 and the signal that ended it.
template <typename Body>
int in_child(Body body) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) _exit(body());
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

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

inline int status_of(pid_t pid) {
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

inline volatile sig_atomic_t signals_seen;
inline siginfo_t last_info;
inline void note(int, siginfo_t* info, void*) {
  signals_seen = signals_seen + 1;
  last_info = *info;
}
inline void catch_signal(int number, int flags = 0) {
  struct sigaction action = {};
  action.sa_sigaction = note;
  action.sa_flags = SA_SIGINFO | flags;
  sigaction(number, &action, nullptr);
  signals_seen = 0;
  last_info = {};
}
