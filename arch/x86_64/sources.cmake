# Paths are relative to arch/.
set(ARIL_ARCH_X86_64_SOURCES
  x86_64/src/boot.S
  x86_64/src/boot_information.cpp
  x86_64/src/clock.cpp
  x86_64/src/clock_sources.cpp
  x86_64/src/context.cpp
  x86_64/src/cpu.cpp
  x86_64/src/cpu_info.cpp
  x86_64/src/descriptor_tables.cpp
  x86_64/src/direct_map.cpp
  x86_64/src/entry.S
  x86_64/src/interrupts.cpp
  x86_64/src/local_apic.cpp
  x86_64/src/page_table.cpp
  x86_64/src/secondary_cpu.cpp
  x86_64/src/timer.cpp
  x86_64/src/tlb.cpp
  x86_64/src/trampoline.S
  x86_64/src/trap.cpp
  x86_64/src/user_access.S
)
# Free of privileged instructions: also built for unit tests.
set(ARIL_ARCH_HOST_SHARED_SOURCES
  x86_64/src/cpu_info.cpp
  x86_64/src/page_table.cpp
)
