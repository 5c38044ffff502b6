#include "start_up.hpp"

#include "arch/cpu.hpp"
#include "console.hpp"
#include "image.hpp"
#include "kernel/log/log.hpp"
#include "kernel/memory/heap.hpp"
#include "kernel/sched/scheduler.hpp"
#include "kernel/sched/thread.hpp"
#include "memory_setup.hpp"
#include "platform/common/boot_part.hpp"
#include "platform/common/control_line.hpp"

namespace aril::platform {
namespace {

VirtualMachine* the_machine = nullptr;

void run_secondary_cpu() { Scheduler::run_secondary_cpu(); }

void start_cpus(Boot&) {
  const VirtualMachine& machine = virtual_machine();
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

ARIL_MACHINE_PART(100, cpus, start_cpus);

std::span<const std::byte> view_of(PhysicalAddress start, uint64_t size) {
  if (size == 0) return {};
  return {arch::physical_to_virtual(start), size};
}

/// The program's streams: the virtio consoles, or COM1, whose input is the control line.
void choose_streams(std::span<CharDevice* const> consoles, Machine& machine) {
  using Stdio = KernelOptions::Stdio;
  bool use_virtio = machine.options.stdio != Stdio::kSerial && !consoles.empty();
  if (machine.options.stdio == Stdio::kVirtioConsole && !use_virtio)
    ARIL_LOG_WARNING("program", "stdio=hvc, but there is no virtio console: using COM1");
  if (use_virtio) {
    machine.input = machine.output = consoles[0];
    if (consoles.size() > 1) machine.error = consoles[1];
  } else {
    machine.output = &control_port();
  }
}

void show_devices(Boot& boot) {
  const virtio::DeviceSet& found = virtual_machine().devices.virtio;
  Machine& machine = boot.machine;
  machine.net.assign(found.net().begin(), found.net().end());
  machine.block.assign(found.block().begin(), found.block().end());
  machine.volumes.assign(found.volumes().begin(), found.volumes().end());
  choose_streams(found.consoles(), machine);
}

void obey_control_line(Boot&) {
  start_control_line(control_port());
  if (auto result = control_port().enable_input(SerialPort::kCom1Line); !result) {
    ARIL_LOG_WARNING("control line",
                     "no input from COM1 (error %d): signals from aril are not seen",
                     static_cast<int>(result.error()));
  }
}

/// What nobody waits for: most programs have answered, or ended, before.
void start_waiting_devices(Boot&) {
  constexpr Duration kPatience = Duration::milliseconds(50);
  virtio::DeviceSet& devices = virtual_machine().devices.virtio;
  if (!devices.has_waiting()) return;
  static_cast<void>(Thread::sleep_until(now() + kPatience, Interruptible::kNo));
  devices.start_waiting();
}

ARIL_MACHINE_PART(290, devices, show_devices);
ARIL_MACHINE_PART(910, control, obey_control_line);
ARIL_MACHINE_PART(920, waiting_devices, start_waiting_devices);

}  // namespace

VirtualMachine& virtual_machine() { return *the_machine; }

void start_up(VirtualMachine& machine) {
  the_machine = &machine;
  PhysicalRange appended = appended_root().value_or(PhysicalRange{});
  auto& found = *new Machine{
      .command_line = machine.boot.command_line,
      .options = machine.options,
      .ram_root = view_of(appended.start, appended.end - appended.start),
      .module_root = view_of(machine.boot.module_start, machine.boot.module_size),
  };
  run_boot_parts(found);
}

}  // namespace aril::platform
