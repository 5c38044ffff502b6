#include "arch/startup.hpp"
#include "arch/timer.hpp"
#include "console.hpp"
#include "firmware.hpp"
#include "kernel/log/log.hpp"
#include "kernel/random/random.hpp"
#include "kernel/sched/scheduler.hpp"
#include "memory_setup.hpp"
#include "platform/common/boot_timing.hpp"
#include "power.hpp"
#include "start_up.hpp"

// The composition root: from boot.S to the point where threads run. What may sleep follows in
// start_up.cpp.
extern "C" {
using Constructor = void (*)();
extern const Constructor aril_init_array_start[], aril_init_array_end[];
}

namespace aril::platform {
namespace {

constinit Firmware firmware{};

/// Constructors of static objects that could not be constant-initialised: none of the kernel's own
/// should be, but the language allows it.
void run_static_constructors() {
  for (auto constructor = aril_init_array_start; constructor != aril_init_array_end; ++constructor)
    (*constructor)();
}

const arch::BootInformation& copy_boot_information(arch::BootProtocol protocol,
                                                   PhysicalAddress address) {
  auto boot = arch::read_boot_information(protocol, address);
  if (!boot) {
    panic("%s", boot.error() == Errno::kNoMem
                    ? "the loader gave no memory map: boot with PVH version 1 or Linux's protocol"
                    : "the loader's boot information is not valid");
  }
  return **boot;
}

}  // namespace

extern "C" [[noreturn]] void aril_kernel_main(arch::BootProtocol protocol,
                                              PhysicalAddress boot_data) {
  note_boot_step("entry");
  arch::initialize_boot_cpu();
  start_console();
  start_power();
  const arch::BootInformation& boot = copy_boot_information(protocol, boot_data);
  note_boot_step("boot information");
  set_up_memory(boot);
  note_boot_step("memory");
  run_static_constructors();

  static KernelOptions options = parse_kernel_options(boot.command_line);
  set_console_level(options.console_level);
  random::initialize();
  note_boot_step("options");

  read_firmware(boot.rsdp, firmware);
  set_up_interrupts(firmware);
  note_boot_step("firmware and interrupts");
  arch::initialize_clock({
      .tsc_khz = options.tsc_khz,
      .epoch_ns = options.epoch_ns,
      .acpi_timer_port = firmware.acpi_timer_port,
      .has_cmos_clock = firmware.has_cmos_clock,
      // Before a machine is frozen a look at the clock must be a system call.
      .in_applications = options.freeze == KernelOptions::Freeze::kNo,
  });
  ARIL_LOG_INFO("boot", "clock %.*s", static_cast<int>(arch::clock_source_name().size()),
                arch::clock_source_name().data());

  note_boot_step("clock");

  Scheduler::start_boot_cpu();
  arch::enable_interrupts();
  start_up(*new VirtualMachine{.boot = boot, .options = options, .firmware = firmware});
  Scheduler::finish_boot();
}

}  // namespace aril::platform
