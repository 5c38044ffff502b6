#pragma once
#include "arch/layout.hpp"
#include "arch/page_table.hpp"
#include "base/units.hpp"
#include "kernel/memory/fresh_memory.hpp"
#include "kernel/memory/page_allocator.hpp"

namespace aril {

/// Gives the page allocator the first 64 MiB of the simulated RAM, with a hole and a reserved
/// piece, and makes the kernel's page-table tree. Once per process.
inline void initialize_host_memory() {
  static bool done = false;
  if (done) return;
  done = true;
  const PhysicalRange usable[] = {{0, 640 * kKiB}, {1 * kMiB, 30 * kMiB}, {40 * kMiB, 64 * kMiB}};
  const PhysicalRange reserved[] = {{1 * kMiB, 3 * kMiB + 100}};
  page_allocator::expect_zeroed_memory();
  page_allocator::initialize(usable, reserved);
  arch::PageTable::set_kernel_root(*arch::allocate_table_page());
}

}  // namespace aril
