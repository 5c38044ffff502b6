#include "kernel/vm/address_space.hpp"
#include "limits.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/process/process.hpp"
#include "shared_segment.hpp"

/// shmget, shmat, shmdt, shmctl.
namespace aril::linux_abi::ipc {
namespace {

// [linux/shm.h]
constexpr int kReadOnly = 010000, kRound = 020000, kRemap = 040000, kExecutable = 0100000;
constexpr int kHugeTlb = 04000, kNoReserve = 010000;
constexpr int kLock = 11, kUnlock = 12, kStatusByIndex = 13, kUsage = 14, kStatusByIndexAny = 15;

/// struct shmid64_ds.
struct LinuxSegment {
  LinuxPermissions permissions;
  uint64_t size;
  int64_t attached_at, detached_at, changed_at;
  int32_t creator_pid, last_pid;
  uint64_t attached, unused[2];
};
static_assert(sizeof(LinuxSegment) == 112);

/// struct shminfo64.
struct LinuxLimits {
  uint64_t maximum_size, minimum_size, maximum_count, maximum_per_process, maximum_pages, unused[4];
};

/// struct shm_info.
struct LinuxUsage {
  int32_t used_ids, padding;
  uint64_t total_pages, resident_pages, swapped_pages, swap_attempts, swap_successes;
};

Result<int> sys_shmget(int key, uint64_t size, int flags) {
  // No pool of huge pages is kept, as on a Linux with nr_hugepages 0.
  auto make = [&]() -> Result<RefPtr<SharedSegment>> {
    if ((flags & kHugeTlb) != 0) return fail(Errno::kNoMem);
    return SharedSegment::create(key, size, (flags & kNoReserve) == 0);
  };
  auto check = [&](const SharedSegment& segment) -> Result<void> {
    if (size > segment.size()) return fail(Errno::kInval);
    return {};
  };
  return shared_segments().get(key, flags, limits().segments.load(), make, check);
}
ARIL_SYSCALL(29, shmget, sys_shmget, "int size oflags");

Result<MapRequest> attachment_of(uint64_t address, int flags) {
  MapRequest request;
  if (address == 0 && (flags & kRemap) != 0) return fail(Errno::kInval);
  if (address != 0) {
    if (!is_aligned(address, kPageSize)) {
      if ((flags & kRound) == 0) return fail(Errno::kInval);
      address = align_down(address, kPageSize);
      if (address == 0 && (flags & kRemap) != 0) return fail(Errno::kInval);
    }
    request.placement = (flags & kRemap) != 0 ? MapRequest::Placement::kFixed
                                              : MapRequest::Placement::kFixedNoReplace;
  }
  request.address = address;
  request.sharing = Sharing::kShared;
  request.protection = Protection::kRead;
  if ((flags & kReadOnly) == 0) request.protection |= Protection::kWrite;
  if ((flags & kExecutable) != 0) request.protection |= Protection::kExecute;
  return request;
}

Result<uint64_t> sys_shmat(int id, uint64_t address, int flags) {
  MapRequest request = ARIL_TRY(attachment_of(address, flags));
  RefPtr<SharedSegment> segment = ARIL_TRY(shared_segments().find(id));
  {
    LockGuard hold(segment->ipc.mutex);
    uint32_t wanted = kRead | ((flags & kReadOnly) == 0 ? kWrite : 0) |
                      ((flags & kExecutable) != 0 ? kExecute : 0);
    ARIL_TRY(segment->ipc.permissions.check(wanted));
    if (segment->ipc.removed) return fail(Errno::kIdRm);
  }
  segment->pin();
  request.length = segment->size();
  request.object = segment;
  Result<uint64_t> mapped = current_process().address_space().map(request);
  segment->unpin();
  if (!mapped && mapped.error() == Errno::kExist) return fail(Errno::kInval);
  return mapped;
}
ARIL_SYSCALL(30, shmat, sys_shmat, "int ptr hex");

/// The segment that `object` is; null when it is something else. The pointer is only compared.
RefPtr<SharedSegment> segment_of(const MemoryObject* object) {
  size_t index = 0;
  for (RefPtr<SharedSegment> segment; (segment = shared_segments().next(index)); ++index) {
    if (segment.get() == object) return segment;
  }
  return nullptr;
}

/// What is left of the attachment at `address`: the first region over `segment` (over any segment
/// when that is null) that lies where that attachment would have it.
struct Part {
  uint64_t start = 0, end = 0;
};
Part find_part(AddressSpace& space, uint64_t address, RefPtr<SharedSegment>& segment) {
  Part part;
  space.for_each_mapping([&](const MappingView& view) {
    if (part.end != 0 || view.start < address || view.start - address != view.offset ||
        view.object == nullptr)
      return;
    if (!segment) segment = segment_of(view.object);
    if (!segment || segment.get() != view.object || view.start - address >= segment->size()) return;
    part = {view.start, view.end};
  });
  return part;
}

// [shmdt(2)] The program may have unmapped, moved or protected parts of what it attached.
Result<void> sys_shmdt(uint64_t address) {
  if (!is_aligned(address, kPageSize)) return fail(Errno::kInval);
  AddressSpace& space = current_process().address_space();
  RefPtr<SharedSegment> segment;
  Part part = find_part(space, address, segment);
  if (part.end == 0) return fail(Errno::kInval);
  do {
    ARIL_TRY(space.unmap(part.start, part.end - part.start));
    part = find_part(space, address, segment);
  } while (part.end != 0);
  return {};
}
ARIL_SYSCALL(67, shmdt, sys_shmdt, "ptr");

Result<void> write_status(uint64_t buffer, const SharedSegment& segment, bool check) {
  LinuxSegment status{};
  {
    LockGuard hold(segment.ipc.mutex);
    if (check) ARIL_TRY(segment.ipc.permissions.check(kRead));
    if (segment.ipc.removed) return fail(Errno::kIdRm);
    status.permissions = segment.ipc.permissions.to_linux(segment.ipc.id);
    status.size = segment.size();
    status.attached_at = segment.attached_at;
    status.detached_at = segment.detached_at;
    status.changed_at = segment.changed_at;
    status.creator_pid = segment.creator_pid;
    status.last_pid = segment.last_pid;
    status.attached = segment.attached;
  }
  return write_user(buffer, status);
}

Result<int> write_limits(uint64_t buffer) {
  LinuxLimits info{};
  info.maximum_size = limits().segment_bytes;
  info.minimum_size = 1;
  info.maximum_count = info.maximum_per_process = limits().segments;
  info.maximum_pages = limits().all_segments_pages;
  ARIL_TRY(write_user(buffer, info));
  return shared_segments().highest_index();
}

Result<int> write_usage(uint64_t buffer) {
  LinuxUsage usage{};
  size_t index = 0;
  for (RefPtr<SharedSegment> segment; (segment = shared_segments().next(index)); ++index) {
    ++usage.used_ids;
    usage.total_pages += segment->page_count();
    usage.resident_pages += segment->resident_pages();
  }
  ARIL_TRY(write_user(buffer, usage));
  return shared_segments().highest_index();
}

Result<void> set_status(SharedSegment& segment, uint64_t buffer) {
  LinuxSegment status = ARIL_TRY(UserPtr<LinuxSegment>(buffer).read());
  LockGuard hold(segment.ipc.mutex);
  if (segment.ipc.removed) return fail(Errno::kIdRm);
  ARIL_TRY(segment.ipc.permissions.check_owner());
  segment.ipc.permissions.change(status.permissions);
  segment.changed_at = seconds_now();
  return {};
}

// Memory never leaves the machine: a lock is only remembered.
Result<void> set_locked(SharedSegment& segment, bool locked) {
  LockGuard hold(segment.ipc.mutex);
  if (segment.ipc.removed) return fail(Errno::kIdRm);
  Permissions& permissions = segment.ipc.permissions;
  if (!permissions.is_owned_by_caller() && !current_task().credentials.can(Capability::kIpcLock))
    return fail(Errno::kPerm);
  permissions.mode = locked ? permissions.mode | SharedSegment::kLocked
                            : permissions.mode & ~SharedSegment::kLocked;
  return {};
}

Result<int> sys_shmctl(int id, int command, uint64_t buffer) {
  if (id < 0 || command < 0) return fail(Errno::kInval);
  if (command == kInfo) return write_limits(buffer);
  if (command == kUsage) return write_usage(buffer);
  if (command == kStatusByIndex || command == kStatusByIndexAny) {
    RefPtr<SharedSegment> segment = ARIL_TRY(shared_segments().find_index(id));
    ARIL_TRY(write_status(buffer, *segment, command == kStatusByIndex));
    return segment->ipc.id;
  }
  bool known = command <= kStatus || command == kLock || command == kUnlock;
  if (!known) return fail(Errno::kInval);
  RefPtr<SharedSegment> segment = ARIL_TRY(shared_segments().find(id));
  if (command == kStatus) {
    ARIL_TRY(write_status(buffer, *segment, true));
  } else if (command == kSet) {
    ARIL_TRY(set_status(*segment, buffer));
  } else if (command == kRemove) {
    {
      LockGuard hold(segment->ipc.mutex);
      ARIL_TRY(segment->ipc.permissions.check_owner());
    }
    segment->remove();
  } else {
    ARIL_TRY(set_locked(*segment, command == kLock));
  }
  return 0;
}
ARIL_SYSCALL(31, shmctl, sys_shmctl, "int op buf");

}  // namespace
}  // namespace aril::linux_abi::ipc
