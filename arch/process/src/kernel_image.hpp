#pragma once
#include <cstddef>
#include <cstdint>

namespace aril::arch {

/// ProcessKernel (base/process_abi.hpp) with pointers for its addresses, as constant initialisation
/// needs them, behind the header of an ELF note.
struct KernelNote {
  uint32_t owner_size, content_size, type;
  char owner[8];
  uint32_t padding;
  struct {
    uint32_t version, size;
    void (*entry)();
    void (*secondary_entry)();
    void (*signal_handler)();
    void (*signal_return)();
    const void *gate_start, *gate_end;
    const void* signal_stacks;
    uint64_t signal_stack_size;
    const void* start_stacks;
    uint64_t start_stack_size;
    void* cpu_blocks;
    uint64_t cpu_block_size;
  } kernel;
};

}  // namespace aril::arch
