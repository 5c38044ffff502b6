// The process's own view: identity, time, limits, /proc.
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "check.hpp"

static std::string slurp(const char* path) {
  std::string text;
  int fd = open(path, O_RDONLY);
  char buffer[4096];
  ssize_t n;
  while (fd >= 0 && (n = read(fd, buffer, sizeof buffer)) > 0) text.append(buffer, (size_t)n);
  if (fd >= 0) close(fd);
  return text;
}
static int64_t nanoseconds(clockid_t clock) {
  timespec time;
  if (clock_gettime(clock, &time)) return -1;
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

PROPERTY(clocks_move_forward) {
  for (clockid_t clock : {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW}) {
    int64_t before = nanoseconds(clock);
    for (int i = 0; i < 1000; ++i) {
      int64_t now = nanoseconds(clock);
      CHECK(now >= before);
      before = now;
    }
  }
  timespec time;
  CHECK_ERRNO(clock_gettime(1234, &time), EINVAL);
}
PROPERTY(sleeping_takes_the_time) {
  int64_t before = nanoseconds(CLOCK_MONOTONIC);
  CHECK_EQ(usleep(20000), 0);
  int64_t slept = nanoseconds(CLOCK_MONOTONIC) - before;
  CHECK(slept >= 20'000'000 && slept < 2'000'000'000);
  timespec bad = {0, 1'000'000'000};
  CHECK_ERRNO(nanosleep(&bad, nullptr), EINVAL);
}
PROPERTY(wall_clocks_agree) {
  timeval value;
  CHECK_EQ(gettimeofday(&value, nullptr), 0);
  int64_t difference =
      nanoseconds(CLOCK_REALTIME) / 1000 - (value.tv_sec * 1'000'000 + value.tv_usec);
  CHECK(difference >= 0 && difference < 1'000'000);
  CHECK(value.tv_sec > 1'600'000'000);
  CHECK(time(nullptr) >= value.tv_sec);
}
PROPERTY(raw_calls_and_library_agree_on_time) {
  timespec time;
  CHECK_EQ(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &time), 0);
  int64_t difference = nanoseconds(CLOCK_MONOTONIC) - (time.tv_sec * 1'000'000'000 + time.tv_nsec);
  CHECK(difference >= 0 && difference < 1'000'000'000);
}
PROPERTY(cpu_time_is_counted) {
  int64_t before = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
  volatile int x = 0;
  int64_t start = nanoseconds(CLOCK_MONOTONIC);
  while (nanoseconds(CLOCK_MONOTONIC) - start < 30'000'000) ++x;
  CHECK(nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - before >= 5'000'000);
  CHECK(nanoseconds(CLOCK_THREAD_CPUTIME_ID) > 0);
  rusage usage;
  CHECK_EQ(getrusage(RUSAGE_SELF, &usage), 0);
  CHECK(usage.ru_utime.tv_sec + usage.ru_utime.tv_usec + usage.ru_stime.tv_sec +
            usage.ru_stime.tv_usec >
        0);
  CHECK(usage.ru_maxrss > 0);
}
PROPERTY(the_system_has_a_name) {
  utsname name;
  CHECK_EQ(uname(&name), 0);
  CHECK(!strcmp(name.sysname, "Linux"));
  CHECK(!strcmp(name.machine, "x86_64"));
  CHECK(atoi(name.release) >= 4);
}
PROPERTY(auxiliary_vector_is_filled) {
  CHECK_EQ(getauxval(AT_PAGESZ), 4096u);
  CHECK(getauxval(AT_RANDOM) != 0);
  CHECK(getauxval(AT_PHDR) != 0);
  CHECK_EQ(getauxval(AT_UID), getuid());
  CHECK_EQ(getauxval(AT_SECURE), 0u);
  CHECK(getauxval(AT_SYSINFO_EHDR) != 0);
}
PROPERTY(random_bytes_differ) {
  char a[32] = {}, b[32] = {};
  CHECK_EQ(getrandom(a, 32, 0), 32);
  CHECK_EQ(getrandom(b, 32, GRND_NONBLOCK), 32);
  CHECK(memcmp(a, b, 32));
  CHECK_ERRNO(getrandom(a, 32, 0x100), EINVAL);
}
PROPERTY(unknown_calls_are_enosys) {
  CHECK_ERRNO(syscall(499), ENOSYS);
  CHECK_ERRNO(syscall(100000), ENOSYS);
  CHECK_ERRNO(syscall(-1L), ENOSYS);
}
PROPERTY(proc_self_describes_the_process) {
  CHECK(slurp("/proc/self/status").find("Pid:\t" + std::to_string(getpid()) + "\n") !=
        std::string::npos);
  CHECK(slurp("/proc/self/maps").find("[stack]") != std::string::npos);
  CHECK(slurp("/proc/self/cmdline").size() > 1);
  CHECK(slurp("/proc/self/stat").find(std::to_string(getpid()) + " (") == 0);
  char path[256] = {};
  CHECK(readlink("/proc/self/exe", path, 255) > 0);
  CHECK_EQ(access(path, X_OK), 0);
  CHECK_EQ(atoi((readlink("/proc/self", path, 255) > 0) ? path : ""), getpid());
}
PROPERTY(proc_describes_the_system) {
  CHECK(slurp("/proc/meminfo").find("MemTotal:") == 0);
  CHECK(slurp("/proc/cpuinfo").find("processor") == 0);
  CHECK(slurp("/proc/stat").find("cpu ") == 0);
  CHECK(slurp("/proc/mounts").find(" / ") != std::string::npos);
  CHECK(atof(slurp("/proc/uptime").c_str()) > 0);
  CHECK(slurp("/proc/sys/kernel/ostype") == "Linux\n");
  CHECK(slurp("/proc/sys/kernel/random/boot_id").size() == 37);
}
PROPERTY(sysinfo_and_sysconf_agree) {
  struct sysinfo info;
  CHECK_EQ(sysinfo(&info), 0);
  CHECK(info.totalram > 0 && info.freeram <= info.totalram);
  CHECK(sysconf(_SC_NPROCESSORS_ONLN) >= 1);
  CHECK_EQ(sysconf(_SC_CLK_TCK), 100);
}
PROPERTY(names_and_flags_through_prctl) {
  CHECK_EQ(prctl(PR_SET_NAME, "sixteen-characters-long"), 0);
  char name[17] = {};
  CHECK_EQ(prctl(PR_GET_NAME, name), 0);
  CHECK(!strcmp(name, "sixteen-charact"));
  CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  CHECK_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
  CHECK_ERRNO(prctl(123456, 0, 0, 0, 0), EINVAL);
}
PROPERTY(credentials_are_roots) {
  CHECK_EQ(getuid(), 0u);
  CHECK_EQ(geteuid(), 0u);
  CHECK_EQ(setgid(33), 0);
  CHECK_EQ(setuid(33), 0);
  CHECK_EQ(getuid(), 33u);
  CHECK_ERRNO(setuid(0), EPERM);
  CHECK_ERRNO(open("/etc/aril-forbidden", O_CREAT | O_WRONLY, 0644), EACCES);
}
