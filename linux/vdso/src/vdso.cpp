#include "linux/vdso/vdso.hpp"

namespace aril::linux_abi {

Result<uint64_t> map_vdso(AddressSpace&) { return 0; }
void update_vdso_clock() {}

}  // namespace aril::linux_abi
