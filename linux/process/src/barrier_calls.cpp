#include "arch/layout.hpp"
#include "arch/page_table.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/process/process.hpp"

/// membarrier(2).
namespace aril::linux_abi {
namespace {

// [linux/membarrier.h]
constexpr int kQuery = 0, kGlobal = 1, kGlobalExpedited = 2, kRegisterGlobalExpedited = 4,
              kPrivateExpedited = 8, kRegisterPrivateExpedited = 16, kSyncCore = 32,
              kRegisterSyncCore = 64;
constexpr int kCommands = kGlobal | kGlobalExpedited | kRegisterGlobalExpedited |
                          kPrivateExpedited | kRegisterPrivateExpedited | kSyncCore |
                          kRegisterSyncCore;

// An interprocessor interrupt that is waited for is a full barrier on every CPU; and the IRET at
// its end serialises instruction fetch there.
void barrier_on_all_cpus() {
  arch::flush_tlb(arch::kApplicationBottom, arch::kApplicationBottom + 1);
}

Result<void> expedited(Process& process, uint32_t registration) {
  if ((process.barrier_registrations.load() & registration) == 0) return fail(Errno::kPerm);
  barrier_on_all_cpus();
  return {};
}

Result<int64_t> sys_membarrier(int command, uint32_t flags) {
  if (flags != 0) return fail(Errno::kInval);
  Process& process = current_process();
  switch (command) {
    case kQuery:
      return kCommands;
    case kRegisterGlobalExpedited:
    case kRegisterPrivateExpedited:
    case kRegisterSyncCore:
      process.barrier_registrations.fetch_or(static_cast<uint32_t>(command));
      return 0;
    case kGlobal:
    case kGlobalExpedited:
      barrier_on_all_cpus();
      return 0;
    case kPrivateExpedited:
      ARIL_TRY(expedited(process, kRegisterPrivateExpedited));
      return 0;
    case kSyncCore:
      ARIL_TRY(expedited(process, kRegisterSyncCore));
      return 0;
    default:
      return fail(Errno::kInval);
  }
}
ARIL_SYSCALL(324, membarrier, sys_membarrier, "int hex");

}  // namespace
}  // namespace aril::linux_abi
