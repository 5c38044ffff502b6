// What processes share and exclude each other from: signal handlers, waiting, program files,
// priorities, sealed memory.
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <thread>

#include "check.hpp"
#include "children.hpp"

namespace {

constexpr size_t kStackSize = 256 << 10;

/// Runs `body` as a process that shares memory and signal handlers with this one.
int run_with_shared_handlers(int (*body)(void*), void* argument = nullptr) {
  static char stack[kStackSize] __attribute__((aligned(16)));
  pid_t pid = clone(body, stack + sizeof stack, CLONE_VM | CLONE_SIGHAND | SIGCHLD, argument);
  if (pid < 0) return -errno;
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void (*handler_of(int number))(int) {
  struct sigaction action;
  sigaction(number, nullptr, &action);
  return action.sa_handler;
}

void nothing(int) {}

/// This program's own bytes, into `out`.
void copy_self(int out) {
  int in = open("/proc/self/exe", O_RDONLY);
  char bytes[65536];
  for (ssize_t count; (count = read(in, bytes, sizeof bytes)) > 0;) (void)!write(out, bytes, count);
  close(in);
}

/// This program under another name, which may be written and executed. Run as `execute` runs it, it
/// does nothing.
const char* copy_of_self() {
  static char path[] = "/tmp/sharing-self";
  int out = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0755);
  copy_self(out);
  close(out);
  return path;
}

char mode_nothing[] = "SHARING_MODE=nothing", mode_wait[] = "SHARING_MODE=wait";

int execute(const char* path, char* mode = mode_nothing) {
  char* arguments[] = {(char*)path, nullptr};
  char* variables[] = {mode, nullptr};
  execve(path, arguments, variables);
  return errno;
}

// This program again, as one that does nothing or waits: before main, in place of the properties.
__attribute__((constructor)) void be_another_program(int, char**, char**) {
  const char* mode = getenv("SHARING_MODE");
  if (mode == nullptr) return;
  char byte;
  if (strcmp(mode, "wait") == 0) {
    (void)!write(1, "x", 1);
    (void)!read(0, &byte, 1);
  }
  _exit(0);
}

}  // namespace

PROPERTY(handlers_are_shared_both_ways) {
  signal(SIGUSR1, SIG_DFL);
  CHECK_EQ(run_with_shared_handlers([](void*) {
             signal(SIGUSR1, nothing);
             return 7;
           }),
           7);
  CHECK(handler_of(SIGUSR1) == nothing);
  signal(SIGUSR2, nothing);
  CHECK_EQ(run_with_shared_handlers([](void*) { return handler_of(SIGUSR2) == nothing ? 0 : 1; }),
           0);
  signal(SIGUSR1, SIG_DFL);
  signal(SIGUSR2, SIG_DFL);
}
PROPERTY(a_reset_handler_is_reset_for_all) {
  struct sigaction action = {};
  action.sa_handler = nothing;
  action.sa_flags = SA_RESETHAND;
  sigaction(SIGUSR1, &action, nullptr);
  CHECK_EQ(run_with_shared_handlers([](void*) {
             raise(SIGUSR1);
             return 3;
           }),
           3);
  CHECK(handler_of(SIGUSR1) == SIG_DFL);
}
PROPERTY(a_fork_has_its_own_handlers) {
  signal(SIGUSR1, SIG_DFL);
  CHECK_EQ(in_child([] {
             signal(SIGUSR1, nothing);
             return 0;
           }),
           0);
  CHECK(handler_of(SIGUSR1) == SIG_DFL);
}
PROPERTY(a_program_begins_with_its_own_handlers) {
  signal(SIGUSR1, nothing);
  const char* path = copy_of_self();
  CHECK_EQ(
      run_with_shared_handlers([](void* name) { return execute((const char*)name); }, (void*)path),
      0);
  CHECK(handler_of(SIGUSR1) == nothing);
  signal(SIGUSR1, SIG_DFL);
  unlink(path);
}
PROPERTY(shared_handlers_need_shared_memory) {
  CHECK_ERRNO(syscall(SYS_clone, CLONE_SIGHAND | SIGCHLD, 0, 0, 0, 0), EINVAL);
  clone_args arguments = {};
  arguments.flags = CLONE_VM | CLONE_SIGHAND | CLONE_CLEAR_SIGHAND;
  arguments.exit_signal = SIGCHLD;
  CHECK_ERRNO(syscall(SYS_clone3, &arguments, sizeof arguments), EINVAL);
}
PROPERTY(each_keeps_its_own_blocked_and_pending_signals) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  CHECK_EQ(run_with_shared_handlers([](void*) {
             sigset_t blocked;
             sigemptyset(&blocked);
             sigaddset(&blocked, SIGUSR1);
             sigprocmask(SIG_BLOCK, &blocked, nullptr);
             kill((pid_t)syscall(SYS_getpid), SIGUSR1);
             return 0;
           }),
           0);
  sigset_t pending;
  sigpending(&pending);
  CHECK(!sigismember(&pending, SIGUSR1));
}

PROPERTY(a_thread_waits_for_its_own_children_alone) {
  Pipe end;
  pid_t of_main = fork();
  if (of_main == 0) {
    end.hear();
    _exit(1);
  }
  int failure = 0;
  std::thread([&] {
    if (waitpid(-1, nullptr, __WNOTHREAD | WNOHANG) != -1 || errno != ECHILD) failure = 1;
    pid_t own = fork();
    if (own == 0) _exit(2);
    int status = 0;
    if (waitpid(-1, &status, __WNOTHREAD) != own || WEXITSTATUS(status) != 2) failure = 2;
  }).join();
  CHECK_EQ(failure, 0);
  CHECK_EQ(waitpid(-1, nullptr, __WNOTHREAD | WNOHANG), 0);
  end.say();
  int status = 0;
  CHECK_EQ(waitpid(of_main, &status, __WNOTHREAD), of_main);
  CHECK_EQ(WEXITSTATUS(status), 1);
}
PROPERTY(children_of_a_thread_that_ended_are_the_first_ones) {
  pid_t child = 0;
  std::thread([&] {
    child = fork();
    if (child == 0) _exit(5);
  }).join();
  int status = 0;
  CHECK_EQ(waitpid(child, &status, __WNOTHREAD), child);
  CHECK_EQ(WEXITSTATUS(status), 5);
}

PROPERTY(a_file_open_for_writing_is_not_executed) {
  const char* path = copy_of_self();
  int fd = open(path, O_WRONLY);
  CHECK_EQ(in_child([&] { return execute(path); }), ETXTBSY);
  close(fd);
  CHECK_EQ(in_child([&] { return execute(path); }), 0);
  fd = open(path, O_RDONLY);
  CHECK_EQ(in_child([&] { return execute(path); }), 0);
  close(fd);
  unlink(path);
}
PROPERTY(a_running_program_is_not_written) {
  const char* path = copy_of_self();
  Pipe input, output;
  pid_t pid = fork();
  if (pid == 0) {
    dup2(input.ends[0], 0);
    dup2(output.ends[1], 1);
    _exit(execute(path, mode_wait));
  }
  output.hear();
  CHECK_ERRNO(open(path, O_WRONLY), ETXTBSY);
  CHECK_ERRNO(open(path, O_RDWR), ETXTBSY);
  CHECK_ERRNO(open(path, O_RDONLY | O_TRUNC), ETXTBSY);
  CHECK_ERRNO(truncate(path, 0), ETXTBSY);
  int fd = open(path, O_RDONLY);
  CHECK(fd >= 0);
  struct stat status;
  fstat(fd, &status);
  CHECK(status.st_size > 1000);
  close(fd);
  input.say();
  CHECK_EQ(WEXITSTATUS(status_of(pid)), 0);
  fd = open(path, O_WRONLY | O_TRUNC);
  CHECK(fd >= 0);
  close(fd);
  unlink(path);
}
PROPERTY(a_memfd_is_executed_though_it_is_open) {
  int fd = memfd_create("program", MFD_CLOEXEC);
  copy_self(fd);
  CHECK_EQ(in_child([&] {
             char *arguments[] = {(char*)"self", nullptr}, *variables[] = {mode_nothing, nullptr};
             fexecve(fd, arguments, variables);
             return errno;
           }),
           0);
  close(fd);
}

PROPERTY(priorities_of_groups_and_users) {
  CHECK_EQ(in_child([] {
             setpgid(0, 0);
             Pipe end;
             pid_t child = fork();
             if (child == 0) {
               end.hear();
               _exit(0);
             }
             if (setpriority(PRIO_PGRP, 0, 5) != 0) return 1;
             if (getpriority(PRIO_PROCESS, child) != 5) return 2;
             if (setpriority(PRIO_PROCESS, child, 9) != 0) return 3;
             if (getpriority(PRIO_PGRP, getpid()) != 5) return 4;
             errno = 0;
             if (getpriority(PRIO_PGRP, 999999) != -1 || errno != ESRCH) return 5;
             if (setpriority(PRIO_USER, 54321, 3) != -1 || errno != ESRCH) return 6;
             if (getpriority(7, 0) != -1 || errno != EINVAL) return 7;
             end.say();
             waitpid(child, nullptr, 0);
             if (setresuid(4321, 4321, 4321) != 0) return 8;
             if (setpriority(PRIO_USER, 0, 12) != 0) return 9;
             if (getpriority(PRIO_USER, 4321) != 12) return 10;
             if (setpriority(PRIO_USER, 0, 11) != -1 || errno != EACCES) return 11;
             if (setpriority(PRIO_PROCESS, 1, 19) != -1 || errno != EPERM) return 12;
             return 42;
           }),
           42);
}

PROPERTY(a_mapped_memfd_is_not_sealed_against_writing) {
  int fd = memfd_create("sealed", MFD_ALLOW_SEALING);
  CHECK_EQ(ftruncate(fd, 8192), 0);
  void* shared = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(shared != MAP_FAILED);
  CHECK_ERRNO(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
  CHECK_EQ(fcntl(fd, F_GET_SEALS), 0);
  CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_FUTURE_WRITE), 0);
  munmap(shared, 4096);
  void* own = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
  CHECK_ERRNO(write(fd, "x", 1), EPERM);
  munmap(own, 4096);
  close(fd);
}

PROPERTY(file_pages_are_remapped) {
  int fd = memfd_create("pages", 0);
  for (char c = 'a'; c < 'e'; ++c) {
    char page[4096];
    memset(page, c, sizeof page);
    CHECK_EQ(write(fd, page, sizeof page), 4096);
  }
  auto* at = (char*)mmap(nullptr, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK_EQ(syscall(SYS_remap_file_pages, at, 4096, 0, 2, 0), 0);
  CHECK_EQ(at[0], 'c');
  CHECK_EQ(at[4096], 'b');
  at[0] = 'X';
  CHECK_EQ(at[2 * 4096], 'X');
  CHECK_ERRNO(syscall(SYS_remap_file_pages, at, 4096, PROT_READ, 2, 0), EINVAL);
  CHECK_ERRNO(syscall(SYS_remap_file_pages, at, 0, 0, 2, 0), EINVAL);
  munmap(at, 4 * 4096);
  void* own = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
  CHECK_ERRNO(syscall(SYS_remap_file_pages, own, 4096, 0, 1, 0), EINVAL);
  munmap(own, 4096);
  close(fd);
}

PROPERTY(protection_keys_are_refused_when_asked_for_nonsense) {
  CHECK_ERRNO(syscall(SYS_pkey_alloc, 1, 0), EINVAL);
  CHECK_ERRNO(syscall(SYS_pkey_alloc, 0, 8), EINVAL);
  CHECK_ERRNO(syscall(SYS_pkey_free, 77), EINVAL);
}

PROPERTY(system_time_is_counted_without_competition) {
  CHECK_EQ(in_child([] {
             // Calls that take long: what it costs to get into the kernel may be the application's
             // time.
             static char zeroes[65536];
             int zero = open("/dev/zero", O_RDONLY);
             rusage before, after;
             getrusage(RUSAGE_SELF, &before);
             timespec start, now;
             clock_gettime(CLOCK_MONOTONIC, &start);
             do {
               for (int i = 0; i < 20; ++i)
                 if (read(zero, zeroes, sizeof zeroes) != sizeof zeroes) return 3;
               clock_gettime(CLOCK_MONOTONIC, &now);
             } while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 <
                      400);
             getrusage(RUSAGE_SELF, &after);
             long system = (after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000000 +
                           after.ru_stime.tv_usec - before.ru_stime.tv_usec;
             if (system <= 10000) return 1;
             // The machine's account has it too, in hundredths of a second.
             FILE* file = fopen("/proc/stat", "r");
             long long user, nice, ticks;
             int fields = fscanf(file, "cpu %lld %lld %lld", &user, &nice, &ticks);
             fclose(file);
             return fields == 3 && ticks > 0 ? 42 : 2;
           }),
           42);
}
