#include "arch/cpu.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>

#include "arch/context.hpp"
#include "arch/host_calls.hpp"
#include "arch/startup.hpp"
#include "arch/upcalls.hpp"
#include "features.hpp"
#include "kernel_image.hpp"
#include "process.hpp"

namespace aril::arch {

constinit std::atomic<unsigned> running_cpus{1};

namespace {

constexpr size_t kSignalStackSize = 64 * 1024, kStartStackSize = 32 * 1024;
using SignalStack = std::byte[kSignalStackSize];
using StartStack = std::byte[kStartStackSize];

constinit CpuBlock cpu_blocks[kMaxCpus] = {};
alignas(64) constinit SignalStack signal_stacks[kMaxCpus] = {};
alignas(64) constinit StartStack start_stacks[kMaxCpus] = {};

constinit ProcessBoot boot{};
/// CPUs whose threads have come from the tender.
constinit std::atomic<unsigned> arrived_cpus{1};
/// What a CPU that the tender made runs once it is started.
constinit std::atomic<void (*)()> cpu_entries[kMaxCpus] = {};

void prepare_block(unsigned index, uint64_t canary) {
  CpuBlock& block = cpu_blocks[index];
  auto stack = reinterpret_cast<uint64_t>(start_stacks[index]);
  block.index = index;
  block.stack_canary = canary;
  block.kernel_stack_bottom = stack;
  block.kernel_stack_top = stack + kStartStackSize;
}

}  // namespace

extern "C" {
void aril_process_entry();
void aril_process_secondary_entry();
void aril_on_host_signal();
void aril_signal_return();
extern const std::byte aril_gate_start[], aril_gate_end[];

/// A note of the ELF file: where the tender finds it (kernel.ld).
[[gnu::section(".note.aril"), gnu::used, gnu::retain]] extern const KernelNote aril_process_note = {
    .owner_size = sizeof "Aril",
    .content_size = sizeof(ProcessKernel),
    .type = kProcessNoteType,
    .owner = "Aril",
    .kernel = {
        .version = kProcessAbiVersion,
        .size = sizeof(ProcessKernel),
        .entry = &aril_process_entry,
        .secondary_entry = &aril_process_secondary_entry,
        .signal_handler = &aril_on_host_signal,
        .signal_return = &aril_signal_return,
        .gate_start = aril_gate_start,
        .gate_end = aril_gate_end,
        .signal_stacks = signal_stacks,
        .signal_stack_size = kSignalStackSize,
        .start_stacks = start_stacks,
        .start_stack_size = kStartStackSize,
        .cpu_blocks = cpu_blocks,
        .cpu_block_size = sizeof(CpuBlock),
    }};
}

const ProcessBoot& boot_information() { return boot; }

CpuBlock& cpu_block(unsigned index) { return cpu_blocks[index]; }

const char* initialize_boot_cpu(const ProcessBoot& given) {
  if (given.version != kProcessAbiVersion || given.size != sizeof(ProcessBoot))
    return "the tender is of another version than the kernel";
  // Of the command line, the most of it, just what there is.
  std::memcpy(&boot, &given, offsetof(ProcessBoot, command_line));
  boot.command_line_size = std::min(boot.command_line_size, uint32_t{sizeof boot.command_line});
  std::memcpy(boot.command_line, given.command_line, boot.command_line_size);
  uint64_t canary;
  std::memcpy(&canary, boot.random_seed + sizeof boot.random_seed - sizeof canary, sizeof canary);
  for (unsigned cpu = 0; cpu < boot.cpu_count; ++cpu) prepare_block(cpu, canary);
  initialize_cpu_features();
  if (!features.xsave) return "this CPU has no XSAVE";
  return nullptr;
}

void initialize_cpu_features() {
  CpuidResult leaf1 = cpuid(1);
  features.xsave = (leaf1.ecx >> 27 & 1) != 0;  // OSXSAVE: the host has enabled it
  if (!features.xsave) return;
  // Without asking for the highest leaf, which is 0DH at least: CPUID exits to a hypervisor.
  CpuidResult leaf7 = cpuid(7);
  features.capabilities = leaf1.edx;
  features.rdrand = (leaf1.ecx >> 30 & 1) != 0;
  features.rdseed = (leaf7.ebx >> 18 & 1) != 0;
  features.fsgsbase = (leaf7.ebx & 1) != 0;
  aril_fast_string_moves = (leaf7.edx >> 4 & 1) != 0;
  features.fpu_state_size = cpuid(0xd).ebx;
}

void wait_for_cpus() {
  while (arrived_cpus.load(std::memory_order_relaxed) < boot.cpu_count) relax();
}

void start_cpu(unsigned index, void (*entry)()) {
  // Release: the CPU that sees the entry sees all of the kernel as it is now.
  cpu_entries[index].store(entry, std::memory_order_release);
  kick(index);
  while (cpu_count() <= index) relax();
}

/// From entry.S: a thread of the tender's, before the kernel wants its CPU. No canary stands in the
/// block yet.
extern "C" [[noreturn, gnu::no_stack_protector]] void aril_run_secondary(unsigned index) {
  ++arrived_cpus;
  void (*entry)() = nullptr;
  while ((entry = cpu_entries[index].load(std::memory_order_acquire)) == nullptr) {
    host_wait(HostCall::kPpoll, 0, 0, 0, 0, 0);
    cpu_block(index).interrupts_pending = 0;
  }
  // Release: whoever counts this CPU finds it able to take interrupts.
  running_cpus.store(index + 1, std::memory_order_release);
  entry();
  __builtin_unreachable();
}

// fsgsbase is the one thing that the tender must have found (it says so otherwise): without it,
// every change of thread would be a host call.
uint64_t thread_pointer() {
  uint64_t value;
  asm volatile("rdfsbase %0" : "=r"(value));
  return value;
}

void set_thread_pointer(uint64_t value) { asm volatile("wrfsbase %0" : : "r"(value)); }

void halt_all() {
  constexpr int kPanicStatus = 255;
  host_exit(kPanicStatus);
}

}  // namespace aril::arch
