#include <algorithm>

#include "arch/page_table.hpp"
#include "base/units.hpp"
#include "kernel/log/log.hpp"
#include "kernel/vm/address_space.hpp"
#include "kernel/vm/user_copy.hpp"
#include "linux/signal/signal.hpp"

/// What the user reads when the program dies of a fault.
namespace aril::linux_abi {
namespace {

constexpr unsigned kMaximumFrames = 32;
constexpr unsigned kMaximumScannedWords = 512;
constexpr unsigned kMaximumScanHits = 16;
constexpr unsigned kMaximumGaps = 2;

const char* reason(const SignalInfo& info) {
  if (info.code <= 0) return "sent by a program";
  if (info.code == kSiKernel) return "raised by the kernel";
  switch (info.signal) {
    case kSigSegv:
      return info.code == kSegvMaperr ? "address not mapped" : "access not permitted";
    case kSigBus:
      return info.code == kBusAdraln ? "misaligned access" : "no memory behind address";
    case kSigIll:
      return "illegal instruction";
    case kSigTrap:
      return "breakpoint or trace trap";
    case kSigFpe:
      return info.code == kFpeIntdiv ? "integer division by zero or overflow"
                                     : "floating-point exception";
    default:
      return "fault";
  }
}

void report_code_line(unsigned number, uint64_t address, const char* note) {
  CodeLocation location = describe_code(address);
  write_record("report   #%u 0x%lx%s%s%s", number, static_cast<unsigned long>(address),
               location.text[0] != 0 ? " " : "", location.text, note);
}

bool is_code(uint64_t address) {
  AddressSpace* space = current_address_space();
  bool found = false;
  if (space == nullptr) return false;
  space->for_each_mapping([&](const MappingView& view) {
    if (address >= view.start && address < view.end && has(view.protection, Protection::kExecute))
      found = true;
  });
  return found;
}

// Frame pointers, which most distribution code lacks; the number of lines written.
unsigned report_frame_chain(uint64_t frame_pointer) {
  unsigned number = 1;
  while (number < kMaximumFrames && frame_pointer != 0 && frame_pointer % 8 == 0) {
    struct Link {
      uint64_t caller_frame, return_address;
    };
    auto link = UserPtr<Link>(frame_pointer).read();
    if (!link || !is_code(link->return_address)) break;
    report_code_line(number++, link->return_address, "");
    if (link->caller_frame <= frame_pointer) break;
    frame_pointer = link->caller_frame;
  }
  return number;
}

// Words on the stack that point behind a call instruction into code.
bool follows_call(uint64_t address) {
  uint8_t before[7] = {};
  if (address < sizeof before ||
      !copy_from_user(std::as_writable_bytes(std::span(before)), address - sizeof before))
    return false;
  if (before[2] == 0xe8) return true;  // call rel32
  // FF /2 with 2 to 7 bytes: call through a register or memory.
  for (size_t start = 0; start + 1 < sizeof before; ++start)
    if (before[start] == 0xff && ((before[start + 1] >> 3) & 7) == 2) return true;
  return false;
}

void report_stack_scan(uint64_t stack_pointer, unsigned number) {
  unsigned hits = 0, gaps = 0;
  uint64_t address = align_down(stack_pointer, sizeof(uint64_t));
  for (unsigned word = 0; word < kMaximumScannedWords && hits < kMaximumScanHits; ++word) {
    auto value = UserPtr<uint64_t>(address).read();
    if (!value) {
      // A stack that overflowed begins on a later page than its pointer says.
      if (++gaps > kMaximumGaps) return;
      address = align_up(address + 1, kPageSize);
      continue;
    }
    address += sizeof(uint64_t);
    if (*value < arch::kApplicationBottom || !is_code(*value) || !follows_call(*value)) continue;
    report_code_line(number++, *value, " (found on the stack)");
    ++hits;
  }
}

void report_registers(const arch::TrapFrame& f) {
  auto line = [](const char* n1, uint64_t v1, const char* n2, uint64_t v2, const char* n3,
                 uint64_t v3) {
    write_record("report   %s=%016lx %s=%016lx %s=%016lx", n1, static_cast<unsigned long>(v1), n2,
                 static_cast<unsigned long>(v2), n3, static_cast<unsigned long>(v3));
  };
  line("rip", f.rip, "rsp", f.rsp, "rbp", f.rbp);
  line("rax", f.rax, "rbx", f.rbx, "rcx", f.rcx);
  line("rdx", f.rdx, "rsi", f.rsi, "rdi", f.rdi);
  line("r8 ", f.r8, "r9 ", f.r9, "r10", f.r10);
  line("r11", f.r11, "r12", f.r12, "r13", f.r13);
  line("r14", f.r14, "r15", f.r15, "efl", f.rflags);
}

}  // namespace

CodeLocation describe_code(uint64_t address) {
  CodeLocation location{};
  AddressSpace* space = current_address_space();
  if (space == nullptr) return location;
  space->for_each_mapping([&](const MappingView& view) {
    if (address < view.start || address >= view.end) return;
    const char* name = view.object != nullptr ? view.object->name() : view.label;
    if (name == nullptr || name[0] == 0) return;
    format_to(location.text, "%s+0x%lx", name,
              static_cast<unsigned long>(address - view.start + view.offset));
  });
  return location;
}

void report_fatal_signal(const arch::TrapFrame& frame, const SignalInfo& info) {
  Task& task = current_task();
  bool has_address = info.code > 0 && info.code != kSiKernel;
  CodeLocation where = describe_code(frame.rip);
  if (has_address && (info.signal == kSigSegv || info.signal == kSigBus)) {
    write_record("report %s in thread %d (%.*s): %s: 0x%lx", signal_name(info.signal), task.tid(),
                 int(task.thread().name().size()), task.thread().name().data(), reason(info),
                 static_cast<unsigned long>(info.fault.address));
  } else {
    write_record("report %s in thread %d (%.*s): %s", signal_name(info.signal), task.tid(),
                 int(task.thread().name().size()), task.thread().name().data(), reason(info));
  }
  write_record("report   #0 0x%lx%s%s", static_cast<unsigned long>(frame.rip),
               where.text[0] != 0 ? " " : "", where.text);
  unsigned next = report_frame_chain(frame.rbp);
  if (next < 3) report_stack_scan(frame.rsp, next);
  report_registers(frame);
}

}  // namespace aril::linux_abi
