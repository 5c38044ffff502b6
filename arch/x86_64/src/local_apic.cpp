#include <atomic>

#include "arch/startup.hpp"
#include "machine.hpp"

// The local APIC [SDM 3A 11], through its registers in memory or, where there is x2APIC, MSRs.
namespace aril::arch {

namespace {

enum class Register : uint32_t {  // byte offsets [SDM 3A Table 11-1]
  kId = 0x20,
  kTaskPriority = 0x80,
  kEndOfInterrupt = 0xb0,
  kSpurious = 0xf0,
  kErrorStatus = 0x280,
  kCommandLow = 0x300,
  kCommandHigh = 0x310,
  kTimer = 0x320,
  kLint0 = 0x350,
  kLint1 = 0x360,
  kError = 0x370,
  kTimerInitial = 0x380,
  kTimerCurrent = 0x390,
  kTimerDivide = 0x3e0,
};

constexpr uint32_t kMasked = 1u << 16;
constexpr uint32_t kSoftwareEnable = 1u << 8;
constexpr uint32_t kDeliveryPending = 1u << 12;
constexpr uint32_t kDivideBy1 = 0xb;
constexpr uint32_t kTscDeadlineMode = 2u << 17;
constexpr uint64_t kX2ApicEnable = 1u << 10, kApicEnable = 1u << 11;

constinit std::byte* memory = nullptr;
constinit bool initialized = false;

uint32_t msr_of(Register reg) {
  return static_cast<uint32_t>(Msr::kX2ApicBase) + (static_cast<uint32_t>(reg) >> 4);
}
uint32_t read(Register reg) {
  if (memory == nullptr) return static_cast<uint32_t>(read_msr(msr_of(reg)));
  return *reinterpret_cast<volatile uint32_t*>(memory + static_cast<uint32_t>(reg));
}
void write(Register reg, uint32_t value) {
  if (memory == nullptr) {
    write_msr(msr_of(reg), value);
  } else {
    *reinterpret_cast<volatile uint32_t*>(memory + static_cast<uint32_t>(reg)) = value;
  }
}

}  // namespace

namespace local_apic {

void initialize(std::byte* registers) {
  memory = registers;
  initialized = true;
  enable_this_cpu();
}

void enable_this_cpu() {
  uint64_t base = read_msr(Msr::kApicBase) | kApicEnable;
  write_msr(Msr::kApicBase, base);
  if (memory == nullptr) write_msr(Msr::kApicBase, base | kX2ApicEnable);
  write(Register::kTaskPriority, 0);
  write(Register::kLint0, kMasked);      // the 8259's line: all devices come through the I/O APIC
  write(Register::kLint1, kDeliverNmi);  // where QEMU's inject-nmi arrives (watch.cpp)
  write(Register::kError, kMasked);
  write(Register::kTimer, kMasked | kTimerVector);
  write(Register::kTimerDivide, kDivideBy1);
  write(Register::kSpurious, kSoftwareEnable | kSpuriousVector);
  this_cpu().apic_id = local_apic_id();
  begin_watch();
}

bool is_enabled() {
  return (read_msr(Msr::kApicBase) & kApicEnable) != 0 &&
         (read(Register::kSpurious) & kSoftwareEnable) != 0;
}

void end_of_interrupt() { write(Register::kEndOfInterrupt, 0); }

void send_ipi(uint32_t apic_id, uint32_t vector_and_mode) {
  if (!initialized) return;
  if (memory == nullptr) {
    // WRMSR to x2APIC registers is not serialising: earlier stores must be visible first.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    write_msr(msr_of(Register::kCommandLow), (uint64_t{apic_id} << 32) | vector_and_mode);
    return;
  }
  // The two halves must not be torn by an interrupt handler that also sends one.
  InterruptGuard guard;
  while ((read(Register::kCommandLow) & kDeliveryPending) != 0) relax();
  write(Register::kCommandHigh, apic_id << 24);
  write(Register::kCommandLow, vector_and_mode);
}

void set_timer_deadline_mode() {
  write(Register::kTimer, kTscDeadlineMode | kTimerVector);
  // The mode must be set before the first deadline is written [SDM 3A 11.5.4.1].
  asm volatile("mfence" ::: "memory");
}
void set_timer_one_shot_mode() { write(Register::kTimer, kTimerVector); }
void set_timer_count(uint32_t count) { write(Register::kTimerInitial, count); }
uint32_t timer_count() { return read(Register::kTimerCurrent); }

}  // namespace local_apic

uint32_t local_apic_id() {
  uint32_t id = read(Register::kId);
  return memory == nullptr ? id : id >> 24;
}

void send_reschedule(unsigned cpu) {
  local_apic::send_ipi(cpu_block(cpu).apic_id,
                       local_apic::kDeliverFixed | local_apic::kLevelAssert | kRescheduleVector);
}

}  // namespace aril::arch
