#include <span>

#include "arch/host_calls.hpp"
#include "arch/startup.hpp"
#include "console.hpp"
#include "kernel/log/log.hpp"
#include "kernel/memory/fresh_memory.hpp"
#include "kernel/memory/page_allocator.hpp"
#include "kernel/random/random.hpp"
#include "kernel/sched/scheduler.hpp"
#include "linux/abi/names.hpp"
#include "platform/common/boot_part.hpp"
#include "platform/common/boot_timing.hpp"

// The composition root where the machine is a process of a Linux host: from entry.S to the program.
extern "C" {
using Constructor = void (*)();
extern const Constructor aril_init_array_start[], aril_init_array_end[];
}

namespace aril::platform {
namespace {

/// Constructors of static objects that could not be constant-initialised: none of the kernel's own
/// should be, but the language allows it.
void run_static_constructors() {
  for (auto constructor = aril_init_array_start; constructor != aril_init_array_end; ++constructor)
    (*constructor)();
}

/// Physical memory, and the page tables, which the host's mappings are filled from.
void set_up_memory(const ProcessBoot& boot) {
  const PhysicalRange memory{0, boot.memory_size};
  page_allocator::expect_zeroed_memory();  // a memfd
  // The root's pages are used in place, and stand in the frame table for that; they are the host's
  // file, and cannot be written to.
  const PhysicalRange root{kRootPhysical, kRootPhysical + align_down(boot.root_size, kPageSize)};
  const PhysicalRange usable[] = {memory, root};
  page_allocator::initialize(boot.root_size != 0 ? std::span(usable) : std::span(usable).first(1),
                             {&root, 1});
  auto tables = page_allocator::allocate_block(0, page_allocator::Fill::kZero);
  if (!tables) panic("too little memory: give the instance more (--memory)");
  arch::PageTable::set_kernel_root(*tables);
}

void start_cpus(Boot&) {
  for (unsigned cpu = 1; cpu < arch::boot_information().cpu_count; ++cpu)
    arch::start_cpu(cpu, [] { Scheduler::run_secondary_cpu(); });
}
ARIL_BOOT_PART(100, cpus, start_cpus);

}  // namespace

extern "C" [[noreturn]] void aril_kernel_main(const ProcessBoot* given) {
  note_boot_step("entry");
  start_console();
  if (linux_abi::system_call_name != nullptr) arch::set_call_names(&linux_abi::system_call_name);
  set_machine_stop([](int exit_status) { arch::host_exit(exit_status); });
  if (const char* reason = arch::initialize_boot_cpu(*given)) panic("%s", reason);
  const ProcessBoot& boot = arch::boot_information();
  use_control_line(boot.control_descriptor);
  arch::forget_tender();
  arch::initialize_clock();
  note_boot_step("the tender's memory");
  set_up_memory(boot);
  note_boot_step("memory");
  run_static_constructors();

  std::string_view command_line(boot.command_line, boot.command_line_size);
  static KernelOptions options = parse_kernel_options(command_line);
  set_console_level(options.console_level);
  random::initialize();
  random::add_entropy(std::as_bytes(std::span(boot.random_seed)), 8 * sizeof boot.random_seed);

  Scheduler::start_boot_cpu();
  arch::enable_interrupts();
  auto& machine = *new Machine{
      .command_line = command_line,
      .options = options,
      .ram_root = {arch::physical_to_virtual(kRootPhysical), boot.root_size},
  };
  run_boot_parts(machine);
  Scheduler::finish_boot();
}

}  // namespace aril::platform
