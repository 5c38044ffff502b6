#pragma once
#include <atomic>

#include "fs/vfs/open_file.hpp"
#include "kernel/io/file.hpp"
#include "kernel/sched/mutex.hpp"
#include "linux/tty/line_discipline.hpp"

namespace aril::linux_abi {

/// struct winsize.
struct WindowSize {
  uint16_t rows = 24, columns = 80;
  uint16_t x_pixels = 0, y_pixels = 0;
};

/// A terminal: a line discipline, a window, a foreground process group, and something that shows
/// output (the host's console, or the master of a pseudo-terminal). Any thread; output never runs
/// under the input's lock.
class Terminal : public RefCounted {
 public:
  explicit Terminal(uint64_t device) : device_(device) {}
  virtual ~Terminal();

  /// Typed bytes. Echo and signals follow before it returns. Thread context.
  void type(std::span<const std::byte> bytes);
  /// Nobody will type any more: reads end, and with `kHangUp` writes fail.
  enum class End : uint8_t { kInput, kHangUp };
  void end(End how);

  enum class Blocking : uint8_t { kNo, kYes };
  Result<size_t> read(IoBuffer& buffer, Blocking blocking);
  Result<size_t> write(IoBuffer& buffer, Blocking blocking);
  PollEvents poll(PollRegistrar* registrar);
  Result<int64_t> ioctl(uint32_t request, uint64_t argument);
  void set_window(const WindowSize& window);
  [[nodiscard]] uint64_t device() const { return device_; }
  [[nodiscard]] int session() const { return session_.load(std::memory_order_relaxed); }
  /// Its session's leader has ended: nobody's terminal any more, and the foreground group is told.
  void end_session();
  void set_session(int session, int group) {
    session_.store(session, std::memory_order_relaxed);
    foreground_.store(group, std::memory_order_relaxed);
  }

 protected:
  /// Shows bytes; at least one, or kAgain when none can be without waiting.
  virtual Result<size_t> emit(std::span<const std::byte> bytes, Blocking blocking) = 0;
  [[nodiscard]] virtual bool can_emit() { return true; }
  [[nodiscard]] bool has_hung_up() const { return hung_up_.load(std::memory_order_acquire); }
  void notify_writers() { queue_.wake_all(std::to_underlying(kWritable)); }

 private:
  /// What a background process that uses its own terminal gets [termios(3), setpgid(2)]: its group
  /// the signal and it kRestart; kIo when nothing could continue it; nothing when it blocks or
  /// ignores the signal (kSigTtou).
  Result<void> check_foreground(int signal);
  Result<void> wait_readable(size_t wanted, Blocking blocking);
  Result<int64_t> set_termios(uint64_t argument, bool flush);
  void change_termios(Termios settings, bool flush);
  Result<int64_t> old_termios(uint32_t request, uint64_t argument);
  Result<int64_t> take_control();
  void send_signal_to_foreground(int number);

  const uint64_t device_;
  Mutex mutex_{LockRank::kSocket};  // the discipline and the window
  LineDiscipline discipline_;
  WindowSize window_;
  Termios locked_{};  // set bits do not change [TIOCSLCKTRMIOS]
  bool input_ended_ = false;
  std::atomic<bool> hung_up_{false};
  std::atomic<int> session_{0}, foreground_{0};
  Mutex output_mutex_{LockRank::kConsole};
  WaitQueue queue_;
};

/// An open terminal.
class TerminalFile final : public File {
 public:
  TerminalFile(RefPtr<Terminal> terminal, OpenFlags flags)
      : File(flags), terminal_(std::move(terminal)) {}
  Result<size_t> read(IoBuffer& buffer) override { return terminal_->read(buffer, blocking()); }
  Result<size_t> write(IoBuffer& buffer) override { return terminal_->write(buffer, blocking()); }
  PollEvents poll(PollRegistrar* registrar) override { return terminal_->poll(registrar); }
  [[nodiscard]] bool is_pollable() const override { return true; }
  Result<int64_t> ioctl(uint32_t request, uint64_t argument) override {
    return terminal_->ioctl(request, argument);
  }
  Result<FileStatus> status() override;
  [[nodiscard]] std::string description() const override { return "/dev/console"; }

 private:
  [[nodiscard]] Terminal::Blocking blocking() const {
    return is_nonblocking() ? Terminal::Blocking::kNo : Terminal::Blocking::kYes;
  }
  RefPtr<Terminal> terminal_;
};

/// The same, opened through its node in /dev.
class TerminalNodeFile : public vfs::NodeFile {
 public:
  TerminalNodeFile(vfs::Path path, OpenFlags flags, RefPtr<Terminal> terminal)
      : NodeFile(std::move(path), flags), terminal_(std::move(terminal)) {}
  Result<size_t> read(IoBuffer& buffer) override { return terminal_->read(buffer, blocking()); }
  Result<size_t> write(IoBuffer& buffer) override { return terminal_->write(buffer, blocking()); }
  PollEvents poll(PollRegistrar* registrar) override { return terminal_->poll(registrar); }
  [[nodiscard]] bool is_pollable() const override { return true; }
  Result<int64_t> ioctl(uint32_t request, uint64_t argument) override {
    return terminal_->ioctl(request, argument);
  }

 private:
  [[nodiscard]] Terminal::Blocking blocking() const {
    return is_nonblocking() ? Terminal::Blocking::kNo : Terminal::Blocking::kYes;
  }
  RefPtr<Terminal> terminal_;
};

}  // namespace aril::linux_abi
