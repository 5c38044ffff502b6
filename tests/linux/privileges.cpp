// prctl, capabilities, seccomp, personality, mounts, and calls that are refused.
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <vector>

#include "check.hpp"
#include "children.hpp"

namespace {

int install(std::vector<sock_filter> program) {
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  sock_fprog description{(unsigned short)program.size(), program.data()};
  return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &description);
}
// `action` for system call `number`, everything else allowed.
int install(int number, unsigned action) {
  return install({BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
                  BPF_STMT(BPF_RET | BPF_K, action), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)});
}

}  // namespace

PROPERTY(names_are_cut_and_read_back) {
  char name[16];
  CHECK_EQ(prctl(PR_SET_NAME, "a-name-that-is-too-long"), 0);
  CHECK_EQ(prctl(PR_GET_NAME, name), 0);
  CHECK_EQ(strcmp(name, "a-name-that-is-"), 0);
  CHECK_ERRNO(prctl(PR_SET_NAME, nullptr), EFAULT);
}
PROPERTY(dumpable_is_zero_or_one) {
  CHECK_EQ(prctl(PR_GET_DUMPABLE), 1);
  CHECK_EQ(prctl(PR_SET_DUMPABLE, 0), 0);
  CHECK_EQ(prctl(PR_GET_DUMPABLE), 0);
  CHECK_ERRNO(prctl(PR_SET_DUMPABLE, 2), EINVAL);
  CHECK_EQ(prctl(PR_SET_DUMPABLE, 1), 0);
}
PROPERTY(death_signals_are_kept) {
  int number = -1;
  CHECK_EQ(prctl(PR_SET_PDEATHSIG, SIGUSR1), 0);
  CHECK_EQ(prctl(PR_GET_PDEATHSIG, &number), 0);
  CHECK_EQ(number, SIGUSR1);
  CHECK_ERRNO(prctl(PR_SET_PDEATHSIG, 99), EINVAL);
  CHECK_EQ(prctl(PR_SET_PDEATHSIG, 0), 0);
}
PROPERTY(timer_slack_has_a_default) {
  CHECK_EQ(prctl(PR_GET_TIMERSLACK), 50000);
  CHECK_EQ(prctl(PR_SET_TIMERSLACK, 1000), 0);
  CHECK_EQ(prctl(PR_GET_TIMERSLACK), 1000);
  CHECK_EQ(prctl(PR_SET_TIMERSLACK, 0), 0);
}
PROPERTY(small_prctl_questions) {
  int value = 0;
  CHECK_EQ(prctl(PR_GET_TSC, &value), 0);
  CHECK_EQ(value, PR_TSC_ENABLE);
  CHECK_EQ(prctl(PR_GET_TIMING), PR_TIMING_STATISTICAL);
  CHECK_EQ(prctl(PR_GET_SECCOMP), 0);
  CHECK_EQ(prctl(PR_GET_KEEPCAPS), 0);
  CHECK_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
  CHECK_ERRNO(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), EINVAL);
  CHECK_ERRNO(prctl(9999), EINVAL);
}
PROPERTY(subreapers_are_set) {
  int value = 7;
  CHECK_EQ(prctl(PR_GET_CHILD_SUBREAPER, &value), 0);
  CHECK_EQ(value, 0);
  CHECK_EQ(in_child([] {
             int set = 0;
             prctl(PR_SET_CHILD_SUBREAPER, 1);
             prctl(PR_GET_CHILD_SUBREAPER, &set);
             return set;
           }),
           1);
}
PROPERTY(bounding_capabilities_are_read) {
  CHECK_EQ(prctl(PR_CAPBSET_READ, CAP_CHOWN), 1);
  CHECK_ERRNO(prctl(PR_CAPBSET_READ, 99), EINVAL);
}
PROPERTY(capability_versions_are_told) {
  __user_cap_header_struct header{0x1234, 0};
  __user_cap_data_struct data[2];
  CHECK_ERRNO(syscall(SYS_capget, &header, data), EINVAL);
  CHECK_EQ(header.version, (unsigned)_LINUX_CAPABILITY_VERSION_3);
  CHECK_EQ(syscall(SYS_capget, &header, data), 0);
  CHECK(data[0].effective & (1u << CAP_CHOWN));
}
PROPERTY(capabilities_can_only_be_given_up) {
  CHECK_EQ(in_child([] {
             __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
             __user_cap_data_struct data[2];
             syscall(SYS_capget, &header, data);
             auto before = data[0];
             data[0].effective = data[0].permitted = before.permitted & ~(1u << CAP_CHOWN);
             if (syscall(SYS_capset, &header, data) != 0) return 1;
             data[0] = before;
             return syscall(SYS_capset, &header, data) == -1 && errno == EPERM ? 42 : 2;
           }),
           42);
}
PROPERTY(dropped_users_lose_capabilities) {
  CHECK_EQ(in_child([] {
             if (setresgid(1000, 1000, 1000) != 0 || setresuid(1000, 1000, 1000) != 0) return 1;
             if (setuid(0) != -1 || errno != EPERM) return 2;
             if (chroot("/tmp") != -1 || errno != EPERM) return 3;
             if (sethostname("x", 1) != -1 || errno != EPERM) return 4;
             if (mount("none", "/tmp", "tmpfs", 0, nullptr) != -1 || errno != EPERM) return 5;
             return 42;
           }),
           42);
}
PROPERTY(strict_seccomp_kills) {
  CHECK_EQ(in_child([] {
             if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) return 1;
             (void)write(1, "", 0);
             syscall(SYS_getpid);
             return 2;
           }),
           128 + SIGKILL);
}
PROPERTY(a_filter_gives_errors) {
  CHECK_EQ(in_child([] {
             if (install(SYS_getppid, SECCOMP_RET_ERRNO | ENOTEMPTY) != 0) return 1;
             if (syscall(SYS_getppid) != -1 || errno != ENOTEMPTY) return 2;
             if (syscall(SYS_getpid) != getpid()) return 3;
             return prctl(PR_GET_SECCOMP) == 2 ? 42 : 4;
           }),
           42);
}
PROPERTY(a_filter_kills) {
  CHECK_EQ(in_child([] {
             signal(SIGSYS, SIG_IGN);
             if (install(SYS_getppid, SECCOMP_RET_KILL_PROCESS) != 0) return 1;
             syscall(SYS_getppid);
             return 2;
           }),
           128 + SIGSYS);
}
PROPERTY(a_filter_traps) {
  CHECK_EQ(in_child([] {
             static volatile int number, code, data;
             struct sigaction action{};
             action.sa_flags = SA_SIGINFO;
             action.sa_sigaction = [](int, siginfo_t* info, void*) {
               number = info->si_syscall;
               code = info->si_code;
               data = info->si_errno;
             };
             sigaction(SIGSYS, &action, nullptr);
             if (install(SYS_getppid, SECCOMP_RET_TRAP | 77) != 0) return 1;
             syscall(SYS_getppid);
             return number == SYS_getppid && code == 1 && data == 77 ? 42 : 2;
           }),
           42);
}
PROPERTY(a_filter_sees_arguments) {
  CHECK_EQ(in_child([] {
             if (install({BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_dup, 0, 3),
                          BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0])),
                          BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 100, 0, 1),
                          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EDOM),
                          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)}) != 0)
               return 1;
             if (syscall(SYS_dup, 200) != -1 || errno != EDOM) return 2;
             return syscall(SYS_dup, 1) >= 0 ? 42 : 3;
           }),
           42);
}
PROPERTY(the_strictest_filter_wins_and_children_inherit) {
  CHECK_EQ(in_child([] {
             if (install(SYS_getppid, SECCOMP_RET_ERRNO | EDOM) != 0) return 1;
             if (install(SYS_getpgrp, SECCOMP_RET_ERRNO | ERANGE) != 0) return 2;
             return in_child([] {
               bool first = syscall(SYS_getppid) == -1 && errno == EDOM;
               bool second = syscall(SYS_getpgrp) == -1 && errno == ERANGE;
               return first && second ? 42 : 3;
             });
           }),
           42);
}
PROPERTY(bad_filters_are_refused) {
  CHECK_EQ(in_child([] {
             if (install({BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0)}) != -1 || errno != EINVAL)
               return 1;
             if (install({BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 1000),
                          BPF_STMT(BPF_RET | BPF_K, 0)}) != -1 ||
                 errno != EINVAL)
               return 2;
             if (syscall(SYS_seccomp, 99, 0, nullptr) != -1 || errno != EINVAL) return 3;
             unsigned action = SECCOMP_RET_ERRNO;
             return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0 ? 42 : 4;
           }),
           42);
}
PROPERTY(personality_is_kept) {
  CHECK_EQ(personality(0xffffffff), PER_LINUX);
  CHECK_EQ(personality(ADDR_NO_RANDOMIZE), PER_LINUX);
  CHECK_EQ(personality(PER_LINUX), ADDR_NO_RANDOMIZE);
}
PROPERTY(machine_calls_are_refused) {
  CHECK_EQ(in_child([] {
             if (setresuid(1000, 1000, 1000) != 0) return 1;
             if (syscall(SYS_vhangup) != -1 || errno != EPERM) return 5;
             if (syscall(SYS_reboot, 0, 0, 0, 0) != -1 || errno != EPERM) return 7;
             if (unshare(CLONE_NEWUTS) != -1 || errno != EPERM) return 8;
             return 42;
           }),
           42);
}
PROPERTY(unshare_of_ones_own) {
  CHECK_EQ(in_child([] { return unshare(CLONE_FS | CLONE_FILES) == 0 ? 42 : 1; }), 42);
  CHECK_ERRNO(unshare(1), EINVAL);
}
PROPERTY(handles_are_not_for_all) {
  struct {
    unsigned bytes;
    int type;
    char data[128];
  } handle{0, 0, {}};
  int mount_id;
  int result = (int)syscall(SYS_name_to_handle_at, AT_FDCWD, "/proc/self", &handle, &mount_id, 0);
  CHECK(result == -1 && (errno == EOPNOTSUPP || errno == EOVERFLOW));
}
