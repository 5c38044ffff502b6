#include "console.hpp"

#include <array>
#include <cstring>
#include <string_view>

#include "arch/host_calls.hpp"
#include "base/image_abi.hpp"
#include "kernel/log/log.hpp"

namespace aril::platform {
namespace {

constexpr int kStandardError = 2;
constexpr short kWritable = 4;
constinit int control_descriptor = -1;

/// What becomes of a line; empty: nothing.
std::string_view for_the_user(std::string_view line) {
  if (!line.starts_with(kRecordMark)) return line;
  line.remove_prefix(std::min<size_t>(line.size(), 2));
  for (std::string_view kind : {"report ", "strace "}) {
    if (line.starts_with(kind)) return line.substr(kind.size());
  }
  if (line.starts_with("boot ")) return line;
  return {};
}

/// Collects what the log writes in pieces, and gives the host whole lines. The log's lock guards
/// it.
class LineWriter {
 public:
  void write(std::string_view text) {
    for (char c : text) {
      if (length_ < buffer_.size()) buffer_[length_++] = c;
      if (c == '\n') end_line();
    }
  }

 private:
  void end_line() {
    buffer_[length_ - 1] = '\n';  // a line too long for the buffer ends all the same
    const bool to_aril = control_descriptor >= 0;
    const int descriptor = to_aril ? control_descriptor : kStandardError;
    std::string_view line(buffer_.data(), length_);
    if (!to_aril) line = for_the_user(line);
    length_ = 0;
    if (line.empty()) return;
    const arch::HostVector piece{const_cast<char*>(line.data()), line.size()};
    // A console that is full or gone must not stop the kernel.
    if (arch::host_is_ready(descriptor, kWritable))
      static_cast<void>(arch::host_write(descriptor, {&piece, 1}));
  }

  std::array<char, 1200> buffer_{};
  size_t length_ = 0;
};
constinit LineWriter writer;

}  // namespace

void use_control_line(int descriptor) { control_descriptor = descriptor; }

void start_console() {
  set_console_writer([](std::string_view text) { writer.write(text); });
}

}  // namespace aril::platform
