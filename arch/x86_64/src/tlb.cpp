#include <atomic>

#include "machine.hpp"

namespace aril::arch {
namespace {

/// Up to this many pages are dropped one by one, more by dropping everything.
constexpr uint64_t kSinglePages = 32;

/// The one flush under way; whoever holds `flush_busy` owns it.
struct Request {
  uint64_t start, end;
  std::atomic<uint64_t> waiting_for;  ///< CPUs that have not done it yet
};
constinit std::atomic<bool> flush_busy{false};
constinit Request request{};
/// Each CPU's current tree. A CPU that is on another tree has no translations of the lower half of
/// this one: loading CR3 drops them.
constinit std::atomic<PhysicalAddress> active_roots[kMaxCpus] = {};
// In the low bits of an active root: the CPU is idle; and it has missed a flush since.
constexpr PhysicalAddress kIdle = 1, kMissedFlush = 2;

constexpr bool is_kernel_address(uint64_t address) { return static_cast<int64_t>(address) < 0; }

void flush_local(uint64_t start, uint64_t end) {
  if (end - start <= kSinglePages * kPageSize) {
    for (uint64_t address = start; address < end; address += kPageSize)
      asm volatile("invlpg (%0)" : : "r"(address) : "memory");
  } else if (is_kernel_address(start)) {
    flush_this_tlb();
  } else {
    write_cr3(read_cr3());
  }
}

}  // namespace

void PageTable::activate() {
  // Sequentially consistent, before CR3: flush_tlb on another CPU either sees this or has changed
  // the tables before this CPU can walk them.
  active_roots[cpu_index()].store(root_);
  write_cr3(root_);
}

void restore_active_tables() {
  PhysicalAddress root = active_roots[cpu_index()].load() & ~(kIdle | kMissedFlush);
  if (root != 0) write_cr3(root);
}

void handle_tlb_flush() {
  uint64_t self = uint64_t{1} << cpu_index();
  if ((request.waiting_for.load(std::memory_order_acquire) & self) == 0) return;
  flush_local(request.start, request.end);
  request.waiting_for.fetch_and(~self, std::memory_order_release);
}

void begin_idle() { active_roots[cpu_index()].fetch_or(kIdle); }

void end_idle() {
  std::atomic<PhysicalAddress>& active = active_roots[cpu_index()];
  // Sequentially consistent: from here on a flush interrupts this CPU, and one before has left its
  // mark.
  PhysicalAddress old = active.fetch_and(~(kIdle | kMissedFlush));
  if ((old & kMissedFlush) != 0) write_cr3(read_cr3());
}

namespace {

/// Whether `cpu` may remember anything of the tree that an interrupt must make it forget.
bool needs_interrupt(unsigned cpu, PhysicalAddress root, IdleCpus idle) {
  PhysicalAddress active = active_roots[cpu].load();
  for (;;) {
    if ((active & ~(kIdle | kMissedFlush)) != root) return false;
    if (idle == IdleCpus::kToo || (active & kIdle) == 0) return true;
    // The CPU may leave its idle state meanwhile.
    if (active_roots[cpu].compare_exchange_weak(active, active | kMissedFlush)) return false;
  }
}

}  // namespace

void flush_tlb(uint64_t start, uint64_t end) { flush_tlb(read_cr3(), start, end); }

void flush_tlb(PhysicalAddress root, uint64_t start, uint64_t end, IdleCpus idle) {
  if (start >= end) return;
  bool everywhere = is_kernel_address(start);
  if (cpu_count() == 1) {
    if (everywhere || read_cr3() == root) flush_local(start, end);
    return;
  }
  // This CPU must not change between its own flush and the choice of the others.
  while (flush_busy.exchange(true, std::memory_order_acquire)) relax();
  unsigned self = cpu_index();
  if (everywhere || read_cr3() == root) flush_local(start, end);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  uint64_t targets = 0;
  for (unsigned cpu = 0; cpu < cpu_count(); ++cpu) {
    if (cpu == self) continue;
    if (everywhere || needs_interrupt(cpu, root, idle)) targets |= uint64_t{1} << cpu;
  }
  request.start = start;
  request.end = end;
  request.waiting_for.store(targets, std::memory_order_release);
  for (unsigned cpu = 0; cpu < cpu_count(); ++cpu) {
    if ((targets >> cpu & 1) != 0)
      local_apic::send_ipi(cpu_block(cpu).apic_id,
                           local_apic::kDeliverFixed | local_apic::kLevelAssert | kTlbFlushVector);
  }
  while (request.waiting_for.load(std::memory_order_acquire) != 0) relax();
  flush_busy.store(false, std::memory_order_release);
}

}  // namespace aril::arch
