#include "base/units.hpp"
#include "drivers/pci/pci.hpp"

namespace aril::pci {

Result<PhysicalAddress> MemoryWindow::allocate(uint64_t size) {
  // Whole pages, so that no two devices share one.
  if (size < kPageSize) size = kPageSize;
  if (next_ == 0 || next_ > ~size) return fail(Errno::kNoSpc);
  PhysicalAddress start = align_up(next_, size);
  if (start < next_ || start >= end_ || end_ - start < size) return fail(Errno::kNoSpc);
  next_ = start + size;
  return start;
}

}  // namespace aril::pci
