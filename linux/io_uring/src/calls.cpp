#include "linux/abi/syscall.hpp"
#include "linux/abi/time.hpp"
#include "ring.hpp"

/// io_uring_setup, io_uring_enter, io_uring_register.
namespace aril::linux_abi::io_uring {
namespace {

/// The ring descriptors that a thread registered, to be named by their index
/// [io_uring_register(2), IORING_REGISTER_RING_FDS].
class RegisteredRings final : public TaskAttachment {
 public:
  static constexpr size_t kSlots = 16;
  RefPtr<File> files[kSlots];
};

struct RingRef {
  RefPtr<File> file;
  RingFile* ring_file = nullptr;
  Ring* operator->() const { return &ring_file->ring(); }
};

Result<RingRef> ring_of(RefPtr<File> file) {
  RingFile* ring_file = as_ring_file(*file);
  if (ring_file == nullptr) return fail(Errno::kOpNotSupp);
  return RingRef{std::move(file), ring_file};
}

Result<RingRef> ring_of(uint32_t fd, uint32_t flags) {
  if ((flags & kEnterRegisteredRing) == 0)
    return ring_of(ARIL_TRY(current_process().files().get(static_cast<int>(fd))));
  auto* rings = static_cast<RegisteredRings*>(current_task().attachment.get());
  if (rings == nullptr || fd >= RegisteredRings::kSlots) return fail(Errno::kInval);
  if (!rings->files[fd]) return fail(Errno::kBadF);
  return ring_of(rings->files[fd]);
}

class GateGuard {
 public:
  explicit GateGuard(SubmissionGate& gate) : gate_(gate) { gate_.lock(); }
  ~GateGuard() { gate_.unlock(); }
  GateGuard(const GateGuard&) = delete;
  GateGuard& operator=(const GateGuard&) = delete;

 private:
  SubmissionGate& gate_;
};

Result<int> sys_io_uring_setup(uint32_t entries, UserPtr<Parameters> pointer) {
  constexpr uint32_t kKnown = kSetupSqPoll | kSetupCqSize | kSetupClamp | kSetupAttach |
                              kSetupDisabled | kSetupSubmitAll | kSetupCoopTaskrun |
                              kSetupTaskrunFlag | kSetupSingleIssuer | kSetupDeferTaskrun;
  Parameters parameters = ARIL_TRY(pointer.read());
  for (uint32_t word : parameters.reserved)
    if (word != 0) return fail(Errno::kInval);
  uint32_t flags = parameters.flags;
  if ((flags & ~kKnown) != 0) return fail(Errno::kInval);
  bool polls = (flags & kSetupSqPoll) != 0;
  if (polls && (flags & (kSetupCoopTaskrun | kSetupTaskrunFlag | kSetupDeferTaskrun)) != 0)
    return fail(Errno::kInval);
  if ((flags & kSetupTaskrunFlag) != 0 && (flags & (kSetupCoopTaskrun | kSetupDeferTaskrun)) == 0)
    return fail(Errno::kInval);
  if ((flags & kSetupDeferTaskrun) != 0 && (flags & kSetupSingleIssuer) == 0)
    return fail(Errno::kInval);
  if ((flags & kSetupAttach) != 0)
    ARIL_TRY(ring_of(ARIL_TRY(current_process().files().get(static_cast<int>(parameters.wq_fd)))));
  parameters.sq_entries = entries;
  RefPtr<Ring> ring = ARIL_TRY(Ring::create(parameters));
  RefPtr<RingFile> file = ARIL_TRY(try_make_ref<RingFile>(ring));
  if (polls) ARIL_TRY(ring->start_submission_thread());
  ARIL_TRY(pointer.write(parameters));
  return current_process().files().install(std::move(file), CloseOnExec::kYes);
}
ARIL_SYSCALL(425, io_uring_setup, sys_io_uring_setup, "uint >ptr");

/// struct io_uring_getevents_arg.
struct ExtendedArgument {
  uint64_t mask;
  uint32_t mask_size, padding;
  uint64_t timeout;
};

struct WaitArgument {
  std::optional<SignalSet> mask;
  Instant deadline = Instant::never();
};

Result<WaitArgument> read_wait_argument(uint32_t flags, uint64_t address, uint64_t size) {
  WaitArgument result;
  ExtendedArgument argument{
      .mask = address, .mask_size = static_cast<uint32_t>(size), .padding = 0, .timeout = 0};
  if ((flags & kEnterExtendedArgument) != 0) {
    if (size != sizeof(ExtendedArgument)) return fail(Errno::kInval);
    argument = ARIL_TRY(UserPtr<ExtendedArgument>(address).read());
    if (argument.padding != 0) return fail(Errno::kInval);
  }
  if (argument.mask != 0) {
    if (argument.mask_size != sizeof(SignalSet)) return fail(Errno::kInval);
    result.mask = ARIL_TRY(UserPtr<SignalSet>(argument.mask).read());
  }
  if (argument.timeout != 0)
    result.deadline = now() + ARIL_TRY(read_timeout(UserPtr<Timespec>(argument.timeout)));
  return result;
}

Result<int64_t> sys_io_uring_enter(uint32_t fd, uint32_t to_submit, uint32_t min_complete,
                                   uint32_t flags, uint64_t argument, uint64_t size) {
  constexpr uint32_t kKnown = kEnterGetEvents | kEnterSqWakeup | kEnterSqWait |
                              kEnterExtendedArgument | kEnterRegisteredRing;
  if ((flags & ~kKnown) != 0) return fail(Errno::kInval);
  RingRef ring = ARIL_TRY(ring_of(fd, flags));
  if (ring->is_disabled()) return fail(kBadState);
  uint32_t submitted = 0;
  if ((ring->setup_flags() & kSetupSqPoll) != 0) {
    if ((flags & kEnterSqWakeup) != 0) ring->wake_submission_thread();
    if ((flags & kEnterSqWait) != 0) ARIL_TRY(ring->wait_for_submission_room());
    submitted = to_submit;
  } else if (to_submit != 0) {
    GateGuard guard(ring->gate());
    submitted = ARIL_TRY(ring->submit(to_submit));
    if (submitted != to_submit) return submitted;
  }
  if ((flags & kEnterGetEvents) == 0) return submitted;
  // What was submitted counts, whatever becomes of the wait.
  auto waited = [&]() -> Result<void> {
    WaitArgument wait = ARIL_TRY(read_wait_argument(flags, argument, size));
    TemporarySignalMask mask(wait.mask);
    return ring->wait_completions(min_complete, wait.deadline);
  }();
  if (!waited && submitted == 0) return fail(waited.error());
  return submitted;
}
ARIL_SYSCALL(426, io_uring_enter, sys_io_uring_enter, "fd uint uint hex ptr size");

/// struct io_uring_rsrc_update, as ring descriptors are told.
struct RingUpdate {
  uint32_t index, reserved;
  uint64_t fd;
};

Result<int64_t> register_ring_fds(uint64_t argument, uint32_t count, bool remove) {
  if (count == 0 || count > RegisteredRings::kSlots) return fail(Errno::kInval);
  auto& attachment = current_task().attachment;
  if (attachment == nullptr) {
    attachment.reset(new (std::nothrow) RegisteredRings);
    if (attachment == nullptr) return fail(Errno::kNoMem);
  }
  auto& rings = *static_cast<RegisteredRings*>(attachment.get());
  auto update_one = [&](UserPtr<RingUpdate> pointer) -> Result<void> {
    RingUpdate update = ARIL_TRY(pointer.read());
    if (update.reserved != 0) return fail(Errno::kInval);
    bool anywhere = update.index == ~0u && !remove;
    if (!anywhere && update.index >= RegisteredRings::kSlots) return fail(Errno::kInval);
    if (remove) {
      rings.files[update.index].reset();
      return {};
    }
    uint32_t slot = anywhere ? 0 : update.index;
    while (anywhere && slot < RegisteredRings::kSlots && rings.files[slot]) ++slot;
    if (slot == RegisteredRings::kSlots || rings.files[slot]) return fail(Errno::kBusy);
    auto ring =
        ARIL_TRY(ring_of(ARIL_TRY(current_process().files().get(static_cast<int>(update.fd)))));
    update.index = slot;
    ARIL_TRY(pointer.write(update));
    rings.files[slot] = ring.file;
    return {};
  };
  for (uint32_t i = 0; i < count; ++i) {
    auto done = update_one(UserPtr<RingUpdate>(argument) + i);
    if (done) continue;
    if (i != 0) return i;
    return fail(done.error());
  }
  return count;
}

Result<int64_t> sys_io_uring_register(uint32_t fd, uint32_t operation, uint64_t argument,
                                      uint32_t count) {
  constexpr uint32_t kRingFds = 20, kUnregisterRingFds = 21;
  RingRef ring = ARIL_TRY(ring_of(fd, 0));
  if (operation == kRingFds || operation == kUnregisterRingFds)
    return register_ring_fds(argument, count, operation == kUnregisterRingFds);
  GateGuard guard(ring->gate());
  return ring->register_resources(operation, argument, count);
}
ARIL_SYSCALL(427, io_uring_register, sys_io_uring_register, "fd uint ptr uint");

}  // namespace
}  // namespace aril::linux_abi::io_uring
