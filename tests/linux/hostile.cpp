// A program that leaks, floods and executes garbage gets Linux's errors, and the machine lives on.
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "check.hpp"

namespace {

template <typename Body>
int in_child(Body body) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    // What a dying child reports is not this program's output.
    rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    _exit(body());
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

PROPERTY(descriptors_run_out) {
  CHECK_EQ(in_child([] {
             rlimit limit{4096, 4096};
             setrlimit(RLIMIT_NOFILE, &limit);
             int count = 0, fd;
             while ((fd = open("/dev/null", O_RDONLY)) >= 0) ++count;
             if (errno != EMFILE) return 1;
             int fds[2];
             if (pipe(fds) != -1 || errno != EMFILE) return 2;
             return count > 4000 ? 42 : 3;
           }),
           42);
}
PROPERTY(a_full_file_system_says_so) {
  CHECK_EQ(in_child([] {
             mkdir("/tmp/full", 0755);
             if (unshare(CLONE_NEWNS) != 0 && errno != EPERM) return 1;
             if (mount("none", "/tmp/full", "tmpfs", 0, "size=1m") != 0) return 2;
             int fd = open("/tmp/full/file", O_CREAT | O_RDWR, 0600);
             static char bytes[65536];
             long total = 0, count;
             while ((count = write(fd, bytes, sizeof bytes)) > 0) total += count;
             int error = errno;
             if (fallocate(fd, 0, 0, 4 << 20) != -1 || errno != ENOSPC) return 3;
             if (ftruncate(fd, 0) != 0 || write(fd, bytes, 4096) != 4096) return 4;
             struct statfs status;
             if (statfs("/tmp/full", &status) != 0 || status.f_blocks != 256) return 5;
             close(fd);
             unlink("/tmp/full/file");
             if (umount("/tmp/full") != 0) return 6;
             rmdir("/tmp/full");
             return error == ENOSPC && total == 1 << 20 ? 42 : 7;
           }),
           42);
}
// Pages that a mapping touches count as those that are written.
PROPERTY(a_full_file_system_ends_stores_by_sigbus) {
  CHECK_EQ(in_child([] {
             mkdir("/tmp/full", 0755);
             if (unshare(CLONE_NEWNS) != 0 && errno != EPERM) return 1;
             if (mount("none", "/tmp/full", "tmpfs", 0, "size=1m") != 0) return 2;
             int fd = open("/tmp/full/file", O_CREAT | O_RDWR, 0600);
             constexpr long kSize = 4 << 20;
             if (ftruncate(fd, kSize) != 0) return 3;
             auto* bytes =
                 (volatile char*)mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
             static sigjmp_buf landing;
             static volatile long touched;
             signal(SIGBUS, [](int) { siglongjmp(landing, 1); });
             touched = 0;
             while (sigsetjmp(landing, 1) == 0 && touched < kSize) {
               bytes[touched] = 1;
               touched = touched + 4096;
             }
             struct statfs status;
             if (statfs("/tmp/full", &status) != 0 || status.f_bfree != 0) return 4;
             if (pwrite(fd, "x", 1, kSize - 1) != -1 || errno != ENOSPC) return 5;
             if (pwrite(fd, "x", 1, 4096) != 1) return 6;  // there already
             if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8192) != 0) return 7;
             if (sigsetjmp(landing, 1) != 0) return 8;
             bytes[kSize - 1] = 1;
             if (statfs("/tmp/full", &status) != 0 || status.f_bfree != 1) return 9;
             munmap((void*)bytes, kSize);
             close(fd);
             unlink("/tmp/full/file");
             if (statfs("/tmp/full", &status) != 0 || status.f_bfree != 256) return 10;
             if (umount("/tmp/full") != 0) return 11;
             rmdir("/tmp/full");
             return touched == 1 << 20 ? 42 : 12;
           }),
           42);
}
PROPERTY(a_flood_of_signals_is_survived) {
  static volatile int seen;
  signal(SIGUSR1, [](int) { seen = seen + 1; });
  for (int i = 0; i < 100000; ++i) CHECK_EQ(raise(SIGUSR1), 0);
  CHECK_EQ((int)seen, 100000);
}
PROPERTY(blocked_signals_do_not_pile_up) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  for (int i = 0; i < 10000; ++i) CHECK_EQ(kill(getpid(), SIGUSR1), 0);
  timespec none{};
  int taken = 0;
  while (sigtimedwait(&set, nullptr, &none) == SIGUSR1) ++taken;
  CHECK_EQ(taken, 1);
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
}
PROPERTY(processes_run_out) {
  CHECK_EQ(in_child([] {
             if (setresuid(1234, 1234, 1234) != 0) return 1;
             rlimit limit{20, 20};
             setrlimit(RLIMIT_NPROC, &limit);
             std::vector<pid_t> children;
             pid_t pid;
             while ((pid = fork()) >= 0 && children.size() < 200) {
               if (pid == 0)
                 for (;;) pause();
               children.push_back(pid);
             }
             int error = errno;
             for (pid_t child : children) kill(child, SIGKILL);
             for (pid_t child : children) waitpid(child, nullptr, 0);
             return error == EAGAIN && children.size() < 20 ? 42 : 2;
           }),
           42);
}
PROPERTY(deep_recursion_ends_the_program) {
  CHECK_EQ(in_child([] {
             struct Deep {
               static int go(int depth) {
                 volatile char frame[4096];
                 frame[depth % 4096] = 1;
                 return go(depth + 1) + frame[0];
               }
             };
             return Deep::go(0);
           }),
           128 + SIGSEGV);
}
PROPERTY(wild_jumps_end_the_program) {
  CHECK_EQ(in_child([] {
             ((void (*)())0x1234567)();
             return 1;
           }),
           128 + SIGSEGV);
  CHECK_EQ(in_child([] {
             static char data[4096];
             data[0] = (char)0xc3;
             ((void (*)())data)();
             return 1;
           }),
           128 + SIGSEGV);
  CHECK_EQ(in_child([] {
             asm volatile("ud2");
             return 1;
           }),
           128 + SIGILL);
}
PROPERTY(bad_pointers_are_refused_by_every_call) {
  CHECK_EQ(in_child([] {
             constexpr long kBad[] = {1, 0x1000, 0x7ffffffff000, -4096, LONG_MIN};
             // Calls that would end, stop or move the program are left out.
             for (long number :
                  {0,   1,   2,   4,   5,   7,   9,   13,  14,  16,  17,  19,  20,  21,  22,  23,
                   27,  28,  35,  36,  38,  40,  42,  44,  45,  46,  47,  49,  51,  54,  63,  72,
                   76,  78,  79,  80,  82,  83,  86,  87,  88,  89,  96,  97,  98,  99,  100, 115,
                   127, 131, 137, 138, 160, 188, 191, 194, 201, 202, 204, 213, 217, 222, 228, 229,
                   232, 233, 257, 262, 267, 270, 271, 275, 281, 288, 290, 291, 293, 295, 302, 307,
                   309, 310, 316, 318, 319, 326, 332, 334, 425, 427, 437, 439, 441}) {
               for (long bad : kBad) {
                 if (number == 7 || number == 23 || number == 271 || number == 202) continue;
                 syscall(number, 999, bad, bad, bad, bad, bad);
                 syscall(number, bad, bad, bad, 0, 0, 0);
               }
             }
             return 42;
           }),
           42);
}
