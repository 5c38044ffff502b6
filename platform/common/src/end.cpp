#include <atomic>

#include "kernel/log/log.hpp"
#include "platform/common/machine.hpp"

namespace aril::platform {
namespace {

constinit std::atomic<void (*)()> before_end{nullptr};

}  // namespace

void set_before_end(void (*finish)()) { before_end = finish; }

void end_machine(int exit_status) {
  if (auto finish = before_end.exchange(nullptr)) finish();
  write_record("exit %d", exit_status);
  stop_machine(exit_status);
}

}  // namespace aril::platform
