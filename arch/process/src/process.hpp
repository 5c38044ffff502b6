#pragma once
#include <cstddef>
#include <cstdint>

#include "arch/cpu.hpp"
#include "arch/page_table.hpp"
#include "arch/trap_frame.hpp"
#include "base/process_abi.hpp"
#include "base/time.hpp"

/// What the files of arch/process share.
namespace aril::arch {

// The host's numbers [linux/arch/x86/entry/syscalls/syscall_64.tbl].
enum class HostCall : uint64_t {
  kMmap = 9,
  kMunmap = 11,
  kMadvise = 28,
  kTgkill = 234,
  kFdatasync = 75,
  kTimerSettime = 223,
  kExitGroup = 231,
  kPpoll = 271,
  kPreadv2 = 327,
  kPwritev2 = 328,
};
extern "C" int64_t aril_host_call(HostCall number, uint64_t a0, uint64_t a1, uint64_t a2,
                                  uint64_t a3, uint64_t a4, uint64_t a5);
/// As above, but -EINTR at once when an interrupt is pending.
extern "C" int64_t aril_host_wait(HostCall number, uint64_t a0, uint64_t a1, uint64_t a2,
                                  uint64_t a3, uint64_t a4, uint64_t a5);

template <typename T>
uint64_t host_argument(T value) {
  if constexpr (requires { reinterpret_cast<uint64_t>(value); }) {
    return reinterpret_cast<uint64_t>(value);
  } else {
    return static_cast<uint64_t>(value);
  }
}
template <typename... Arguments>
int64_t host_call(HostCall number, Arguments... arguments) {
  const uint64_t all[6] = {host_argument(arguments)...};
  return aril_host_call(number, all[0], all[1], all[2], all[3], all[4], all[5]);
}
template <typename... Arguments>
int64_t host_wait(HostCall number, Arguments... arguments) {
  const uint64_t all[6] = {host_argument(arguments)...};
  return aril_host_wait(number, all[0], all[1], all[2], all[3], all[4], all[5]);
}
inline constexpr int64_t kHostInterrupted = -4;  // EINTR
inline constexpr int64_t kHostNoMemory = -12;    // ENOMEM

static_assert(kMaxCpus == kProcessMaxCpus);

/// Bits of CpuBlock::interrupts_pending: a program's signal has its number's, the platform's own
/// have those of numbers that never arrive (0, SIGKILL).
constexpr uint32_t program_signal_bit(int signal) { return uint32_t{1} << signal; }
inline constexpr uint32_t kTimerInterrupt = 1u << 0, kKickInterrupt = 1u << 9;
/// What `aril_on_trap` is called for: an exception's vector below this, or an interrupt.
inline constexpr uint64_t kInterruptTrap = 256;

/// The page that a fault missed is in the tables, and allowed: makes the host show it. Any context;
/// interrupts disabled.
enum class Show : uint8_t {
  kAround,  ///< with neighbours below and above
  kUpwards  ///< what was just put into the tables from `address` on: what is below may be shown
};
bool fill_translation(uint64_t address, PageFlags wanted, Show extent = Show::kAround);
/// Whether that is what the host was made to show last. Any context.
bool is_just_shown(uint64_t address, PageFlags wanted);
/// The root that translations of the application are filled from.
PhysicalAddress active_root();

/// Whether the memory there is one of the host's pages of 2 MiB, after asking for one at first use.
/// One caller at a time.
bool is_in_huge_page(PhysicalAddress address);

/// Handles what interrupts_pending said. Interrupts disabled.
void handle_interrupts(uint32_t pending);
/// Calls the handlers of watched descriptors that are ready now; whether any is still watched.
/// Interrupt context.
bool look_at_watches();
/// Wakes a CPU that sleeps in wait_for_interrupt, or interrupts what it runs.
void kick(unsigned cpu);

/// The CPU's deadline has passed: calls the kernel. Interrupt context.
void run_due_timer();
/// Until this CPU's deadline; never() when there is none.
Instant timer_deadline();
/// The host's timer has fired.
void on_host_timer();
/// Around sleeping: a CPU that is busy looks at descriptors at every tick, for as long as there are
/// any to look at.
void stop_tick();
void start_tick();
/// There are, from now on. Any context.
void ensure_tick();

void initialize_cpu_features();
/// Until no thread is in the tender's code any more.
void wait_for_cpus();

/// A host call failed that must not: reports, and ends the process.
[[noreturn]] void report_host_failure(const char* what, int64_t error);
/// Something else than the application executed a `syscall` instruction that the filter refused:
/// reports which call, and ends the process.
[[noreturn]] void report_refused_call(uint64_t number);

}  // namespace aril::arch
