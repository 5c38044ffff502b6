#include "platform/common/control_line.hpp"

#include <array>
#include <new>

#include "kernel/log/log.hpp"
#include "kernel/sched/thread.hpp"
#include "kernel/sched/wait_queue.hpp"
#include "linux/init/init.hpp"
#include "linux/signal/signal.hpp"
#include "linux/stdio/stdio.hpp"

namespace aril::platform {
namespace {

constexpr const char* kComponent = "control line";

/// Collects lines. One thread reads; the interrupt only wakes it.
class LineReader {
 public:
  explicit LineReader(CharDevice& line) : device_(line) {
    line.set_receive_callback(
        [](void* reader) { static_cast<LineReader*>(reader)->queue_.wake_all(); }, this);
  }

  /// Waits for the next line; its text is valid until the next call. Lines too long for any
  /// command come cut.
  std::string_view next() {
    length_ = 0;
    for (;;) {
      if (taken_ == filled_) fill();
      char c = static_cast<char>(buffer_[taken_++]);
      if (c == '\n' || c == '\r') {
        if (length_ != 0) return {line_.data(), length_};
      } else if (length_ < line_.size()) {
        line_[length_++] = c;
      }
    }
  }

 private:
  void fill() {
    taken_ = 0;
    auto arrived = [this] {
      filled_ = device_.read_available(buffer_);
      return filled_ != 0;
    };
    static_cast<void>(queue_.wait_until(arrived, Instant::never(), Interruptible::kNo));
  }

  CharDevice& device_;
  WaitQueue queue_;
  std::array<std::byte, 64> buffer_;
  size_t taken_ = 0, filled_ = 0;
  std::array<char, 80> line_;
  size_t length_ = 0;
};

void obey(const SignalCommand& command) {
  if (RefPtr<linux_abi::Process> process = linux_abi::init_process())
    linux_abi::send_kernel_signal(*process, command.number);
}
void obey(const EndOfInputCommand& command) { linux_abi::end_standard_input(command.count); }
void obey(const WindowCommand& command) {
  linux_abi::set_console_window(command.columns, command.rows);
}

void run(void* argument) {
  auto& reader = *static_cast<LineReader*>(argument);
  for (;;) {
    std::string_view line = reader.next();
    if (auto command = parse_control_command(line)) {
      std::visit([](const auto& known) { obey(known); }, *command);
    } else {
      ARIL_LOG_WARNING(kComponent, "not a command: %.*s", static_cast<int>(line.size()),
                       line.data());
    }
  }
}

}  // namespace

void start_control_line(CharDevice& line) {
  // As long as the machine; on the heap, because the interrupt handler knows it.
  auto* reader = new (std::nothrow) LineReader(line);
  auto thread = Thread::create("control", Thread::Kind::kKernel, &run, reader);
  if (reader == nullptr || !thread)
    panic("no memory for the control line: give the machine more (--memory)");
  (*thread)->start();
}

}  // namespace aril::platform
