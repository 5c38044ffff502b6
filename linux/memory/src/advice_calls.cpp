#include <array>

#include "arch/page_table.hpp"
#include "base/units.hpp"
#include "kernel/vm/address_space.hpp"
#include "kernel/vm/user_copy.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/process/process.hpp"

/// madvise, msync, mincore and the locking family.
namespace aril::linux_abi {
namespace {

AddressSpace& space() { return current_process().address_space(); }

Result<uint64_t> checked_length(uint64_t address, uint64_t length, Errno too_far) {
  if (!is_aligned(address, kPageSize)) return fail(Errno::kInval);
  if (length > arch::kApplicationTop || address > arch::kApplicationTop - length)
    return fail(too_far);
  return align_up(length, kPageSize);
}

Result<void> sys_madvise(uint64_t address, uint64_t length, int advice) {
  using Advice = AddressSpace::Advice;
  length = ARIL_TRY(checked_length(address, length, Errno::kNoMem));
  Advice what;
  switch (advice) {  // [linux/mman.h]
    case 0:          // MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL
    case 1:
    case 2:
      what = Advice::kOther;
      break;
    case 3:
      what = Advice::kWillNeed;
      break;
    case 4:
      what = Advice::kDontNeed;
      break;
    case 8:
      what = Advice::kFree;
      break;
    case 14:
      what = Advice::kLargePages;
      break;
    case 15:
      what = Advice::kNoLargePages;
      break;
    case 10:
      what = Advice::kDontFork;
      break;
    case 11:
      what = Advice::kDoFork;
      break;
    case 18:
      what = Advice::kWipeOnFork;
      break;
    case 19:
      what = Advice::kKeepOnFork;
      break;
    case 12:  // MERGEABLE, UNMERGEABLE, (DONT)DUMP, COLD, PAGEOUT
    case 13:
    case 16:
    case 17:
    case 20:
    case 21:
      what = Advice::kOther;
      break;
    case 22:
      what = Advice::kPopulateRead;
      break;
    case 23:
      what = Advice::kPopulateWrite;
      break;
    default:
      return fail(Errno::kInval);
  }
  if (length == 0) return {};
  return space().advise(address, length, what);
}
ARIL_SYSCALL(28, madvise, sys_madvise, "ptr size int");

Result<void> sys_msync(uint64_t address, uint64_t length, uint32_t flags) {
  constexpr uint32_t kAsync = 1, kInvalidate = 2, kSync = 4;
  length = ARIL_TRY(checked_length(address, length, Errno::kNoMem));
  if ((flags & ~(kAsync | kInvalidate | kSync)) != 0 ||
      (flags & (kAsync | kSync)) == (kAsync | kSync))
    return fail(Errno::kInval);
  if (length == 0) return {};
  return space().sync(address, length);
}
ARIL_SYSCALL(26, msync, sys_msync, "ptr size hex");

Result<void> sys_mincore(uint64_t address, uint64_t length, UserPtr<uint8_t> out) {
  length = ARIL_TRY(checked_length(address, length, Errno::kNoMem));
  std::array<uint8_t, 512> pages;
  while (length != 0) {
    size_t count = std::min<uint64_t>(length / kPageSize, pages.size());
    std::span<uint8_t> part(pages.data(), count);
    ARIL_TRY(space().residency(address, count * kPageSize, part));
    ARIL_TRY(out.write_array(part));
    out = out + count;
    address += count * kPageSize;
    length -= count * kPageSize;
  }
  return {};
}
ARIL_SYSCALL(27, mincore, sys_mincore, "ptr size ptr");

// RLIMIT_MEMLOCK, call by call: what is locked is not counted up, as it costs nothing here.
Result<void> check_lock_limit(uint64_t length) {
  if (current_task().credentials.can(Capability::kIpcLock)) return {};
  Process& process = current_process();
  LockGuard guard(process.mutex());
  uint64_t limit = process.limits[Resource::kLockedMemory].current;
  if (limit == 0) return fail(Errno::kPerm);
  if (length > limit) return fail(Errno::kNoMem);
  return {};
}

// There is no swap: memory that was touched stays. Locking faults it in.
Result<void> sys_mlock(uint64_t address, uint64_t length) {
  uint64_t start = align_down(address, kPageSize);
  length = ARIL_TRY(checked_length(start, length + (address - start), Errno::kNoMem));
  if (length == 0) return {};
  ARIL_TRY(check_lock_limit(length));
  auto locked = space().advise(start, length, AddressSpace::Advice::kPopulateRead);
  // A page that cannot be had is ENOMEM, or EAGAIN for a file that has ended [mlock(2)]; one that
  // may not be touched is only locked.
  if (!locked && locked.error() == Errno::kInval) return {};
  if (!locked && locked.error() == Errno::kFault) return fail(Errno::kAgain);
  return locked;
}
ARIL_SYSCALL(149, mlock, sys_mlock, "ptr size");
Result<void> sys_mlock2(uint64_t address, uint64_t length, uint32_t flags) {
  constexpr uint32_t kOnFault = 1;
  if ((flags & ~kOnFault) != 0) return fail(Errno::kInval);
  if (flags == kOnFault) return {};
  return sys_mlock(address, length);
}
ARIL_SYSCALL(325, mlock2, sys_mlock2, "ptr size hex");
Result<void> sys_munlock(uint64_t address, uint64_t length) {
  uint64_t start = align_down(address, kPageSize);
  length = ARIL_TRY(checked_length(start, length + (address - start), Errno::kNoMem));
  if (length == 0) return {};
  // Only tells whether all of it is mapped.
  return space().advise(start, length, AddressSpace::Advice::kOther);
}
ARIL_SYSCALL(150, munlock, sys_munlock, "ptr size");
Result<void> sys_mlockall(uint32_t flags) {
  constexpr uint32_t kOnFault = 4;
  if (flags == 0 || flags == kOnFault || (flags & ~7u) != 0) return fail(Errno::kInval);
  if (!current_task().credentials.can(Capability::kIpcLock)) return fail(Errno::kPerm);
  return {};
}
ARIL_SYSCALL(151, mlockall, sys_mlockall, "hex");
Result<void> sys_munlockall() { return {}; }
ARIL_SYSCALL(152, munlockall, sys_munlockall, "");

// One node: policies are accepted and mean nothing.
Result<void> sys_mbind(uint64_t, uint64_t, int, uint64_t, uint64_t, uint32_t) { return {}; }
ARIL_SYSCALL(237, mbind, sys_mbind, "ptr size int ptr uint hex");
Result<void> sys_set_mempolicy(int, uint64_t, uint64_t) { return {}; }
ARIL_SYSCALL(238, set_mempolicy, sys_set_mempolicy, "int ptr uint");
Result<void> sys_get_mempolicy(UserPtr<int32_t> mode, UserPtr<uint64_t> mask, uint64_t bits) {
  if (mode) ARIL_TRY(mode.write(0));
  if (mask && bits != 0) ARIL_TRY(mask.write(1));
  return {};
}
ARIL_SYSCALL(239, get_mempolicy, sys_get_mempolicy, ">ptr >ptr uint");

// Memory protection keys: a CPU without them.
Result<int64_t> sys_pkey_alloc(uint64_t flags, uint64_t rights) {
  if (flags != 0 || rights > 3) return fail(Errno::kInval);
  return fail(Errno::kNoSpc);
}
ARIL_SYSCALL(330, pkey_alloc, sys_pkey_alloc, "hex hex");
Result<void> sys_pkey_free(int) { return fail(Errno::kInval); }
ARIL_SYSCALL(331, pkey_free, sys_pkey_free, "int");

}  // namespace
}  // namespace aril::linux_abi
