#include "confinement.hpp"

#include <grp.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "error.hpp"

namespace aril::tender {
namespace {

constexpr uid_t kNobody = 65534;

/// While this process may still do so.
void bound_capabilities() {
  int capability = 0;
  while (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) >= 0) ++capability;
}

void drop_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2]{};
  check(static_cast<int>(syscall(SYS_capset, &header, none)), "capset");
}

}  // namespace

void give_up_privileges() {
  // The filter leaves no call that could name anything in these; they stand behind it.
  unshare(CLONE_NEWIPC | CLONE_NEWUTS);
  bound_capabilities();
  if (geteuid() == 0) {
    check(setgroups(0, nullptr), "setgroups");
    check(setresgid(kNobody, kNobody, kNobody), "setresgid");
    check(setresuid(kNobody, kNobody, kNobody), "setresuid");
  }
  drop_capabilities();
  check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
  check(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "PR_SET_DUMPABLE");
  // The kernel writes its own reports.
  const rlimit no_cores{0, 0};
  setrlimit(RLIMIT_CORE, &no_cores);
}

void install_filter(std::span<const sock_filter> filter) {
  sock_fprog program{static_cast<unsigned short>(filter.size()),
                     const_cast<sock_filter*>(filter.data())};
  const long failed =
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
  if (failed != 0) die("seccomp", failed < 0 ? errno : ESRCH);
}

}  // namespace aril::tender
