#include "arch/host.hpp"

#include <sys/mman.h>
#include <ctime>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "arch/context.hpp"
#include "arch/cpu.hpp"
#include "arch/interrupts.hpp"
#include "arch/page_table.hpp"
#include "arch/timer.hpp"

namespace aril::arch {

CpuBlock host_cpu{.self = &host_cpu};
bool host_interrupts_enabled = true;

namespace {
std::optional<Instant> fixed_time;
Instant armed = Instant::never();

[[noreturn]] void unsupported(const char* what) {
  std::fprintf(stderr, "arch/host: %s: a unit test must not get here\n", what);
  std::abort();
}
}  // namespace

std::byte* host_ram() {
  static auto* base =
      static_cast<std::byte*>(mmap(nullptr, kHostRamSize, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  return base;
}

void host_set_time(Instant time) { fixed_time = time; }
void host_advance_time(Duration by) { fixed_time = monotonic_now() + by; }
void host_release_time() { fixed_time.reset(); }
Instant host_timer_deadline() { return armed; }

Instant monotonic_now() {
  if (fixed_time) return *fixed_time;
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return {now.tv_sec * 1'000'000'000 + now.tv_nsec};
}
int64_t boot_wall_clock_ns() { return 1'700'000'000'000'000'000; }
void set_timer(Instant deadline) { armed = deadline; }
CycleScale cycle_scale() { return {}; }
uint64_t cycles() { return static_cast<uint64_t>(monotonic_now().ns); }

bool hardware_random(uint64_t& out) {
  static uint64_t state = 1;
  out = state = state * 6364136223846793005u + 1442695040888963407u;
  return true;
}

void wait_for_interrupt() { unsupported("wait_for_interrupt"); }
void halt_all() { unsupported("halt_all"); }

void initialize_context(Context&, std::span<std::byte>, void (*)(void*), void*) {}
extern "C" void aril_switch_context(Context*, Context*) { unsupported("blocking"); }
size_t fpu_state_size() { return 64; }
uint64_t hardware_capabilities() { return 0; }
void fpu_initialize(std::byte* area) { std::memset(area, 0, fpu_state_size()); }
void fpu_save(std::byte*) {}
void fpu_restore(const std::byte*) {}
uint64_t thread_pointer() { return 0; }
void set_thread_pointer(uint64_t) {}
void enter_application(const TrapFrame&) { unsupported("enter_application"); }

Result<InterruptVector> allocate_vector(InterruptHandler, void*) { return InterruptVector{32}; }
MsiMessage msi_message(InterruptVector vector, unsigned) { return {0xfee00000, vector.vector}; }
Result<void> connect_global_interrupt(uint32_t, TriggerMode, Polarity, InterruptHandler, void*) {
  return {};
}
Result<void> connect_isa_interrupt(uint8_t, InterruptHandler, void*) { return {}; }

void PageTable::activate() {}
void flush_tlb(uint64_t, uint64_t) {}
void flush_tlb(PhysicalAddress, uint64_t, uint64_t, IdleCpus) {}
void begin_idle() {}
void end_idle() {}

}  // namespace aril::arch
