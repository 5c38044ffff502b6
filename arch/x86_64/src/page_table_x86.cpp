#include "arch/page_table.hpp"

namespace aril::arch {

void PageTable::activate() {
  // [SDM 3A 4.10.4.1]: a write to CR3 drops all translations but the global ones. "memory":
  // accesses through the old tree must not move behind it.
  asm volatile("movq %0, %%cr3" : : "r"(root_) : "memory");
}

}  // namespace aril::arch
