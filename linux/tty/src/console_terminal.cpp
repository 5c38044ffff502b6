#include "linux/stdio/console_terminal.hpp"

#include "base/unique.hpp"
#include "fs/vfs/devices.hpp"
#include "linux/process/family.hpp"
#include "linux/stdio/host_stream.hpp"
#include "linux/tty/pts_directory.hpp"
#include "linux/tty/terminal.hpp"
#include "pty.hpp"

namespace aril::linux_abi {

namespace {

constexpr uint32_t kTtyMajor = 5, kTtyMinor = 0, kConsoleMinor = 1;
constexpr int kInitPid = 1;

/// The host's terminal.
class ConsoleTerminal final : public Terminal {
 public:
  explicit ConsoleTerminal(CharDevice& output)
      : Terminal(vfs::mode::make_device(kTtyMajor, kConsoleMinor)), output_(output) {}

 private:
  Result<size_t> emit(std::span<const std::byte> bytes, Blocking) override {
    ARIL_TRY(output_.write(bytes));
    return bytes.size();
  }
  CharDevice& output_;
};

// Made once, before the first program; they live for ever.
constinit HostInput* g_input = nullptr;
constinit Terminal* g_console = nullptr;

/// Hands what the host types to the line discipline, so that ^C works while nobody reads.
void run_console_input(void*) {
  for (;;) {
    std::byte bytes[256];
    bool at_end = false;
    auto count = g_input->read(bytes, at_end);
    if (at_end) {
      g_console->end(Terminal::End::kInput);
      Thread::exit();
    }
    if (count) {
      g_console->type(std::span(bytes).first(*count));
      continue;
    }
    (void)g_input->queue().wait_until([] { return g_input->is_readable(); }, Instant::never(),
                                      Interruptible::kNo);
  }
}

Result<RefPtr<File>> open_console(const vfs::Path& path, OpenFlags flags) {
  if (g_console == nullptr) return fail(Errno::kIo);
  return ARIL_TRY(try_make_ref<TerminalNodeFile>(path, flags, RefPtr<Terminal>(g_console)));
}

// Null in an image without pseudo-terminals.
constinit RefPtr<Terminal> (*g_find_pseudo_terminal)(int session) = nullptr;

RefPtr<Terminal> find_terminal_of_session(int session) {
  RefPtr<Terminal> terminal =
      g_find_pseudo_terminal != nullptr ? g_find_pseudo_terminal(session) : nullptr;
  if (!terminal && g_console != nullptr && g_console->session() == session)
    terminal = RefPtr<Terminal>(g_console);
  return terminal;
}

/// /dev/tty: the caller's controlling terminal.
Result<RefPtr<File>> open_controlling_terminal(const vfs::Path& path, OpenFlags flags) {
  RefPtr<Terminal> terminal = find_terminal_of_session(current_process().session.load());
  if (!terminal) return fail(Errno::kNxIo);
  return ARIL_TRY(try_make_ref<TerminalNodeFile>(path, flags, std::move(terminal)));
}

Result<void> start_console(const StdioConfig& config, HostInput& input) {
  g_input = &input;
  auto console = ARIL_TRY(try_make_ref<ConsoleTerminal>(*config.output));
  console->set_window({.rows = config.rows, .columns = config.columns});
  console->set_session(kInitPid, kInitPid);
  g_console = console.leak();
  if (!config.terminal_input) return {};
  auto thread = ARIL_TRY(Thread::create("tty", Thread::Kind::kKernel, run_console_input, nullptr));
  thread->start();
  return {};
}

Result<RefPtr<File>> open_console_stream() {
  return ARIL_TRY(try_make_ref<TerminalFile>(RefPtr<Terminal>(g_console), OpenFlags::kReadWrite));
}

void set_window(uint16_t columns, uint16_t rows) {
  if (g_console != nullptr) g_console->set_window({.rows = rows, .columns = columns});
}

void serve() {
  family::set_session_end_handler([](int session) {
    if (RefPtr<Terminal> terminal = find_terminal_of_session(session)) terminal->end_session();
  });
  vfs::register_char_device(kTtyMajor, kConsoleMinor, open_console);
  vfs::register_char_device(kTtyMajor, kTtyMinor, open_controlling_terminal);
}

}  // namespace

void serve_pseudo_terminals() {
  register_pseudo_terminals();
  g_find_pseudo_terminal = &find_pseudo_terminal_of_session;
}

}  // namespace aril::linux_abi

extern constinit const aril::linux_abi::ConsoleTerminalOperations aril_console_terminal = {
    .start = &aril::linux_abi::start_console,
    .open = &aril::linux_abi::open_console_stream,
    .set_window = &aril::linux_abi::set_window,
    .serve = &aril::linux_abi::serve,
};
