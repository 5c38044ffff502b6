// Limits of memory and descriptors, advice about memory, moving it, and looking into processes.
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "check.hpp"
#include "children.hpp"

namespace {

constexpr size_t kPage = 4096;

char* anonymous(size_t pages, int protection = PROT_READ | PROT_WRITE, int flags = MAP_PRIVATE) {
  return (char*)mmap(nullptr, pages * kPage, protection, flags | MAP_ANONYMOUS, -1, 0);
}

// The limit for a scope.
struct Limit {
  int resource;
  rlimit old;
  Limit(int which, rlim_t value) : resource(which) {
    getrlimit(which, &old);
    rlimit limit{value, old.rlim_max};
    setrlimit(which, &limit);
  }
  ~Limit() { setrlimit(resource, &old); }
};

sigjmp_buf landing;
int fault_at(volatile char* address, bool write) {
  struct sigaction action{}, old_segv, old_bus;
  action.sa_handler = [](int number) { siglongjmp(landing, number); };
  action.sa_flags = SA_NODEFER;
  sigaction(SIGSEGV, &action, &old_segv);
  sigaction(SIGBUS, &action, &old_bus);
  int number = sigsetjmp(landing, 1);
  if (number == 0) {
    if (write) {
      *address = 1;
    } else {
      (void)*address;
    }
  }
  sigaction(SIGSEGV, &old_segv, nullptr);
  sigaction(SIGBUS, &old_bus, nullptr);
  return number;
}

}  // namespace

PROPERTY(address_space_is_limited) {
  Limit limit(RLIMIT_AS, 1ull << 40);
  char* small = anonymous(16);
  CHECK(small != MAP_FAILED);
  munmap(small, 16 * kPage);
  CHECK_ERRNO((long)mmap(nullptr, 2ull << 40, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
              ENOMEM);
}
PROPERTY(data_is_limited) {
  char* before = (char*)sbrk(0);
  Limit limit(RLIMIT_DATA, 1 << 20);
  CHECK_ERRNO(
      (long)mmap(nullptr, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      ENOMEM);
  CHECK_ERRNO((long)sbrk(64 << 20), ENOMEM);
  CHECK(sbrk(0) == before);
}
PROPERTY(descriptors_are_limited) {
  Limit limit(RLIMIT_NOFILE, 20);
  std::vector<int> fds;
  int fd;
  while ((fd = dup(0)) >= 0) fds.push_back(fd);
  int error = errno;
  CHECK_ERRNO(fcntl(0, F_DUPFD, 20), EINVAL);
  CHECK_ERRNO(dup2(0, 20), EBADF);
  int last = fds.empty() ? -1 : fds.back();
  for (int each : fds) close(each);
  CHECK_EQ(error, EMFILE);
  CHECK_EQ(last, 19);
}
PROPERTY(limits_go_down_and_not_over_the_maximum) {
  rlimit limit;
  CHECK_EQ(getrlimit(RLIMIT_CORE, &limit), 0);
  rlimit wrong{10, 5};
  CHECK_ERRNO(setrlimit(RLIMIT_CORE, &wrong), EINVAL);
  CHECK_ERRNO(getrlimit((__rlimit_resource)99, &limit), EINVAL);
  CHECK_ERRNO(prlimit(999999, RLIMIT_CORE, nullptr, &limit), ESRCH);
  CHECK_EQ(prlimit(getpid(), RLIMIT_CORE, nullptr, &limit), 0);
}
PROPERTY(cpu_time_is_limited) {
  CHECK_EQ(in_child([] {
             rlimit limit{1, 2};
             setrlimit(RLIMIT_CPU, &limit);
             for (;;) {}
             return 0;
           }),
           128 + SIGXCPU);
}
PROPERTY(a_read_only_shared_mapping_stays_so) {
  char name[] = "/tmp/limits-XXXXXX";
  int fd = mkstemp(name);
  CHECK_EQ(ftruncate(fd, kPage), 0);
  int reader = open(name, O_RDONLY);
  unlink(name);
  CHECK_ERRNO((long)mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, reader, 0), EACCES);
  char* shared = (char*)mmap(nullptr, kPage, PROT_READ, MAP_SHARED, reader, 0);
  CHECK(shared != MAP_FAILED);
  CHECK_ERRNO(mprotect(shared, kPage, PROT_READ | PROT_WRITE), EACCES);
  char* copy = (char*)mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, reader, 0);
  CHECK_EQ(mprotect(copy, kPage, PROT_READ | PROT_WRITE), 0);
  copy[0] = 1;
  CHECK_EQ(shared[0], 0);
  munmap(shared, kPage);
  munmap(copy, kPage);
  close(fd);
  close(reader);
}
PROPERTY(memory_is_given_back) {
  char* memory = anonymous(8);
  memset(memory, 7, 8 * kPage);
  CHECK_EQ(madvise(memory + kPage, 2 * kPage, MADV_DONTNEED), 0);
  CHECK_EQ(memory[0], 7);
  CHECK_EQ(memory[kPage], 0);
  CHECK_EQ(memory[3 * kPage], 7);
  unsigned char resident[8];
  CHECK_EQ(madvise(memory, 8 * kPage, MADV_DONTNEED), 0);
  CHECK_EQ(mincore(memory, 8 * kPage, resident), 0);
  for (unsigned char page : resident) CHECK_EQ(page & 1, 0);
  munmap(memory, 8 * kPage);
}
PROPERTY(memory_is_populated) {
  char* memory = anonymous(4);
  unsigned char resident[4];
  CHECK_EQ(madvise(memory, 4 * kPage, MADV_POPULATE_WRITE), 0);
  CHECK_EQ(mincore(memory, 4 * kPage, resident), 0);
  for (unsigned char page : resident) CHECK_EQ(page & 1, 1);
  CHECK_EQ(mprotect(memory, kPage, PROT_READ), 0);
  CHECK_ERRNO(madvise(memory, 4 * kPage, MADV_POPULATE_WRITE), EINVAL);
  CHECK_EQ(madvise(memory, 4 * kPage, MADV_POPULATE_READ), 0);
  munmap(memory + kPage, kPage);
  CHECK_ERRNO(madvise(memory, 4 * kPage, MADV_POPULATE_READ), ENOMEM);
  munmap(memory, 4 * kPage);
}
PROPERTY(advice_is_checked) {
  char* memory = anonymous(2);
  CHECK_ERRNO(madvise(memory + 1, kPage, MADV_NORMAL), EINVAL);
  CHECK_ERRNO(madvise(memory, kPage, 999), EINVAL);
  CHECK_EQ(madvise(memory, 0, MADV_NORMAL), 0);
  munmap(memory + kPage, kPage);
  CHECK_ERRNO(madvise(memory, 2 * kPage, MADV_DONTNEED), ENOMEM);
  CHECK_ERRNO(madvise(memory, 2 * kPage, MADV_NORMAL), ENOMEM);
  char* shared = anonymous(1, PROT_READ | PROT_WRITE, MAP_SHARED);
  CHECK_ERRNO(madvise(shared, kPage, MADV_FREE), EINVAL);
  CHECK_ERRNO(madvise(shared, kPage, MADV_WIPEONFORK), EINVAL);
  munmap(shared, kPage);
  munmap(memory, kPage);
}
PROPERTY(a_child_gets_what_advice_says) {
  char* memory = anonymous(3);
  memset(memory, 7, 3 * kPage);
  CHECK_EQ(madvise(memory + kPage, kPage, MADV_WIPEONFORK), 0);
  CHECK_EQ(madvise(memory + 2 * kPage, kPage, MADV_DONTFORK), 0);
  CHECK_EQ(in_child([&] {
             if (memory[0] != 7 || memory[kPage] != 0) return 1;
             return fault_at(memory + 2 * kPage, false) == SIGSEGV ? 42 : 2;
           }),
           42);
  CHECK_EQ(memory[kPage], 7);
  CHECK_EQ(madvise(memory, 3 * kPage, MADV_KEEPONFORK), 0);
  CHECK_EQ(madvise(memory, 3 * kPage, MADV_DOFORK), 0);
  CHECK_EQ(in_child([&] { return memory[kPage] == 7 && memory[2 * kPage] == 7 ? 42 : 1; }), 42);
  munmap(memory, 3 * kPage);
}
PROPERTY(remapping_can_leave_the_old_place) {
  char* memory = anonymous(4);
  memset(memory, 9, 4 * kPage);
  char* moved =
      (char*)mremap(memory, 4 * kPage, 4 * kPage, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, nullptr);
  CHECK(moved != MAP_FAILED && moved != memory);
  CHECK_EQ(moved[3 * kPage], 9);
  CHECK_EQ(memory[0], 0);
  CHECK_ERRNO(
      (long)mremap(memory, 4 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, nullptr),
      EINVAL);
  CHECK_ERRNO((long)mremap(memory, 4 * kPage, 4 * kPage, MREMAP_DONTUNMAP, nullptr), EINVAL);
  munmap(memory, 4 * kPage);
  munmap(moved, 4 * kPage);
}
PROPERTY(remapping_grows_shrinks_and_moves) {
  char* memory = anonymous(8);
  memset(memory, 3, 8 * kPage);
  CHECK(mremap(memory, 8 * kPage, 2 * kPage, 0) == memory);
  CHECK_EQ(fault_at(memory + 2 * kPage, false), SIGSEGV);
  char* target = anonymous(2);
  CHECK(mremap(memory, 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target);
  CHECK_EQ(target[kPage], 3);
  CHECK_EQ(fault_at(memory, false), SIGSEGV);
  CHECK_ERRNO((long)mremap(target + 1, kPage, kPage, 0), EINVAL);
  CHECK_ERRNO((long)mremap(memory, kPage, kPage, 0), EFAULT);
  munmap(target, 2 * kPage);
}
PROPERTY(locking_is_checked) {
  char* memory = anonymous(3);
  CHECK_EQ(mlock(memory, 3 * kPage), 0);
  CHECK_EQ(munlock(memory, 3 * kPage), 0);
  CHECK_EQ(mlock2(memory, kPage, MLOCK_ONFAULT), 0);
  CHECK_ERRNO(mlock2(memory, kPage, 8), EINVAL);
  munmap(memory + kPage, kPage);
  CHECK_ERRNO(mlock(memory, 3 * kPage), ENOMEM);
  CHECK_ERRNO(munlock(memory, 3 * kPage), ENOMEM);
  CHECK_ERRNO(mlockall(0), EINVAL);
  CHECK_ERRNO(mlockall(MCL_ONFAULT), EINVAL);
  CHECK_EQ(munlockall(), 0);
  munmap(memory, 3 * kPage);
}
PROPERTY(mincore_is_checked) {
  char* memory = anonymous(2);
  unsigned char pages[2];
  CHECK_ERRNO(mincore(memory + 1, kPage, pages), EINVAL);
  munmap(memory + kPage, kPage);
  CHECK_ERRNO(mincore(memory, 2 * kPage, pages), ENOMEM);
  CHECK_ERRNO(mincore(memory, kPage, nullptr), EFAULT);
  munmap(memory, kPage);
}
PROPERTY(protection_keys_are_not_there) {
  char* memory = anonymous(1);
  CHECK_EQ(syscall(SYS_pkey_mprotect, memory, kPage, PROT_READ, -1), 0);
  CHECK_EQ(fault_at(memory, true), SIGSEGV);
  munmap(memory, kPage);
}
PROPERTY(files_behind_mappings_end) {
  char name[] = "/tmp/limits-XXXXXX";
  int fd = mkstemp(name);
  unlink(name);
  CHECK_EQ(ftruncate(fd, kPage), 0);
  char* memory = (char*)mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK_EQ(fault_at(memory, true), 0);
  CHECK_EQ(fault_at(memory + kPage, false), SIGBUS);
  CHECK_EQ(ftruncate(fd, 0), 0);
  CHECK_EQ(fault_at(memory, false), SIGBUS);
  munmap(memory, 2 * kPage);
  close(fd);
}
PROPERTY(protection_is_enforced) {
  char* memory = anonymous(1);
  memory[0] = 1;
  CHECK_EQ(mprotect(memory, kPage, PROT_READ), 0);
  CHECK_EQ(fault_at(memory, true), SIGSEGV);
  CHECK_EQ(fault_at(memory, false), 0);
  CHECK_EQ(mprotect(memory, kPage, PROT_NONE), 0);
  CHECK_EQ(fault_at(memory, false), SIGSEGV);
  CHECK_ERRNO(write(1, memory, 1), EFAULT);
  munmap(memory, kPage);
}
PROPERTY(own_memory_through_process_vm) {
  char from[] = "process", to[8] = {};
  iovec local{to, 8}, remote{from, 8};
  CHECK_EQ(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), 8);
  CHECK_EQ(memcmp(to, from, 8), 0);
  char text[] = "WRITTEN";
  local = {text, 8};
  CHECK_EQ(process_vm_writev(getpid(), &local, 1, &remote, 1, 0), 8);
  CHECK_EQ(memcmp(from, text, 8), 0);
}
PROPERTY(another_process_through_process_vm) {
  static char shared[16] = "parent";
  int ready[2], done[2];
  CHECK_EQ(pipe(ready), 0);
  CHECK_EQ(pipe(done), 0);
  pid_t child = fork();
  if (child == 0) {
    strcpy(shared, "child");
    char byte = 0;
    (void)write(ready[1], &byte, 1);
    (void)read(done[0], &byte, 1);
    _exit(strcmp(shared, "poked") == 0 ? 0 : 1);
  }
  char byte, seen[16] = {};
  CHECK_EQ(read(ready[0], &byte, 1), 1);
  iovec local{seen, sizeof seen}, remote{shared, sizeof shared};
  CHECK_EQ(process_vm_readv(child, &local, 1, &remote, 1, 0), 16);
  CHECK_EQ(strcmp(seen, "child"), 0);
  CHECK_EQ(strcmp(shared, "parent"), 0);
  char poke[16] = "poked";
  local = {poke, sizeof poke};
  CHECK_EQ(process_vm_writev(child, &local, 1, &remote, 1, 0), 16);
  CHECK_EQ(write(done[1], &byte, 1), 1);
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
}
PROPERTY(process_vm_is_checked) {
  char buffer[8];
  iovec local{buffer, 8}, bad{(void*)16, 8};
  CHECK_ERRNO(process_vm_readv(getpid(), &local, 1, &bad, 1, 0), EFAULT);
  CHECK_ERRNO(process_vm_readv(getpid(), &local, 1, &local, 1, 1), EINVAL);
  CHECK_ERRNO(process_vm_readv(999999, &local, 1, &local, 1, 0), ESRCH);
}
PROPERTY(files_of_processes_are_compared) {
  int a = dup(1), b = open("/dev/null", O_RDONLY);
  pid_t self = getpid();
  CHECK_EQ(syscall(SYS_kcmp, self, self, 0, 1, a), 0);
  CHECK(syscall(SYS_kcmp, self, self, 0, 1, b) > 0);
  CHECK_EQ(syscall(SYS_kcmp, self, self, 1, 0, 0), 0);
  CHECK_ERRNO(syscall(SYS_kcmp, self, self, 0, 1, 999), EBADF);
  CHECK_ERRNO(syscall(SYS_kcmp, self, self, 99, 0, 0), EINVAL);
  CHECK_ERRNO(syscall(SYS_kcmp, 999999, self, 1, 0, 0), ESRCH);
  close(a);
  close(b);
}
