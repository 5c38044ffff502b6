#include "start_up.hpp"

#include "arch/cpu.hpp"
#include "boot_part.hpp"
#include "kernel/log/log.hpp"
#include "kernel/memory/heap.hpp"
#include "kernel/sched/scheduler.hpp"
#include "memory_setup.hpp"

namespace aril::platform {
namespace {

void run_secondary_cpu() { Scheduler::run_secondary_cpu(); }

void start_cpus(Boot& boot) {
  const Machine& machine = boot.machine;
  const acpi::InterruptModel& model = machine.firmware.interrupts;
  if (model.cpu_count <= 1) return;
  PhysicalAddress trampoline = trampoline_page(machine.boot);
  if (trampoline == 0) {
    ARIL_LOG_WARNING("cpu", "no RAM below 1 MiB to start the other CPUs from: using one");
    return;
  }
  for (uint32_t apic_id : std::span(model.cpus).first(model.cpu_count)) {
    if (apic_id == arch::local_apic_id()) continue;
    if (arch::cpu_count() == arch::kMaxCpus) {
      ARIL_LOG_WARNING("cpu", "using %u of %zu CPUs", arch::kMaxCpus, model.cpu_count);
      return;
    }
    auto* memory = static_cast<std::byte*>(heap::allocate(arch::kCpuMemorySize, kPageSize));
    if (memory == nullptr) {
      ARIL_LOG_WARNING("cpu", "no memory for CPU %u", arch::cpu_count());
      return;
    }
    // A CPU that does not answer now might later: its memory stays.
    if (!arch::start_cpu(apic_id, {memory, arch::kCpuMemorySize}, trampoline, &run_secondary_cpu))
      ARIL_LOG_WARNING("cpu", "the CPU with APIC id %u did not start", apic_id);
  }
}

ARIL_BOOT_PART(100, cpus, start_cpus);

// The bounds that the linker gives to the section that ARIL_BOOT_PART fills.
extern "C" const BootPart __start_aril_boot_parts[], __stop_aril_boot_parts[];

}  // namespace

void start_up(const Machine& machine) {
  auto& boot =
      *new Boot{.machine = machine, .devices = *new Devices, .mounts = *new vfs::MountTree};
  for (const BootPart* part = __start_aril_boot_parts; part != __stop_aril_boot_parts; ++part)
    (*part)(boot);
}

}  // namespace aril::platform
