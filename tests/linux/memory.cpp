// Mappings, protections, the break, faults as signals.
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <vector>

#include "check.hpp"

static const size_t kPage = 4096;
static sigjmp_buf escape;
static volatile int fault_signal, fault_code;
static void* volatile fault_address;

static void on_fault(int number, siginfo_t* info, void*) {
  fault_signal = number;
  fault_code = info->si_code;
  fault_address = info->si_addr;
  siglongjmp(escape, 1);
}
// True when the access faults; what the signal said is in the variables above.
template <typename F>
static bool faults(F access) {
  struct sigaction action = {}, old_segv, old_bus;
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, &old_segv);
  sigaction(SIGBUS, &action, &old_bus);
  fault_signal = 0;
  if (sigsetjmp(escape, 1) == 0) access();
  sigaction(SIGSEGV, &old_segv, nullptr);
  sigaction(SIGBUS, &old_bus, nullptr);
  return fault_signal != 0;
}
static char* pages(size_t count, int protection = PROT_READ | PROT_WRITE) {
  return (char*)mmap(nullptr, count * kPage, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

PROPERTY(anonymous_memory_is_zero) {
  char* memory = pages(100);
  CHECK(memory != MAP_FAILED);
  for (size_t i = 0; i < 100 * kPage; i += 97) CHECK_EQ(memory[i], 0);
  memory[50 * kPage] = 7;
  CHECK_EQ(memory[50 * kPage], 7);
  CHECK_EQ(munmap(memory, 100 * kPage), 0);
}
PROPERTY(null_pointer_faults_with_maperr) {
  CHECK(faults([] { *(volatile char*)16 = 1; }));
  CHECK_EQ((int)fault_signal, SIGSEGV);
  CHECK_EQ((int)fault_code, SEGV_MAPERR);
  CHECK((uintptr_t)fault_address == 16);
}
PROPERTY(unmapped_memory_faults) {
  char* memory = pages(3);
  CHECK_EQ(munmap(memory + kPage, kPage), 0);
  memory[0] = memory[2 * kPage] = 1;
  CHECK(faults([&] { (void)*(volatile char*)(memory + kPage); }));
  CHECK_EQ((int)fault_code, SEGV_MAPERR);
  CHECK(fault_address == memory + kPage);
  munmap(memory, 3 * kPage);
}
PROPERTY(write_to_read_only_faults_with_accerr) {
  char* memory = pages(1, PROT_READ);
  CHECK_EQ(memory[0], 0);
  CHECK(faults([&] { *(volatile char*)memory = 1; }));
  CHECK_EQ((int)fault_code, SEGV_ACCERR);
  munmap(memory, kPage);
}
PROPERTY(mprotect_takes_and_gives_access) {
  char* memory = pages(3);
  memory[kPage] = 5;
  CHECK_EQ(mprotect(memory + kPage, kPage, PROT_NONE), 0);
  CHECK(faults([&] { (void)*(volatile char*)(memory + kPage); }));
  CHECK(!faults([&] { memory[0] = 1, memory[2 * kPage] = 1; }));
  CHECK_EQ(mprotect(memory + kPage, kPage, PROT_READ), 0);
  CHECK_EQ(memory[kPage], 5);
  CHECK(faults([&] { *(volatile char*)(memory + kPage) = 1; }));
  CHECK_EQ(mprotect(memory + kPage, kPage, PROT_READ | PROT_WRITE), 0);
  memory[kPage] = 6;
  munmap(memory, 3 * kPage);
  CHECK_ERRNO(mprotect(memory, kPage, PROT_READ), ENOMEM);
  CHECK_ERRNO(mprotect(memory + 1, kPage, PROT_READ), EINVAL);
}
PROPERTY(code_runs_only_from_executable_pages) {
  unsigned char* memory = (unsigned char*)pages(1);
  const unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3};  // mov $42, %eax; ret
  memcpy(memory, code, sizeof code);
  int (*function)() = (int (*)())memory;
  CHECK(faults([&] { function(); }));
  CHECK_EQ(mprotect(memory, kPage, PROT_READ | PROT_EXEC), 0);
  CHECK_EQ(function(), 42);
  munmap(memory, kPage);
}
PROPERTY(a_huge_reservation_costs_nothing) {
  size_t size = 100ull << 30;
  char* memory =
      (char*)mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(memory != MAP_FAILED);
  CHECK_EQ(mprotect(memory + (50ull << 30), kPage, PROT_READ | PROT_WRITE), 0);
  memory[50ull << 30] = 1;
  CHECK_EQ(munmap(memory, size), 0);
  memory = (char*)mmap(nullptr, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(memory != MAP_FAILED);
  for (size_t i = 0; i < size; i += size / 16) memory[i] = 1;
  CHECK_EQ(munmap(memory, size), 0);
}
PROPERTY(fixed_mappings_replace) {
  char* memory = pages(4);
  memory[kPage] = 9;
  CHECK(mmap(memory + kPage, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
             -1, 0) == memory + kPage);
  CHECK_EQ(memory[kPage], 0);
  CHECK_ERRNO((long)mmap(memory, kPage, PROT_READ,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
              EEXIST);
  munmap(memory, 4 * kPage);
}
PROPERTY(mmap_checks_its_arguments) {
  CHECK_ERRNO((long)mmap(nullptr, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), EINVAL);
  CHECK_ERRNO((long)mmap(nullptr, kPage, PROT_READ, MAP_ANONYMOUS, -1, 0), EINVAL);
  CHECK_ERRNO((long)mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, 999, 0), EBADF);
  CHECK_ERRNO((long)mmap(nullptr, ~0ull - kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
              ENOMEM);
  CHECK_ERRNO(munmap((void*)1, kPage), EINVAL);
  CHECK_ERRNO(munmap(nullptr, 0), EINVAL);
}
PROPERTY(private_file_mappings_are_copies) {
  int fd = open("/tmp/aril-memory-test", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK_EQ(write(fd, "original", 8), 8);
  char* copy = (char*)mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  CHECK(!memcmp(copy, "original", 8));
  memcpy(copy, "changed!", 8);
  char text[8];
  CHECK_EQ(pread(fd, text, 8, 0), 8);
  CHECK(!memcmp(text, "original", 8));
  munmap(copy, kPage);
  close(fd);
}
PROPERTY(shared_file_mappings_are_the_file) {
  int fd = open("/tmp/aril-memory-test", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK_EQ(ftruncate(fd, 2 * kPage), 0);
  char* a = (char*)mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  char* b = (char*)mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fd, kPage);
  a[kPage] = 'x';
  CHECK_EQ(b[0], 'x');
  char byte;
  CHECK_EQ(pread(fd, &byte, 1, kPage), 1);
  CHECK_EQ(byte, 'x');
  CHECK_EQ(pwrite(fd, "y", 1, kPage), 1);
  CHECK_EQ(a[kPage], 'y');
  CHECK_EQ(msync(a, 2 * kPage, MS_SYNC), 0);
  close(fd);
  CHECK_EQ(b[0], 'y');
  munmap(a, 2 * kPage);
  munmap(b, kPage);
}
PROPERTY(access_past_the_end_of_a_file_is_sigbus) {
  int fd = open("/tmp/aril-memory-test", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK_EQ(write(fd, "abc", 3), 3);
  char* memory = (char*)mmap(nullptr, 2 * kPage, PROT_READ, MAP_SHARED, fd, 0);
  CHECK_EQ(memory[2], 'c');
  CHECK_EQ(memory[100], 0);
  CHECK(faults([&] { (void)*(volatile char*)(memory + kPage); }));
  CHECK_EQ((int)fault_signal, SIGBUS);
  CHECK_EQ((int)fault_code, BUS_ADRERR);
  CHECK_EQ(ftruncate(fd, 0), 0);
  CHECK(faults([&] { (void)*(volatile char*)memory; }));
  CHECK_EQ((int)fault_signal, SIGBUS);
  munmap(memory, 2 * kPage);
  close(fd);
  unlink("/tmp/aril-memory-test");
}
PROPERTY(mapping_needs_matching_access) {
  int readonly = open("/etc/passwd", O_RDONLY);
  CHECK_ERRNO((long)mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, readonly, 0), EACCES);
  char* copy = (char*)mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, readonly, 0);
  CHECK(copy != MAP_FAILED);
  copy[0] = 'X';
  munmap(copy, kPage);
  close(readonly);
  int null = open("/tmp", O_RDONLY);
  CHECK_ERRNO((long)mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, null, 0), ENODEV);
  close(null);
}
PROPERTY(mremap_grows_and_moves) {
  char* memory = pages(2);
  strcpy(memory, "kept");
  memory[kPage] = 3;
  char* moved = (char*)mremap(memory, 2 * kPage, 64 * kPage, MREMAP_MAYMOVE);
  CHECK(moved != MAP_FAILED);
  CHECK(!strcmp(moved, "kept"));
  CHECK_EQ(moved[kPage], 3);
  CHECK_EQ(moved[63 * kPage], 0);
  CHECK(mremap(moved, 64 * kPage, kPage, 0) == moved);
  CHECK(!strcmp(moved, "kept"));
  CHECK(faults([&] { (void)*(volatile char*)(moved + kPage); }));
  munmap(moved, kPage);
}
PROPERTY(madvise_dontneed_zeroes) {
  char* memory = pages(4);
  memset(memory, 1, 4 * kPage);
  CHECK_EQ(madvise(memory + kPage, 2 * kPage, MADV_DONTNEED), 0);
  CHECK_EQ(memory[0], 1);
  CHECK_EQ(memory[kPage], 0);
  CHECK_EQ(memory[3 * kPage], 1);
  munmap(memory, 4 * kPage);
  CHECK_ERRNO(madvise(memory, kPage, MADV_DONTNEED), ENOMEM);
}
PROPERTY(the_break_moves_both_ways) {
  char* start = (char*)sbrk(0);
  CHECK((char*)sbrk(10 * kPage) == start);
  start[10 * kPage - 1] = 1;
  CHECK_EQ(brk(start), 0);
  CHECK((char*)sbrk(0) == start);
}
// As a C library's heap: 33 pages at a time, filled from below, some of it given back now and then.
PROPERTY(a_heap_grows_in_small_steps) {
  constexpr size_t kGrowth = 33 * kPage;
  char* start = (char*)sbrk(0);
  start += -(uintptr_t)start % kPage;
  CHECK_EQ(brk(start), 0);
  char* end = start;
  for (int step = 1; step <= 60; ++step) {
    CHECK_EQ(brk(end + kGrowth), 0);
    for (char* at = end; at < end + kGrowth; at += kPage) {
      CHECK_EQ(at[100], 0);
      at[100] = (char)((at - start) / kPage * 7 + 1);
    }
    end += kGrowth;
    CHECK(faults([&] { *(volatile char*)end = 1; }));
    CHECK_EQ((int)fault_code, SEGV_MAPERR);
    if (step % 7 == 0) CHECK_EQ(brk(end -= 5 * kPage), 0);
    if (step == 40) CHECK_EQ(brk(end -= 300 * kPage), 0);
  }
  for (char* at = start; at < end; at += kPage)
    CHECK_EQ(at[100], (char)((at - start) / kPage * 7 + 1));
  char* guard = start + (end - start) / 2 / kPage * kPage;
  CHECK_EQ(mprotect(guard, kPage, PROT_READ), 0);
  CHECK(faults([&] { *(volatile char*)guard = 1; }));
  CHECK(!faults([&] { guard[kPage] = 1, guard[-1] = 1; }));
  CHECK_EQ(mprotect(guard, kPage, PROT_READ | PROT_WRITE), 0);
  CHECK_EQ(brk(start), 0);
}
PROPERTY(memfd_is_a_file_in_memory) {
  int fd = memfd_create("test", MFD_ALLOW_SEALING);
  CHECK(fd >= 0);
  CHECK_EQ(ftruncate(fd, kPage), 0);
  char* memory = (char*)mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  strcpy(memory, "shared");
  char text[7] = {};
  CHECK_EQ(pread(fd, text, 6, 0), 6);
  CHECK(!strcmp(text, "shared"));
  munmap(memory, kPage);
  CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
  CHECK_ERRNO(ftruncate(fd, 0), EPERM);
  close(fd);
}
PROPERTY(a_sealed_memfd_cannot_be_written) {
  constexpr int kSealFutureWrite = 16;
  for (int seal : {F_SEAL_WRITE, kSealFutureWrite}) {
    int fd = memfd_create("sealed", MFD_ALLOW_SEALING);
    CHECK_EQ(ftruncate(fd, kPage), 0);
    CHECK_EQ(fcntl(fd, F_ADD_SEALS, seal), 0);
    CHECK_ERRNO(write(fd, "x", 1), EPERM);
    CHECK(mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
    CHECK_EQ(errno, EPERM);
    char* memory = (char*)mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(memory != MAP_FAILED);
    memory[0] = 'x';
    munmap(memory, kPage);
    memory = (char*)mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fd, 0);
    if (memory != MAP_FAILED) {
      CHECK_ERRNO(mprotect(memory, kPage, PROT_READ | PROT_WRITE), EACCES);
      munmap(memory, kPage);
    }
    CHECK_EQ(fcntl(fd, F_GET_SEALS), seal);
    CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL), 0);
    CHECK_ERRNO(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), EPERM);
    close(fd);
  }
}
PROPERTY(the_stack_grows_on_demand) {
  // One megabyte below the stack pointer, touched downward.
  volatile char deep[1 << 20];
  for (size_t i = sizeof deep; i >= kPage; i -= kPage) deep[i - kPage] = 1;
  CHECK_EQ((int)deep[0], 1);
}
PROPERTY(mincore_knows_what_is_resident) {
  char* memory = pages(2);
  memory[0] = 1;
  unsigned char resident[2];
  CHECK_EQ(mincore(memory, 2 * kPage, resident), 0);
  CHECK_EQ(resident[0] & 1, 1);
  CHECK_EQ(resident[1] & 1, 0);
  munmap(memory, 2 * kPage);
}
PROPERTY(reads_into_fresh_memory_fault_it_in) {
  char* memory = pages(16);
  int zero = open("/dev/zero", O_RDONLY);
  memory[5 * kPage] = 1;
  CHECK_EQ(read(zero, memory, 16 * kPage), (ssize_t)(16 * kPage));
  CHECK_EQ(memory[5 * kPage], 0);
  close(zero);
  char* guarded = pages(2);
  mprotect(guarded + kPage, kPage, PROT_NONE);
  int random = open("/dev/zero", O_RDONLY);
  ssize_t count = read(random, guarded, 2 * kPage);
  CHECK(count == (ssize_t)kPage || (count == -1 && errno == EFAULT));
  close(random);
  munmap(memory, 16 * kPage);
  munmap(guarded, 2 * kPage);
}
PROPERTY(exhausted_memory_is_reported) {
  CHECK((long)mmap(nullptr, 1ull << 46, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                   0) == -1);
  CHECK_EQ(errno, ENOMEM);
}
PROPERTY(resource_limits_are_readable) {
  struct rlimit limit;
  CHECK_EQ(getrlimit(RLIMIT_STACK, &limit), 0);
  CHECK(limit.rlim_cur >= (1 << 20));
  CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  CHECK(limit.rlim_cur >= 256);
  CHECK_ERRNO(getrlimit((__rlimit_resource)99, &limit), EINVAL);
}
