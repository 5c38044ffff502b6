#include <sys/auxv.h>
#include <sys/random.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "clock.hpp"
#include "confinement.hpp"
#include "cpus.hpp"
#include "error.hpp"
#include "filter.hpp"
#include "kernel_file.hpp"
#include "options.hpp"
#include "policy.hpp"
#include "resources.hpp"
#include "tender.hpp"

// The tender: opens what an instance may use, gives up everything else, and becomes the instance
// (base/process_abi.hpp).
namespace aril::tender {
namespace {

// Static: it must outlive this function's stack frame for as long as the kernel copies it.
ProcessBoot boot{};

void check_host() {
  constexpr unsigned long kFsGsBase = 2;  // [linux/arch/x86/include/uapi/asm/hwcap2.h]
  if ((getauxval(AT_HWCAP2) & kFsGsBase) == 0)
    die("this host does not let processes set FS and GS bases (FSGSBASE, Linux 5.9)");
}

}  // namespace

void become_instance(const Options& options, const ClockMeter& clock) {
  check_host();
  if (options.memory == 0 || options.memory > kRootPhysical)
    die("--memory: an instance has up to 512 GiB");
  if (options.cpus == 0 || options.cpus > kProcessMaxCpus)
    die("--cpus: an instance has 1 to " + std::to_string(kProcessMaxCpus));
  if (options.disks.size() > kProcessMaxDisks)
    die("--disk: an instance has at most " + std::to_string(kProcessMaxDisks));
  if (options.volumes.size() > kProcessMaxVolumes)
    die("--volume: an instance has at most " + std::to_string(kProcessMaxVolumes));
  if (options.command_line.size() >= sizeof boot.command_line)
    die("the kernel's command line is too long");
  boot.version = kProcessAbiVersion;
  boot.size = sizeof boot;
  boot.cpu_count = options.cpus;
  boot.command_line_size = static_cast<uint32_t>(options.command_line.size());
  std::memcpy(boot.command_line, options.command_line.data(), options.command_line.size());
  check(getrandom(boot.random_seed, sizeof boot.random_seed, 0), "getrandom");

  static const ProcessKernel kernel = load_kernel(options.kernel);
  open_resources(options, boot);
  clock.describe(boot);
  give_up_privileges();
  direct_signals(kernel);
  make_cpus(kernel, boot);
  const auto filter = compile(policy(boot), {kernel.gate_start, kernel.gate_end});
  install_filter(filter);
  enter_kernel(kernel, boot);
}

void die(const std::string& what, int error) {
  constexpr int kStatus = 125;
  std::fprintf(stderr, "aril: %s%s%s\n", what.c_str(), error != 0 ? ": " : "",
               error != 0 ? std::strerror(error) : "");
  _exit(kStatus);
}

}  // namespace aril::tender
