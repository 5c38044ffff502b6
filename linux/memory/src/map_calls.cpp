#include "arch/page_table.hpp"
#include "base/units.hpp"
#include "fs/vfs/inode.hpp"
#include "fs/vfs/open_file.hpp"
#include "kernel/vm/address_space.hpp"
#include "kernel/vm/page_cache.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/files/file_table.hpp"
#include "linux/process/process.hpp"

/// mmap, munmap, mprotect, mremap, brk.
namespace aril::linux_abi {
namespace {

// [linux/mman.h]
constexpr uint64_t kMapShared = 1, kMapPrivate = 2, kMapSharedValidate = 3, kMapTypeMask = 0xf;
constexpr uint64_t kMapFixed = 0x10, kMapAnonymous = 0x20, kMap32Bit = 0x40, kMapGrowsDown = 0x100,
                   kMapLocked = 0x2000, kMapNoReserve = 0x4000, kMapPopulate = 0x8000,
                   kMapHugeTlb = 0x40000, kMapFixedNoReplace = 0x100000;
constexpr uint64_t kProtectionMask = 7;
constexpr uint64_t kProtectGrowsDown = 0x01000000, kProtectGrowsUp = 0x02000000;

AddressSpace& space() { return current_process().address_space(); }

Result<Protection> protection_from(uint64_t bits) {
  // PROT_SEM has no meaning on x86; the growth bits are taken off by mprotect.
  if ((bits & ~(kProtectionMask | 8)) != 0) return fail(Errno::kInval);
  return static_cast<Protection>(bits & kProtectionMask);
}

Result<MapRequest::Placement> placement_from(uint64_t flags, uint64_t address) {
  if ((flags & (kMapFixed | kMapFixedNoReplace)) != 0) {
    if (!is_aligned(address, kPageSize)) return fail(Errno::kInval);
    // [mmap(2)]: a fixed address that the system cannot give.
    if (address < arch::kApplicationBottom) return fail(Errno::kPerm);
    if (address >= arch::kApplicationTop) return fail(Errno::kNoMem);
    return (flags & kMapFixedNoReplace) != 0 ? MapRequest::Placement::kFixedNoReplace
                                             : MapRequest::Placement::kFixed;
  }
  return (flags & kMap32Bit) != 0 ? MapRequest::Placement::kBelow4GiB
                                  : MapRequest::Placement::kAnywhere;
}

// Shared anonymous memory is a page cache that nothing backs.
Result<void> set_anonymous_object(MapRequest& request) {
  if (request.sharing == Sharing::kPrivate) return {};
  uint64_t size = align_up(request.length, kPageSize);
  request.object = ARIL_TRY(PageCache::create(nullptr, size, "/dev/zero (deleted)"));
  request.offset = 0;
  return {};
}

// [F_SEAL_WRITE(2const), F_SEAL_FUTURE_WRITE(2const)]
bool is_sealed_against_writing(File& file) {
  constexpr uint32_t kSealWrite = 8, kSealFutureWrite = 16;
  const vfs::NodeFile* node = vfs::as_node_file(file);
  return node != nullptr &&
         (node->inode().seals().value_or(0) & (kSealWrite | kSealFutureWrite)) != 0;
}

Result<void> set_file_object(MapRequest& request, int fd, uint64_t offset) {
  RefPtr<File> file = ARIL_TRY(current_process().files().get(fd));
  if (!is_aligned(offset, kPageSize)) return fail(Errno::kInval);
  if (!file->is_readable()) return fail(Errno::kAcces);
  if (request.sharing == Sharing::kShared && has(request.protection, Protection::kWrite) &&
      !file->is_writable())
    return fail(Errno::kAcces);
  if (request.length > UINT64_MAX - offset) return fail(Errno::kOverflow);
  request.may_write = request.sharing == Sharing::kPrivate || file->is_writable();
  if (request.sharing == Sharing::kShared && is_sealed_against_writing(*file)) {
    if (has(request.protection, Protection::kWrite)) return fail(Errno::kPerm);
    request.may_write = false;
  }
  request.object = ARIL_TRY(file->memory_object());
  request.offset = offset;
  return {};
}

// RLIMIT_AS, and RLIMIT_DATA for private memory that can be written [setrlimit(2)].
Result<void> check_size_limits(uint64_t more, bool is_data) {
  Process& process = current_process();
  ResourceLimit total, data;
  {
    LockGuard guard(process.mutex());
    total = process.limits[Resource::kAddressSpace];
    data = process.limits[Resource::kData];
  }
  if (total.current == kUnlimited && data.current == kUnlimited) return {};
  AddressSpace::Usage usage = space().usage();
  auto exceeds = [&](uint64_t pages, const ResourceLimit& limit) {
    return limit.current != kUnlimited &&
           (more > limit.current || pages * kPageSize > limit.current - more);
  };
  if (exceeds(usage.mapped_pages, total) || (is_data && exceeds(usage.data_pages, data)))
    return fail(Errno::kNoMem);
  return {};
}

Result<uint64_t> sys_mmap(uint64_t address, uint64_t length, uint64_t protection, uint64_t flags,
                          int fd, uint64_t offset) {
  if (length == 0) return fail(Errno::kInval);
  if (length > arch::kApplicationTop) return fail(Errno::kNoMem);
  uint64_t type = flags & kMapTypeMask;
  if (type != kMapShared && type != kMapPrivate && type != kMapSharedValidate)
    return fail(Errno::kInval);
  // Pages of 2 MiB come by themselves where they fit; a pool of them is not kept.
  if ((flags & kMapHugeTlb) != 0) return fail(Errno::kNoMem);
  MapRequest request;
  request.address = address;
  request.length = length;
  request.protection = ARIL_TRY(protection_from(protection));
  request.sharing = type == kMapPrivate ? Sharing::kPrivate : Sharing::kShared;
  request.placement = ARIL_TRY(placement_from(flags, address));
  request.grows_down = (flags & kMapGrowsDown) != 0;
  request.populate = (flags & (kMapPopulate | kMapLocked)) != 0;
  request.no_reserve = (flags & kMapNoReserve) != 0 || request.protection == Protection::kNone;
  if ((flags & kMapAnonymous) != 0) {
    ARIL_TRY(set_anonymous_object(request));
  } else {
    ARIL_TRY(set_file_object(request, fd, offset));
  }
  ARIL_TRY(check_size_limits(
      length, request.sharing == Sharing::kPrivate && has(request.protection, Protection::kWrite)));
  return space().map(request);
}
ARIL_SYSCALL(9, mmap, sys_mmap, "ptr size prot mapflags fd hex");

Result<void> sys_munmap(uint64_t address, uint64_t length) {
  if (length == 0 || !is_aligned(address, kPageSize) || length > arch::kApplicationTop ||
      address > arch::kApplicationTop - length)
    return fail(Errno::kInval);
  return space().unmap(address, length);
}
ARIL_SYSCALL(11, munmap, sys_munmap, "ptr size");

Result<void> sys_mprotect(uint64_t address, uint64_t length, uint64_t protection) {
  if (!is_aligned(address, kPageSize)) return fail(Errno::kInval);
  if (length == 0) return {};
  if (length > arch::kApplicationTop || address > arch::kApplicationTop - length)
    return fail(Errno::kNoMem);
  // glibc makes stacks executable with PROT_GROWSDOWN; the region's whole extent is then meant,
  // which is never less than what the caller named.
  protection &= ~(kProtectGrowsDown | kProtectGrowsUp);
  return space().protect(address, length, ARIL_TRY(protection_from(protection)));
}
ARIL_SYSCALL(10, mprotect, sys_mprotect, "ptr size prot");

// Without keys, only "no key" is one.
Result<void> sys_pkey_mprotect(uint64_t address, uint64_t length, uint64_t protection, int key) {
  if (key != -1 && key != 0) return fail(Errno::kInval);
  return sys_mprotect(address, length, protection);
}
ARIL_SYSCALL(329, pkey_mprotect, sys_pkey_mprotect, "ptr size prot int");

// As Linux does since 4.0: the pages are mapped anew, as one more region [remap_file_pages(2)].
Result<void> sys_remap_file_pages(uint64_t address, uint64_t length, uint64_t protection,
                                  uint64_t first_page, uint64_t flags) {
  constexpr uint64_t kNonBlock = 0x10000;
  if (protection != 0 || (flags & ~kNonBlock) != 0) return fail(Errno::kInval);
  address = align_down(address, kPageSize);
  length = align_down(length, kPageSize);
  if (length == 0 || address > arch::kApplicationTop || length > arch::kApplicationTop - address ||
      first_page > (INT64_MAX - length) / kPageSize)
    return fail(Errno::kInval);
  MapRequest request{.address = address, .length = length};
  std::optional<MappingView> mapping;
  // The region's object, with a reference: it may be unmapped meanwhile.
  auto backing = space().shared_backing(address);
  mapping = space().find_mapping(address);
  if (!backing || !mapping || mapping->end - address < length) return fail(Errno::kInval);
  request.object = std::move(backing->first);
  request.offset = first_page * kPageSize;
  request.protection = mapping->protection;
  request.sharing = Sharing::kShared;
  request.may_write = mapping->may_write;
  request.placement = MapRequest::Placement::kFixed;
  request.populate = (flags & kNonBlock) == 0;
  ARIL_TRY(space().map(request));
  return {};
}
ARIL_SYSCALL(216, remap_file_pages, sys_remap_file_pages, "ptr size prot uint hex");

/// MREMAP_DONTUNMAP: the pages go, and the old range stays, as empty anonymous memory.
Result<uint64_t> move_and_keep(uint64_t address, uint64_t length, std::optional<uint64_t> fixed) {
  auto mapping = space().find_mapping(address);
  if (!mapping || mapping->end - address < align_up(length, kPageSize)) return fail(Errno::kFault);
  if (mapping->object != nullptr || mapping->sharing != Sharing::kPrivate)
    return fail(Errno::kInval);
  MapRequest request{.length = length, .no_reserve = true};
  uint64_t to = fixed ? *fixed : ARIL_TRY(space().map(request));
  ARIL_TRY(space().remap(address, length, length, true, to));
  request.address = address;
  request.placement = MapRequest::Placement::kFixed;
  request.protection = mapping->protection;
  ARIL_TRY(space().map(request));
  return to;
}

Result<uint64_t> sys_mremap(uint64_t address, uint64_t old_length, uint64_t new_length,
                            uint64_t flags, uint64_t new_address) {
  constexpr uint64_t kMayMove = 1, kFixed = 2, kDontUnmap = 4;
  if (!is_aligned(address, kPageSize) || new_length == 0 ||
      (flags & ~(kMayMove | kFixed | kDontUnmap)) != 0)
    return fail(Errno::kInval);
  if ((flags & kDontUnmap) != 0 && ((flags & kMayMove) == 0 || old_length != new_length))
    return fail(Errno::kInval);
  if (new_length > arch::kApplicationTop || old_length > arch::kApplicationTop)
    return fail(Errno::kNoMem);
  std::optional<uint64_t> fixed;
  if ((flags & kFixed) != 0) {
    if ((flags & kMayMove) == 0 || !is_aligned(new_address, kPageSize) ||
        new_address > arch::kApplicationTop - new_length)
      return fail(Errno::kInval);
    fixed = new_address;
  }
  if (new_length > old_length) ARIL_TRY(check_size_limits(new_length - old_length, true));
  if ((flags & kDontUnmap) != 0) return move_and_keep(address, new_length, fixed);
  return space().remap(address, old_length, new_length, (flags & kMayMove) != 0, fixed);
}
ARIL_SYSCALL(25, mremap, sys_mremap, "ptr size size hex ptr");

Result<uint64_t> sys_brk(uint64_t address) {
  uint64_t current = space().set_break(0);
  if (address > current && !check_size_limits(address - current, true)) return current;
  return space().set_break(address);
}
ARIL_SYSCALL(12, brk, sys_brk, "ptr");

}  // namespace
}  // namespace aril::linux_abi
