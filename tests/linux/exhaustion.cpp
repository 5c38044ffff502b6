// A program that forks, makes threads, leaves zombies or queues signals until it cannot gets
// Linux's errors, and what it did can be undone. On Linux RLIMIT_NPROC says stop; in a small
// machine the memory does first. options: --memory 64M
#include <elf.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstddef>
#include <vector>

#include "check.hpp"

namespace {

constexpr int kProcessLimit = 400;

/// Runs `body` in a child of another user, which collects its own orphans.
template <typename Body>
int in_limited_child(Body body) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    rlimit none{0, 0}, processes{kProcessLimit, kProcessLimit};
    setrlimit(RLIMIT_CORE, &none);
    setrlimit(RLIMIT_NPROC, &processes);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (setresuid(12345, 12345, 12345) != 0) _exit(100);
    _exit(body());
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool is_refusal(int error) { return error == EAGAIN || error == ENOMEM; }

bool fork_works() {
  pid_t pid = fork();
  if (pid == 0) _exit(42);
  int status = 0;
  return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
         WEXITSTATUS(status) == 42;
}

void sleep_ms(int milliseconds) { poll(nullptr, 0, milliseconds); }

}  // namespace

PROPERTY(sleeping_children_run_out) {
  CHECK_EQ(in_limited_child([] {
             std::vector<pid_t> children;
             pid_t pid;
             while ((pid = fork()) > 0 && children.size() < kProcessLimit) children.push_back(pid);
             if (pid == 0)
               for (;;) pause();
             if (!is_refusal(errno) || children.size() < 100) return 1;
             for (pid_t child : children) kill(child, SIGKILL);
             for (pid_t child : children)
               if (waitpid(child, nullptr, 0) != child) return 2;
             return fork_works() ? 42 : 3;
           }),
           42);
}
PROPERTY(a_fork_bomb_ends_with_its_group) {
  CHECK_EQ(in_limited_child([] {
             pid_t bomb = fork();
             if (bomb == 0) {
               setpgid(0, 0);
               for (;;) fork();
             }
             setpgid(bomb, bomb);
             // Others get the processor while it goes off.
             for (int i = 0; i < 10; ++i) sleep_ms(50);
             if (kill(-bomb, SIGKILL) != 0) return 1;
             // Nobody escaped by having been forked at that moment.
             while (waitpid(-1, nullptr, 0) > 0) {}
             if (errno != ECHILD) return 2;
             if (kill(-bomb, 0) != -1 || errno != ESRCH) return 3;
             return fork_works() ? 42 : 4;
           }),
           42);
}
PROPERTY(zombies_run_out) {
  CHECK_EQ(in_limited_child([] {
             int count = 0;
             pid_t pid;
             while ((pid = fork()) > 0 && count < kProcessLimit) ++count;
             if (pid == 0) _exit(0);
             if (!is_refusal(errno) || count < 100) return 1;
             int collected = 0;
             while (wait(nullptr) > 0) ++collected;
             if (collected != count) return 2;
             return fork_works() ? 42 : 3;
           }),
           42);
}
PROPERTY(threads_run_out) {
  CHECK_EQ(in_limited_child([] {
             static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
             pthread_mutex_lock(&gate);
             std::vector<pthread_t> threads;
             pthread_attr_t attributes;
             pthread_attr_init(&attributes);
             pthread_attr_setstacksize(&attributes, 65536);
             auto body = [](void*) -> void* {
               pthread_mutex_lock(&gate);
               pthread_mutex_unlock(&gate);
               return nullptr;
             };
             int error = 0;
             while (error == 0 && threads.size() < kProcessLimit) {
               pthread_t thread;
               error = pthread_create(&thread, &attributes, body, nullptr);
               if (error == 0) threads.push_back(thread);
             }
             if (error != EAGAIN || threads.size() < 100) return 1;
             pthread_mutex_unlock(&gate);
             for (pthread_t thread : threads) pthread_join(thread, nullptr);
             return fork_works() ? 42 : 2;
           }),
           42);
}
PROPERTY(a_signal_handler_runs_a_million_times) {
  static volatile int seen;
  signal(SIGUSR1, [](int) { seen = seen + 1; });
  // A child floods its parent, which also floods itself.
  pid_t parent = getpid(), child = fork();
  if (child == 0) {
    for (int i = 0; i < 500000; ++i) kill(parent, SIGUSR1);
    _exit(0);
  }
  for (int i = 0; i < 500000; ++i) raise(SIGUSR1);
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {}
  signal(SIGUSR1, SIG_DFL);
  CHECK(seen >= 500000);
}
PROPERTY(queued_signals_are_limited) {
  CHECK_EQ(in_limited_child([] {
             rlimit limit{700, 700};
             setrlimit(RLIMIT_SIGPENDING, &limit);
             sigset_t set;
             sigemptyset(&set);
             sigaddset(&set, SIGRTMIN);
             sigaddset(&set, SIGUSR1);
             sigprocmask(SIG_BLOCK, &set, nullptr);
             int queued = 0;
             while (queued < 2000 && sigqueue(getpid(), SIGRTMIN, {.sival_int = queued}) == 0)
               ++queued;
             if (errno != EAGAIN || queued != 700) return 1;
             // Those that cannot be counted are still delivered [signal(7)].
             if (kill(getpid(), SIGUSR1) != 0) return 2;
             if (sigqueue(getpid(), SIGUSR1, {}) != -1 && errno != EAGAIN) return 3;
             timespec none{};
             siginfo_t info;
             for (int i = 0; i < queued; ++i) {
               sigset_t one;
               sigemptyset(&one);
               sigaddset(&one, SIGRTMIN);
               if (sigtimedwait(&one, &info, &none) != SIGRTMIN || info.si_value.sival_int != i)
                 return 4;
             }
             if (sigtimedwait(&set, &info, &none) != SIGUSR1) return 5;
             return sigqueue(getpid(), SIGRTMIN, {}) == 0 ? 42 : 6;
           }),
           42);
}
PROPERTY(broken_programs_are_refused_or_end) {
  // A program of two segments that exits, and mutations of its headers: each is refused, or runs
  // and ends.
  struct Image {
    Elf64_Ehdr header{};
    Elf64_Phdr segments[3]{};
    unsigned char code[16] = {0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05, 0x0f, 0x0b};
    char rest[8192]{};
  } image;
  memcpy(image.header.e_ident,
         "\x7f"
         "ELF\2\1\1",
         7);
  image.header.e_type = ET_EXEC;
  image.header.e_machine = EM_X86_64;
  image.header.e_version = 1;
  image.header.e_entry = 0x400000 + offsetof(Image, code);
  image.header.e_phoff = offsetof(Image, segments);
  image.header.e_ehsize = sizeof(Elf64_Ehdr);
  image.header.e_phentsize = sizeof(Elf64_Phdr);
  image.header.e_phnum = 3;
  image.segments[0] = {PT_LOAD, PF_R | PF_X, 0, 0x400000, 0x400000, 4096, 4096, 4096};
  image.segments[1] = {PT_LOAD, PF_R | PF_W, 4096, 0x402000, 0x402000, 100, 9000, 4096};
  image.segments[2] = {PT_GNU_STACK, PF_R | PF_W, 0, 0, 0, 0, 0, 16};
  char path[] = "/tmp/broken-XXXXXX";
  close(mkstemp(path));
  unsigned random = 12345;
  auto next = [&] { return (random = random * 1103515245 + 12345) >> 8; };
  constexpr int kRounds = 80;
  int ended = 0, exited = 0;
  for (int round = 0; round < kRounds; ++round) {
    Image copy = image;
    for (unsigned change = round == 0 ? 0 : 1 + next() % 4; change != 0; --change)
      reinterpret_cast<unsigned char*>(&copy)[next() % offsetof(Image, code)] =
          (unsigned char)(next() % 3 == 0 ? 0xff : next());
    unlink(path);
    int fd = open(path, O_CREAT | O_WRONLY, 0755);
    (void)!write(fd, &copy, round % 5 == 1 ? next() % sizeof copy : sizeof copy);
    close(fd);
    pid_t pid = fork();
    if (pid == 0) {
      rlimit none{0, 0}, little{1, 1};
      setrlimit(RLIMIT_CORE, &none);
      setrlimit(RLIMIT_CPU, &little);
      execl(path, path, nullptr);
      _exit(99);
    }
    int status = 0;
    ended += waitpid(pid, &status, 0) == pid;
    exited += WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  unlink(path);
  CHECK_EQ(ended, kRounds);
  CHECK(exited > 0);
}
