#pragma once
#include <cstdint>

#include "base/result.hpp"
#include "kernel/vm/address_space.hpp"

namespace aril::linux_abi {

/// Maps the vDSO and its data page; the address of its ELF header, for AT_SYSINFO_EHDR. Null in an
/// image without one, as are the others.
[[gnu::weak]] Result<uint64_t> map_vdso(AddressSpace& space);

/// Writes the clock's present scale and wall-clock offset to the data page. At start-up, when the
/// clock is refined, and when the application sets the time. Thread context.
[[gnu::weak]] void update_vdso_clock();

/// Does so if the vDSO still sends its callers to the kernel and need not any more: the clock's
/// rate has become final. Cheap; called when the time is asked of the kernel.
[[gnu::weak]] void refresh_vdso_clock();

}  // namespace aril::linux_abi
