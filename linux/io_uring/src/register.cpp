#include "linux/abi/time.hpp"
#include "linux/event/event_fd.hpp"
#include "ring.hpp"

/// io_uring_register(2): files, buffers, an eventfd, and what the kernel offers.
namespace aril::linux_abi::io_uring {

namespace {

enum class Operation : uint32_t {
  kBuffers = 0,
  kUnregisterBuffers,
  kFiles,
  kUnregisterFiles,
  kEventFile,
  kUnregisterEventFile,
  kFilesUpdate,
  kEventFileAsync,
  kProbe,
  kPersonality,
  kUnregisterPersonality,
  kRestrictions,
  kEnableRings,
  kFiles2,
  kFilesUpdate2,
  kBuffers2,
  kBuffersUpdate,
  kWorkerAffinity,
  kUnregisterWorkerAffinity,
  kMaxWorkers,
};

constexpr uint32_t kMaxFiles = 1u << 15, kMaxBuffers = 1u << 14;
constexpr uint64_t kMaxBufferLength = uint64_t{1} << 30;

/// struct io_uring_rsrc_register.
struct ResourceRegistration {
  uint32_t count, flags;
  uint64_t reserved, data, tags;
};
/// struct io_uring_rsrc_update2, of which files_update is the start.
struct ResourceUpdate {
  uint32_t offset, reserved;
  uint64_t data, tags;
  uint32_t count, reserved2;
};

Result<RefPtr<File>> file_to_register(int32_t fd) {
  if (fd == -1) return RefPtr<File>();  // a slot that stays free
  RefPtr<File> file = ARIL_TRY(current_process().files().get(fd));
  // Rings in rings would keep each other open.
  if (as_ring_file(*file) != nullptr) return fail(Errno::kBadF);
  return file;
}

}  // namespace

Result<RefPtr<File>> Ring::registered_file(uint32_t index) const {
  LockGuard guard(lock_);
  if (index >= files_.size() || !files_[index]) return fail(Errno::kBadF);
  return files_[index];
}

Result<void> Ring::check_buffer(uint32_t index, uint64_t address, uint64_t length) const {
  if (index >= buffers_.size()) return fail(Errno::kFault);
  const Buffer& buffer = buffers_[index];
  if (address < buffer.address || length > buffer.length ||
      address - buffer.address > buffer.length - length)
    return fail(Errno::kFault);
  return {};
}

// The table of files changes under the gate by registration, but under the lock by requests that a
// worker runs: both take the lock for the change itself.
Result<int32_t> Ring::install_file(RefPtr<File> file, uint32_t slot) {
  if (!has_files_) return fail(Errno::kNxIo);
  LockGuard guard(lock_);
  if (slot == kFileIndexAlloc) {
    slot = 0;
    while (slot < files_.size() && files_[slot]) ++slot;
    if (slot == files_.size()) return fail(Errno::kNFile);
  }
  if (slot >= files_.size()) return fail(Errno::kInval);
  std::swap(files_[slot], file);
  return static_cast<int32_t>(slot);
}

Result<void> Ring::remove_file(uint32_t slot) {
  RefPtr<File> file;
  if (!has_files_) return fail(Errno::kNxIo);
  if (slot >= files_.size()) return fail(Errno::kInval);
  {
    LockGuard guard(lock_);
    std::swap(files_[slot], file);
  }
  if (!file) return fail(Errno::kBadF);
  return {};
}

Result<int64_t> Ring::register_files(uint64_t argument, uint32_t count) {
  if (has_files_) return fail(Errno::kBusy);
  if (count == 0) return fail(Errno::kInval);
  if (count > kMaxFiles) return fail(Errno::kMFile);
  std::vector<RefPtr<File>> files(count);
  for (uint32_t i = 0; argument != 0 && i < count; ++i)
    files[i] = ARIL_TRY(file_to_register(ARIL_TRY((UserPtr<int32_t>(argument) + i).read())));
  LockGuard guard(lock_);
  std::swap(files_, files);
  has_files_ = true;
  return 0;
}

Result<int64_t> Ring::update_files(uint64_t argument, uint32_t offset, uint32_t count) {
  constexpr int32_t kSkip = -2;
  if (!has_files_) return fail(Errno::kNxIo);
  if (count == 0 || offset > files_.size() || count > files_.size() - offset)
    return fail(Errno::kInval);
  for (uint32_t i = 0; i < count; ++i) {
    auto update = [&]() -> Result<void> {
      UserPtr<int32_t> pointer = UserPtr<int32_t>(argument) + i;
      int32_t fd = ARIL_TRY(pointer.read());
      if (fd == kSkip) return {};
      RefPtr<File> file = ARIL_TRY(file_to_register(fd));
      LockGuard guard(lock_);
      std::swap(files_[offset + i], file);
      return {};
    }();
    if (update) continue;
    if (i != 0) return i;
    return fail(update.error());
  }
  return count;
}

Result<int64_t> Ring::register_buffers(uint64_t argument, uint32_t count) {
  if (has_buffers_) return fail(Errno::kBusy);
  if (count == 0 || count > kMaxBuffers) return fail(Errno::kInval);
  std::vector<Buffer> buffers(count);
  for (uint32_t i = 0; argument != 0 && i < count; ++i) {
    auto segment = ARIL_TRY((UserPtr<IoBuffer::Segment>(argument) + i).read());
    if (segment.address == 0 && segment.length == 0) continue;
    if (segment.address == 0 || segment.length == 0 || segment.length > kMaxBufferLength ||
        !is_user_range(segment.address, segment.length))
      return fail(Errno::kFault);
    // They are in memory from now on, and an address without memory shows now.
    ARIL_TRY(current_process().address_space().advise(
        align_down(segment.address, kPageSize),
        align_up(segment.address + segment.length, kPageSize) -
            align_down(segment.address, kPageSize),
        AddressSpace::Advice::kPopulateWrite));
    buffers[i] = {segment.address, segment.length};
  }
  std::swap(buffers_, buffers);
  has_buffers_ = true;
  return 0;
}

Result<int64_t> Ring::register_event_file(uint64_t argument, uint32_t count) {
  if (count != 1) return fail(Errno::kInval);
  int32_t fd = ARIL_TRY(UserPtr<int32_t>(argument).read());
  RefPtr<File> file = ARIL_TRY(current_process().files().get(fd));
  if (file->description() != "anon_inode:[eventfd]") return fail(Errno::kInval);
  LockGuard guard(lock_);
  if (event_file_) return fail(Errno::kBusy);
  event_file_ = std::move(file);
  return 0;
}

Result<int64_t> Ring::probe(uint64_t argument, uint32_t count) {
  struct ProbeHeader {
    uint8_t last_operation, operations;
    uint16_t reserved;
    uint32_t reserved2[3];
  };
  struct ProbeOperation {
    uint8_t operation, reserved;
    uint16_t flags;
    uint32_t reserved2;
  };
  constexpr uint16_t kSupported = 1;
  constexpr auto kCount = uint32_t{std::to_underlying(Opcode::kCount)};
  if (count > 256) return fail(Errno::kInval);
  count = std::min(count, kCount);
  UserPtr<ProbeHeader> header(argument);
  ARIL_TRY(header.write({.last_operation = kCount - 1,
                         .operations = static_cast<uint8_t>(count),
                         .reserved = 0,
                         .reserved2 = {}}));
  UserPtr<ProbeOperation> operations((header + 1).address());
  for (uint32_t i = 0; i < count; ++i) {
    bool supported = is_supported(static_cast<Opcode>(i));
    ARIL_TRY((operations + i)
                 .write({.operation = static_cast<uint8_t>(i),
                         .reserved = 0,
                         .flags = supported ? kSupported : uint16_t{0},
                         .reserved2 = 0}));
  }
  return 0;
}

Result<int64_t> Ring::register_resources(uint32_t operation, uint64_t argument, uint32_t count) {
  switch (static_cast<Operation>(operation)) {
    case Operation::kBuffers:
      return register_buffers(argument, count);
    case Operation::kUnregisterBuffers:
      if (argument != 0 || count != 0) return fail(Errno::kInval);
      if (!has_buffers_) return fail(Errno::kNxIo);
      buffers_.clear();
      has_buffers_ = false;
      return 0;
    case Operation::kFiles:
      return register_files(argument, count);
    case Operation::kUnregisterFiles: {
      if (argument != 0 || count != 0) return fail(Errno::kInval);
      if (!has_files_) return fail(Errno::kNxIo);
      std::vector<RefPtr<File>> files;
      LockGuard guard(lock_);
      std::swap(files_, files);
      has_files_ = false;
      return 0;
    }
    case Operation::kEventFile:
    case Operation::kEventFileAsync:
      return register_event_file(argument, count);
    case Operation::kUnregisterEventFile: {
      if (argument != 0 || count != 0) return fail(Errno::kInval);
      RefPtr<File> file;
      LockGuard guard(lock_);
      std::swap(event_file_, file);
      if (!file) return fail(Errno::kNxIo);
      return 0;
    }
    case Operation::kFilesUpdate: {
      if (count == 0) return fail(Errno::kInval);
      struct Update {
        uint32_t offset, reserved;
        uint64_t data;
      };
      auto update = ARIL_TRY(UserPtr<Update>(argument).read());
      if (update.reserved != 0) return fail(Errno::kInval);
      return update_files(update.data, update.offset, count);
    }
    case Operation::kProbe:
      if (argument == 0) return fail(Errno::kInval);
      return probe(argument, count);
    case Operation::kEnableRings:
      if (argument != 0 || count != 0) return fail(Errno::kInval);
      ARIL_TRY(enable());
      return 0;
    case Operation::kFiles2:
    case Operation::kBuffers2: {
      if (count != sizeof(ResourceRegistration)) return fail(Errno::kInval);
      auto request = ARIL_TRY(UserPtr<ResourceRegistration>(argument).read());
      constexpr uint32_t kSparse = 1;
      if (request.count == 0 || (request.flags & ~kSparse) != 0 || request.reserved != 0 ||
          request.tags != 0)
        return fail(Errno::kInval);
      if (((request.flags & kSparse) != 0) != (request.data == 0)) return fail(Errno::kInval);
      return static_cast<Operation>(operation) == Operation::kFiles2
                 ? register_files(request.data, request.count)
                 : register_buffers(request.data, request.count);
    }
    case Operation::kFilesUpdate2: {
      if (count != sizeof(ResourceUpdate)) return fail(Errno::kInval);
      auto update = ARIL_TRY(UserPtr<ResourceUpdate>(argument).read());
      if (update.reserved != 0 || update.reserved2 != 0 || update.tags != 0)
        return fail(Errno::kInval);
      return update_files(update.data, update.offset, update.count);
    }
    case Operation::kMaxWorkers: {
      if (count != 2 || argument == 0) return fail(Errno::kInval);
      // How many there are at most is not the application's to choose; it learns the number.
      constexpr uint32_t kWorkers[2] = {8, 8};
      ARIL_TRY(UserPtr<uint32_t>(argument).write_array(kWorkers));
      return 0;
    }
    default:
      return fail(Errno::kInval);
  }
}

}  // namespace aril::linux_abi::io_uring
