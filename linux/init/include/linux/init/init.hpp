#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/ref_ptr.hpp"
#include "base/result.hpp"
#include "fs/vfs/mount.hpp"
#include "kernel/io/file.hpp"
#include "linux/process/process.hpp"

namespace aril::linux_abi {

/// The first program, as the boot records and the command line say [base/image_abi.hpp].
struct InitConfig {
  vfs::MountTree* mounts = nullptr;      ///< with the root mounted
  std::string executable;                ///< a path in the image
  std::vector<std::string> arguments;    ///< argv; empty: the executable's path alone
  std::vector<std::string> environment;  ///< NAME=VALUE
  std::string working_directory = "/";
  std::string host_name = "aril";
  uint32_t uid = 0, gid = 0;
  std::vector<uint32_t> groups;  ///< supplementary, ascending as setgroups(2) keeps them
  /// Descriptors 0, 1 and 2.
  RefPtr<File> standard_input, standard_output, standard_error;
  bool randomize_addresses = true;  ///< aslr=on
  bool patch_call_sites = true;     ///< patch=on
};

/// Builds the system-call table. Boot CPU, once, before start_init.
void initialize_linux();

/// Makes process 1 and starts its thread, which executes the program. When that cannot be, a report
/// record says why and the exit handler is called with status 127 (no such file) or 126. kNoMem,
/// or the working directory's error. Thread context.
/// Before it: set_init_exit_handler (linux/process/process.hpp), which gets the program's end.
Result<void> start_init(InitConfig config);

/// The first process; null before start_init and after its end. For signals from the host.
RefPtr<Process> init_process();

}  // namespace aril::linux_abi
