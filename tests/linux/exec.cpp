// arguments: parent
// configurations: microvm,1 q35,2 process,1
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#define main check_main
#include "check.hpp"
#undef main

// execve and what survives it. The program executes itself: its first argument says as what.

extern char** environ;

namespace {

const char kSelf[] = "/proc/self/exe";
char own_path[4096];

/// The status of `arguments` executed in a child, prepared by `prepare`.
template <typename Prepare>
int run(std::vector<const char*> arguments, Prepare prepare, const char* path = own_path) {
  arguments.push_back(nullptr);
  pid_t pid = fork();
  if (pid == 0) {
    prepare();
    execv(path, const_cast<char**>(arguments.data()));
    _exit(errno == ENOENT    ? 240
          : errno == EACCES  ? 241
          : errno == ENOEXEC ? 242
          : errno == ELOOP   ? 243
          : errno == E2BIG   ? 244
          : errno == EISDIR  ? 245
                             : 250);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}
int run(std::vector<const char*> arguments) {
  return run(std::move(arguments), [] {});
}

std::string script(const char* name, const std::string& text, mode_t mode = 0755) {
  std::string path = std::string("/tmp/aril-exec-") + std::to_string(getpid()) + name;
  unlink(path.c_str());
  int fd = open(path.c_str(), O_CREAT | O_WRONLY | O_TRUNC, mode);
  (void)!write(fd, text.data(), text.size());
  close(fd);
  chmod(path.c_str(), mode);
  return path;
}

int as_child(int count, char** words) {
  std::string what = words[1];
  if (what == "status") return atoi(words[2]);
  if (what == "open") return fcntl(atoi(words[2]), F_GETFD) == -1 ? 1 : 0;
  if (what == "count") return count;
  if (what == "ignored") {
    struct sigaction action;
    sigaction(SIGUSR1, nullptr, &action);
    return action.sa_handler == SIG_IGN ? 1 : action.sa_handler == SIG_DFL ? 0 : 2;
  }
  if (what == "mask") {
    sigset_t set;
    sigprocmask(SIG_BLOCK, nullptr, &set);
    return sigismember(&set, SIGUSR1);
  }
  if (what == "pending") {
    sigset_t set;
    sigpending(&set);
    return sigismember(&set, SIGUSR1);
  }
  if (what == "alarm") return alarm(0) > 0 ? 1 : 0;
  if (what == "comm") {
    char name[32] = {};
    int fd = open("/proc/self/comm", O_RDONLY);
    (void)!read(fd, name, sizeof name - 1);
    return strncmp(name, words[2], strlen(words[2])) == 0 ? 0 : 1;
  }
  if (what == "tid") return getpid() == atoi(words[2]) && syscall(SYS_gettid) == getpid() ? 0 : 1;
  if (what == "env") return getenv("ONLY") != nullptr && getenv("PATH") == nullptr ? 0 : 1;
  if (what == "pid") return getpid() == atoi(words[2]) ? 0 : 1;
  if (what == "nice") return getpriority(PRIO_PROCESS, 0);
  if (what == "ppid") return getppid() == atoi(words[2]) ? 0 : 1;
  if (what == "last") return atoi(words[count - 1]);
  return 99;
}

}  // namespace

PROPERTY(a_program_is_executed) { CHECK_EQ(run({"x", "status", "31"}), 31); }
PROPERTY(a_missing_program) {
  CHECK_EQ(run({"x"}, [] {}, "/no/such"), 240);
}
PROPERTY(a_directory) {
  CHECK_EQ(run({"x"}, [] {}, "/tmp"), 241);
}
PROPERTY(a_device) {
  CHECK_EQ(run({"x"}, [] {}, "/dev/null"), 241);
}
PROPERTY(a_file_that_is_not_executable) {
  std::string path = script("plain", "hello", 0644);
  CHECK_EQ(run({"x"}, [] {}, path.c_str()), 241);
  unlink(path.c_str());
}
PROPERTY(an_executable_file_that_is_no_program) {
  std::string path = script("text", "hello\n");
  CHECK_EQ(run({"x"}, [] {}, path.c_str()), 242);
  unlink(path.c_str());
}
PROPERTY(an_empty_file) {
  std::string path = script("empty", "");
  CHECK_EQ(run({"x"}, [] {}, path.c_str()), 242);
  unlink(path.c_str());
}
PROPERTY(garbage_after_the_magic_number) {
  std::string path = script("elf", std::string("\177ELF\2\1\1", 7) + std::string(200, '\xff'));
  CHECK_EQ(run({"x"}, [] {}, path.c_str()), 242);
  unlink(path.c_str());
}
PROPERTY(a_script_gets_its_name_and_arguments) {
  std::string path = script("sh", std::string("#!") + own_path + " count\n");
  // interpreter, argument, script, one
  CHECK_EQ(run({"x", "one"}, [] {}, path.c_str()), 4);
  unlink(path.c_str());
}
PROPERTY(blanks_around_the_interpreter) {
  std::string path = script("sh", std::string("#! \t") + own_path + "  last  \n");
  CHECK_EQ(run({"x", "9"}, [] {}, path.c_str()), 9);
  unlink(path.c_str());
}
PROPERTY(a_script_for_a_script) {
  std::string inner = script("inner", std::string("#!") + own_path + " last\n");
  std::string outer = script("outer", "#!" + inner + "\n");
  CHECK_EQ(run({"x", "19"}, [] {}, outer.c_str()), 19);
  unlink(inner.c_str()), unlink(outer.c_str());
}
PROPERTY(a_script_for_itself) {
  std::string path = script("self", "");
  script("self", "#!" + path + "\n");
  CHECK_EQ(run({"x"}, [] {}, path.c_str()), 243);
  unlink(path.c_str());
}
PROPERTY(a_missing_interpreter) {
  std::string path = script("sh", "#!/no/such\n");
  CHECK_EQ(run({"x"}, [] {}, path.c_str()), 240);
  unlink(path.c_str());
}
PROPERTY(descriptors_stay_open) {
  int fd = open("/dev/null", O_RDONLY);
  CHECK_EQ(run({"x", "open", std::to_string(fd).c_str()}), 0);
  close(fd);
}
PROPERTY(close_on_exec_closes) {
  int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  CHECK_EQ(run({"x", "open", std::to_string(fd).c_str()}), 1);
  CHECK(fcntl(fd, F_GETFD) >= 0);
  close(fd);
}
PROPERTY(an_ignored_signal_stays_ignored) {
  CHECK_EQ(run({"x", "ignored"}, [] { signal(SIGUSR1, SIG_IGN); }), 1);
}
PROPERTY(a_handled_signal_gets_its_default) {
  CHECK_EQ(run({"x", "ignored"}, [] { signal(SIGUSR1, [](int) {}); }), 0);
}
PROPERTY(the_mask_and_pending_signals_stay) {
  auto block = [] {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    raise(SIGUSR1);
  };
  CHECK_EQ(run({"x", "mask"}, block), 1);
  CHECK_EQ(run({"x", "pending"}, block), 1);
}
PROPERTY(an_alarm_stays) {
  CHECK_EQ(run({"x", "alarm"}, [] { alarm(100); }), 1);
}
PROPERTY(the_name_is_the_files) {
  const char* base = strrchr(own_path, '/') + 1;
  CHECK_EQ(run({"another name", "comm", std::string(base).substr(0, 15).c_str()}), 0);
}
PROPERTY(the_environment_is_replaced) {
  pid_t pid = fork();
  if (pid == 0) {
    const char* words[] = {"x", "env", nullptr};
    const char* environment[] = {"ONLY=1", nullptr};
    execve(own_path, (char**)words, (char**)environment);
    _exit(98);
  }
  int status;
  waitpid(pid, &status, 0);
  CHECK_EQ(WEXITSTATUS(status), 0);
}
PROPERTY(the_pid_stays) {
  pid_t pid = fork();
  if (pid == 0) {
    std::string own = std::to_string(getpid());
    execl(own_path, "x", "pid", own.c_str(), nullptr);
    _exit(98);
  }
  int status;
  waitpid(pid, &status, 0);
  CHECK_EQ(WEXITSTATUS(status), 0);
}
PROPERTY(exec_from_another_thread_takes_over_the_process) {
  pid_t pid = fork();
  if (pid == 0) {
    pthread_t thread;
    for (int i = 0; i < 3; ++i)
      pthread_create(
          &thread, nullptr,
          [](void*) -> void* {
            for (;;) pause();
          },
          nullptr);
    pthread_create(
        &thread, nullptr,
        [](void*) -> void* {
          std::string own = std::to_string(getpid());
          execl(own_path, "x", "tid", own.c_str(), nullptr);
          _exit(98);
        },
        nullptr);
    for (;;) pause();
  }
  int status;
  waitpid(pid, &status, 0);
  CHECK_EQ(status, 0);
}
PROPERTY(a_parent_may_not_move_a_child_that_has_executed) {
  int go[2];
  CHECK_EQ(pipe(go), 0);
  pid_t pid = fork();
  if (pid == 0) {
    close(go[0]);
    fcntl(go[1], F_SETFD, FD_CLOEXEC);
    execl("/proc/self/exe", "x", "sleep", nullptr);
    _exit(98);
  }
  close(go[1]);
  char byte;
  CHECK_EQ(read(go[0], &byte, 1), 0);  // it has executed
  int result = setpgid(pid, pid), error = errno;
  close(go[0]);
  int status;
  waitpid(pid, &status, 0);
  CHECK(result == -1);
  CHECK(error == EACCES || error == ESRCH);
}
PROPERTY(vfork_and_exec) {
  pid_t pid = vfork();
  if (pid == 0) {
    execl(own_path, "x", "status", "14", nullptr);
    _exit(98);
  }
  int status;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK_EQ(WEXITSTATUS(status), 14);
}
PROPERTY(posix_spawn_runs_with_actions) {
  int ends[2];
  CHECK_EQ(pipe(ends), 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 55);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  const char* words[] = {"x", "open", "55", nullptr};
  pid_t pid;
  CHECK_EQ(posix_spawn(&pid, own_path, &actions, nullptr, (char**)words, environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  int status;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK_EQ(status, 0);
  close(ends[0]), close(ends[1]);
}
PROPERTY(posix_spawn_says_what_failed) {
  const char* words[] = {"x", nullptr};
  pid_t pid;
  CHECK_EQ(posix_spawn(&pid, "/no/such", nullptr, nullptr, (char**)words, environ), ENOENT);
}
PROPERTY(fexecve_executes_a_descriptor) {
  int fd = open(own_path, O_RDONLY | O_CLOEXEC);
  pid_t pid = fork();
  if (pid == 0) {
    const char* words[] = {"x", "status", "61", nullptr};
    fexecve(fd, (char**)words, environ);
    _exit(98);
  }
  int status;
  waitpid(pid, &status, 0);
  CHECK_EQ(WEXITSTATUS(status), 61);
  close(fd);
}
PROPERTY(execveat_executes_a_memfd) {
  int fd = memfd_create("program", MFD_CLOEXEC);
  int source = open(own_path, O_RDONLY);
  char bytes[65536];
  ssize_t count;
  while ((count = read(source, bytes, sizeof bytes)) > 0) (void)!write(fd, bytes, (size_t)count);
  close(source);
  pid_t pid = fork();
  if (pid == 0) {
    const char* words[] = {"x", "status", "62", nullptr};
    syscall(SYS_execveat, fd, "", words, environ, AT_EMPTY_PATH);
    _exit(98);
  }
  int status;
  waitpid(pid, &status, 0);
  CHECK_EQ(WEXITSTATUS(status), 62);
  close(fd);
}
PROPERTY(execveat_checks_its_flags) {
  const char* words[] = {"x", nullptr};
  CHECK_ERRNO(syscall(SYS_execveat, AT_FDCWD, "", words, environ, 0), ENOENT);
  CHECK_ERRNO(syscall(SYS_execveat, AT_FDCWD, own_path, words, environ, 4), EINVAL);
  CHECK_ERRNO(syscall(SYS_execveat, 999, "x", words, environ, 0), EBADF);
}
PROPERTY(too_long_a_string) {
  std::string big(200000, 'a');
  CHECK_EQ(run({"x", big.c_str()}), 244);
}
PROPERTY(many_arguments_arrive) {
  std::string text(1000, 'b');
  std::vector<const char*> words = {"x", "last"};
  for (int i = 0; i < 500; ++i) words.push_back(text.c_str());
  words.push_back("43");
  CHECK_EQ(run(words), 43);
}
PROPERTY(a_bad_pointer) {
  CHECK_ERRNO(syscall(SYS_execve, 8, nullptr, nullptr), EFAULT);
  CHECK_ERRNO(syscall(SYS_execve, own_path, 8, nullptr), EFAULT);
}
PROPERTY(a_null_vector_is_an_empty_one) {
  pid_t pid = fork();
  if (pid == 0) {
    syscall(SYS_execve, "/no/such", nullptr, nullptr);
    _exit(errno == ENOENT ? 0 : 1);
  }
  int status;
  waitpid(pid, &status, 0);
  CHECK_EQ(status, 0);
}
PROPERTY(nice_stays) {
  CHECK_EQ(run({"x", "nice"}, [] { setpriority(PRIO_PROCESS, 0, 7); }), 7);
}
PROPERTY(execute_in_a_loop) {
  for (int i = 0; i < 20; ++i) CHECK_EQ(run({"x", "status", "3"}), 3);
}

int main(int count, char** words) {
  if (count > 1 && strcmp(words[1], "parent") != 0) return as_child(count, words);
  ssize_t length = readlink(kSelf, own_path, sizeof own_path - 1);
  if (length <= 0) return 100;
  own_path[length] = 0;
  return check_main();
}
