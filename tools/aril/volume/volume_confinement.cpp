#include "volume/volume_confinement.hpp"

#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "tender/filter.hpp"

namespace aril::tool {

void need(bool done, const char* what) {
  if (done) return;
  std::fprintf(stderr, "aril: a volume's server: %s: %s\n", what, std::strerror(errno));
  _exit(1);
}

namespace {

// [landlock(7)] Numbers of Linux 5.13 and 5.19, which older headers do not name.
constexpr long kLandlockCreateRuleset = 444, kLandlockAddRule = 445, kLandlockRestrictSelf = 446;
constexpr unsigned kLandlockVersion = 1, kLandlockPathBeneath = 1;
constexpr long kLeastVersion = 2;  // before it nothing could be moved between directories
constexpr uint64_t kEveryAccess = (uint64_t{1} << 14) - 1;
struct LandlockRules {
  uint64_t handled;
};
struct [[gnu::packed]] LandlockPath {
  uint64_t allowed;
  int32_t directory;
};

/// Paths end at the directory for a process that is not root, where the host can do that. Without
/// it, that no name leads out is VolumeServer's word alone.
void confine_by_landlock(int directory) {
  if (syscall(kLandlockCreateRuleset, nullptr, 0, kLandlockVersion) < kLeastVersion) return;
  const LandlockRules rules{kEveryAccess};
  const long set = syscall(kLandlockCreateRuleset, &rules, sizeof rules, 0);
  need(set >= 0, "landlock");
  const LandlockPath path{kEveryAccess, directory};
  need(syscall(kLandlockAddRule, set, kLandlockPathBeneath, &path, 0) == 0, "landlock");
  need(syscall(kLandlockRestrictSelf, set, 0) == 0, "landlock");
  close(static_cast<int>(set));
}

/// What root needs to act for the guest's users.
void keep_few_capabilities() {
  constexpr uint32_t kKept = 1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH |
                             1u << CAP_FOWNER | 1u << CAP_FSETID;
  for (int capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) >= 0; ++capability) {}
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2]{};
  sets[0].effective = sets[0].permitted = kKept;
  need(syscall(SYS_capset, &header, sets) == 0, "capset");
}

}  // namespace

void confine_to_directory(int directory) {
  need(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "PR_SET_NO_NEW_PRIVS");
  if (geteuid() == 0) {
    need(fchdir(directory) == 0 && chroot(".") == 0, "chroot");
    keep_few_capabilities();
  } else {
    confine_by_landlock(directory);
  }
}

void allow_only_serving() {
  using tender::Rule;
  constexpr unsigned long kExecutable = 4;  // PROT_EXEC
  std::vector<Rule> rules;
  const auto allow = [&](const char* call, unsigned number, const char* reason) {
    rules.push_back({call, number, {}, reason});
  };
  allow("recvfrom", SYS_recvfrom, "a message");
  allow("sendto", SYS_sendto, "its answer");
  allow("openat", SYS_openat, "walk, open");
  allow("close", SYS_close, "clunk");
  allow("newfstatat", SYS_newfstatat, "attributes");
  allow("fstat", SYS_fstat, "attributes");
  allow("pread64", SYS_pread64, "read");
  allow("pwrite64", SYS_pwrite64, "write");
  allow("fsync", SYS_fsync, "sync");
  allow("ftruncate", SYS_ftruncate, "set a size");
  allow("fchownat", SYS_fchownat, "set an owner");
  allow("fchmodat", SYS_fchmodat, "set a mode");
  allow("utimensat", SYS_utimensat, "set times");
  allow("mknodat", SYS_mknodat, "make a file");
  allow("mkdirat", SYS_mkdirat, "make a directory");
  allow("symlinkat", SYS_symlinkat, "make a link");
  allow("linkat", SYS_linkat, "give a name");
  allow("unlinkat", SYS_unlinkat, "take a name");
  allow("renameat", SYS_renameat, "change a name");
  allow("readlinkat", SYS_readlinkat, "read a link");
  allow("lseek", SYS_lseek, "read a directory");
  allow("getdents64", SYS_getdents64, "read a directory");
  allow("fstatfs", SYS_fstatfs, "the file system's status");
  allow("flistxattr", SYS_flistxattr, "list attributes");
  allow("fgetxattr", SYS_fgetxattr, "read an attribute");
  allow("fsetxattr", SYS_fsetxattr, "set an attribute");
  allow("fremovexattr", SYS_fremovexattr, "remove an attribute");
  allow("brk", SYS_brk, "memory");
  allow("munmap", SYS_munmap, "memory");
  allow("mremap", SYS_mremap, "memory");
  allow("madvise", SYS_madvise, "memory");
  rules.push_back({"mmap", SYS_mmap, {tender::lacks(2, kExecutable)}, "memory"});
  allow("exit_group", SYS_exit_group, "end");
  const std::vector<sock_filter> filter = tender::compile(rules, {0, ~uint64_t{0} >> 1});
  sock_fprog program{static_cast<unsigned short>(filter.size()),
                     const_cast<sock_filter*>(filter.data())};
  need(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0, "seccomp");
}

}  // namespace aril::tool
