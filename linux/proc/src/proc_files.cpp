#include "linux/proc/proc_files.hpp"

namespace aril::linux_abi {

// The bounds that the linker gives to the section that ARIL_PROC_FILES fills.
extern "C" const AddProcFiles __start_aril_proc_files[], __stop_aril_proc_files[];

void add_registered_proc_files(procfs::Procfs& procfs) {
  for (const AddProcFiles* add = __start_aril_proc_files; add != __stop_aril_proc_files; ++add)
    (*add)(procfs);
}

}  // namespace aril::linux_abi
