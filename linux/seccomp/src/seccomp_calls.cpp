#include <algorithm>
#include <cstring>
#include <vector>

#include "base/packet_filter.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/process/seccomp.hpp"
#include "linux/signal/signal.hpp"

/// seccomp(2) and prctl's older way to it: strict mode, and filters of classic BPF.
namespace aril::linux_abi {
namespace {

// [linux/seccomp.h]
constexpr uint32_t kKillProcess = 0x80000000, kKillThread = 0, kTrap = 0x30000, kErrno = 0x50000,
                   kUserNotification = 0x7fc00000, kTrace = 0x7ff00000, kLog = 0x7ffc0000,
                   kAllow = 0x7fff0000, kActionMask = 0xffff0000, kDataMask = 0xffff;
constexpr uint32_t kArchitecture = 0xc000003e;  // AUDIT_ARCH_X86_64

/// The strictest first: the order in which actions win.
unsigned severity(uint32_t verdict) {
  switch (verdict & kActionMask) {
    case kKillProcess:
      return 7;
    case kKillThread:
      return 6;
    case kTrap:
      return 5;
    case kErrno:
      return 4;
    case kUserNotification:
      return 3;
    case kTrace:
      return 2;
    case kLog:
      return 1;
    case kAllow:
      return 0;
    default:
      return 7;  // unknown: as the strictest
  }
}

/// struct seccomp_data: what a filter sees of a system call.
struct FilterData {
  int32_t number;
  uint32_t architecture;
  uint64_t instruction_pointer;
  uint64_t arguments[6];
};
static_assert(sizeof(FilterData) == 64);

/// Programs load its words in the machine's order; where they may is checked when they are made.
struct CallInput final : FilterInput {
  explicit CallInput(const FilterData& call) : data(call) {}
  bool load(uint32_t offset, unsigned size, uint32_t& value) const override {
    std::memcpy(&value, reinterpret_cast<const std::byte*>(&data) + offset, size);
    return true;
  }
  [[nodiscard]] uint32_t length() const override { return sizeof(FilterData); }
  const FilterData& data;
};

/// One installed filter and those before it; immutable, so that tasks share it.
class FilterList final : public SystemCallFilter {
 public:
  FilterList(PacketFilter filter, RefPtr<SystemCallFilter> earlier)
      : filter_(std::move(filter)), earlier_(std::move(earlier)) {}
  [[nodiscard]] uint32_t verdict(const arch::TrapFrame& frame) const {
    FilterData data{.number = static_cast<int32_t>(frame.system_call_number()),
                    .architecture = kArchitecture,
                    .instruction_pointer = frame.rip,
                    .arguments = {}};
    for (size_t i = 0; i < 6; ++i) data.arguments[i] = frame.argument(i);
    const CallInput input(data);
    uint32_t strictest = kAllow;
    for (const FilterList* list = this; list != nullptr;
         list = static_cast<const FilterList*>(list->earlier_.get())) {
      uint32_t verdict = list->filter_.run(input);
      if (severity(verdict) > severity(strictest)) strictest = verdict;
    }
    return strictest;
  }
  [[nodiscard]] SeccompMode mode() const override { return SeccompMode::kFilter; }
  bool judge(arch::TrapFrame& frame, int64_t& result) const override;
  [[nodiscard]] unsigned depth() const {
    unsigned count = 0;
    for (const SystemCallFilter* list = this; list != nullptr;
         list = static_cast<const FilterList*>(list)->earlier_.get())
      ++count;
    return count;
  }

 private:
  PacketFilter filter_;
  RefPtr<SystemCallFilter> earlier_;
};

[[noreturn]] void end_process(int signal) {
  current_process().request_exit({.signal = signal});
  Task::exit(0);
}

void trap(arch::TrapFrame& frame, uint32_t data) {
  constexpr int32_t kSysSeccomp = 1;
  SignalInfo info{.signal = kSigSys, .error = static_cast<int32_t>(data), .code = kSysSeccomp};
  struct {
    uint64_t address;
    int32_t number;
    uint32_t architecture;
  } details{frame.rip, static_cast<int32_t>(frame.system_call_number()), kArchitecture};
  std::ranges::copy(std::as_bytes(std::span(&details, 1)),
                    std::as_writable_bytes(std::span(info.bytes)).begin());
  force_signal(current_task(), info);
}

/// False when the call is not to be made; `result` is then its result.
bool FilterList::judge(arch::TrapFrame& frame, int64_t& result) const {
  constexpr uint32_t kMaxErrno = 4095;
  uint32_t decision = verdict(frame);
  switch (decision & kActionMask) {
    case kAllow:
    case kLog:
      return true;
    case kErrno:
      result = -static_cast<int64_t>(std::min(decision & kDataMask, kMaxErrno));
      return false;
    case kTrap:
      // As if the call had not been made: its number is the result [seccomp(2)].
      result = static_cast<int64_t>(frame.system_call_number());
      trap(frame, decision & kDataMask);
      return false;
    case kTrace:
    case kUserNotification:
      // Nobody is there to ask.
      result = -static_cast<int64_t>(Errno::kNoSys);
      return false;
    case kKillThread:
      if (current_process().task_count() > 1) Task::exit(0);
      [[fallthrough]];
    default:
      report_fatal_signal(frame, SignalInfo{.signal = kSigSys, .code = 1});
      end_process(kSigSys);
  }
}

/// read, write, exit, sigreturn; everything else ends the process.
class Strict final : public SystemCallFilter {
 public:
  [[nodiscard]] SeccompMode mode() const override { return SeccompMode::kStrict; }
  bool judge(arch::TrapFrame& frame, int64_t&) const override {
    constexpr uint64_t kRead = 0, kWrite = 1, kSigreturn = 15, kExit = 60;
    switch (frame.system_call_number()) {
      case kRead:
      case kWrite:
      case kSigreturn:
      case kExit:
        return true;
      default:
        end_process(kSigKill);
    }
  }
};

Result<void> set_strict() {
  Task& task = current_task();
  if (task.filter) return fail(Errno::kInval);
  task.filter = ARIL_TRY(try_make_ref<Strict>());
  return {};
}

/// struct sock_fprog.
struct FilterProgram {
  uint16_t length;
  uint16_t padding[3];
  uint64_t instructions;
};

Result<void> add_filter(uint64_t program_address, uint64_t flags) {
  constexpr uint64_t kThreadSync = 1, kLogFlag = 2, kSpecAllow = 4;
  constexpr unsigned kMaxDepth = 64;
  if ((flags & ~(kThreadSync | kLogFlag | kSpecAllow)) != 0) return fail(Errno::kInval);
  Task& task = current_task();
  if (!task.credentials.no_new_privileges && !task.credentials.can(Capability::kSysAdmin))
    return fail(Errno::kAcces);
  auto program = ARIL_TRY(UserPtr<FilterProgram>(program_address).read());
  if (program.length == 0 || program.length > PacketFilter::kMaxLength) return fail(Errno::kInval);
  std::unique_ptr<FilterInstruction[]> instructions(new (std::nothrow)
                                                        FilterInstruction[program.length]);
  if (instructions == nullptr) return fail(Errno::kNoMem);
  std::span<FilterInstruction> span(instructions.get(), program.length);
  ARIL_TRY(UserPtr<FilterInstruction>(program.instructions).read_array(span));
  PacketFilter filter =
      ARIL_TRY(PacketFilter::create(span, PacketFilter::Dialect::kSeccomp, sizeof(FilterData)));
  if (task.filter) {
    if (task.filter->mode() != SeccompMode::kFilter) return fail(Errno::kInval);
    if (static_cast<FilterList&>(*task.filter).depth() >= kMaxDepth) return fail(Errno::kNoMem);
  }
  auto list = ARIL_TRY(try_make_ref<FilterList>(std::move(filter), task.filter));
  // Filters are each thread's own; one for all is only taken while there is one.
  if ((flags & kThreadSync) != 0 && task.process().task_count() != 1) return fail(Errno::kInval);
  task.filter = std::move(list);
  return {};
}

Result<void> sys_seccomp(uint32_t operation, uint64_t flags, uint64_t argument) {
  constexpr uint32_t kSetStrict = 0, kSetFilter = 1, kActionAvailable = 2, kNotificationSizes = 3;
  switch (operation) {
    case kSetStrict:
      if (flags != 0 || argument != 0) return fail(Errno::kInval);
      return set_strict();
    case kSetFilter:
      return add_filter(argument, flags);
    case kActionAvailable: {
      if (flags != 0) return fail(Errno::kInval);
      constexpr uint32_t kOffered[] = {kKillProcess, kKillThread, kTrap, kErrno, kLog, kAllow};
      uint32_t action = ARIL_TRY(UserPtr<uint32_t>(argument).read());
      if (std::ranges::find(kOffered, action) == std::end(kOffered)) return fail(Errno::kOpNotSupp);
      return {};
    }
    case kNotificationSizes:
    default:
      return fail(Errno::kInval);
  }
}
ARIL_SYSCALL(317, seccomp, sys_seccomp, "uint hex ptr");

}  // namespace

Result<void> set_seccomp_mode(uint64_t mode, uint64_t program) {
  if (mode == std::to_underlying(SeccompMode::kStrict)) return set_strict();
  if (mode == std::to_underlying(SeccompMode::kFilter)) return add_filter(program, 0);
  return fail(Errno::kInval);
}

}  // namespace aril::linux_abi
