#include "control.hpp"

#include <atomic>
#include <optional>

#include "arch/host_events.hpp"
#include "kernel/log/log.hpp"
#include "kernel/sched/thread.hpp"
#include "kernel/sched/wait_queue.hpp"
#include "linux/init/init.hpp"
#include "linux/signal/signal.hpp"
#include "linux/stdio/stdio.hpp"

namespace aril::platform {
namespace {

constinit std::atomic<uint64_t> signals{0};
/// The bytes before the end of the input, plus 1; 0: it has not ended, or that has been said.
constinit std::atomic<uint64_t> input_end{0};

// On the heap: interrupt handlers know it, and the thread never ends.
WaitQueue* news = nullptr;

void run(void*) {
  for (;;) {
    static_cast<void>(news->wait_until([] { return signals != 0 || input_end != 0; },
                                       Instant::never(), Interruptible::kNo));
    if (uint64_t end = input_end.exchange(0)) linux_abi::end_standard_input(end - 1);
    uint64_t pending = signals.exchange(0);
    for (int number = 1; number < 64; ++number) {
      if ((pending >> number & 1) == 0) continue;
      if (RefPtr<linux_abi::Process> process = linux_abi::init_process())
        linux_abi::send_kernel_signal(*process, number);
    }
  }
}

void on_host_signal(int number) {
  signals |= uint64_t{1} << number;
  news->wake_all();
}

}  // namespace

void end_input(uint64_t count) {
  input_end = count + 1;
  if (news != nullptr) news->wake_all();
}

void start_control() {
  news = new WaitQueue;
  arch::set_signal_handler(&on_host_signal);
  auto thread = Thread::create("control", Thread::Kind::kKernel, &run, nullptr);
  if (!thread) panic("no memory for the control thread: give the machine more (--memory)");
  (*thread)->start();
}

}  // namespace aril::platform
