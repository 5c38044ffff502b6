#include "relay/relay.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <format>

#include "support/error.hpp"
#include "support/text.hpp"

namespace aril::tool {

namespace {

constexpr auto kTerminationGrace = std::chrono::seconds(10);
/// How long a machine may take to power off once the program has ended.
constexpr auto kPowerOffGrace = std::chrono::seconds(5);
constexpr int kInterruptsThatKill = 3;
/// What the kernel ends with after a panic, too.
constexpr int kPanicStatus = 255;
/// A pipe that polls as writable takes this much without blocking (pipe(7)).
constexpr size_t kPipeUnit = 4096;
constexpr size_t kMessageLimit = 16384;

constexpr std::array kForwarded = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH};

sigset_t forwarded_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : kForwarded) sigaddset(&set, signal);
  return set;
}

bool would_block() { return errno == EAGAIN || errno == EINTR; }

}  // namespace

void block_forwarded_signals() {
  const sigset_t set = forwarded_signals();
  sigprocmask(SIG_BLOCK, &set, nullptr);
}

Relay::Relay(MachineProcess& machine, Symbolizer& symbolizer, Verbosity verbosity,
             Terminals terminals, MachineWatch::Questions questions)
    : machine_(machine),
      symbolizer_(symbolizer),
      verbosity_(verbosity),
      terminal_(terminals == Terminals::kYes),
      watch_(Clock::now(), questions) {
  const sigset_t set = forwarded_signals();
  signals_ = Descriptor(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  input_ = {.source = STDIN_FILENO, .target = machine.console.get()};
  output_ = {.source = machine.console.get(), .target = STDOUT_FILENO};
  error_ = {.source = machine.error.get(), .target = STDERR_FILENO};
  if (fcntl(STDIN_FILENO, F_GETFD) < 0) end_input();
  watch_input_ = !stdin_is_in_background();
}

int Relay::run() {
  while (!finished_) poll_once();
  drain();
  return result();
}

int Relay::poll_timeout() const {
  auto next = deadline_;
  if (const auto tick = watch_.next_tick(); tick && (!next || *tick < *next)) next = tick;
  if (!next) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(*next - Clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, 60'000));
}

void Relay::poll_once() {
  enum Slot {
    kSignals,
    kProcess,
    kControl,
    kMonitor,
    kMessages,
    kConsole,
    kError,
    kInput,
    kOutput,
    kErrorOutput,
    kSlots
  };
  std::array<pollfd, kSlots> polled;
  polled[kSignals] = {signals_.get(), POLLIN, 0};
  polled[kProcess] = {machine_.process.pidfd(), POLLIN, 0};
  polled[kControl] = {machine_.control.get(),
                      static_cast<short>(POLLIN | (commands_.empty() ? 0 : POLLOUT)), 0};
  polled[kMonitor] = {machine_.monitor.get(),
                      static_cast<short>(POLLIN | (watch_.output().empty() ? 0 : POLLOUT)), 0};
  polled[kMessages] = {machine_.messages.get(), POLLIN, 0};
  const bool console_reads = output_.idle() && output_.source >= 0;
  polled[kConsole] = {
      console_reads || !input_.idle() ? machine_.console.get() : -1,
      static_cast<short>((console_reads ? POLLIN : 0) | (input_.idle() ? 0 : POLLOUT)), 0};
  polled[kError] = {error_.idle() ? error_.source : -1, POLLIN, 0};
  polled[kInput] = {input_.idle() && watch_input_ ? input_.source : -1, POLLIN, 0};
  polled[kOutput] = {output_.idle() ? -1 : STDOUT_FILENO, POLLOUT, 0};
  polled[kErrorOutput] = {error_.idle() ? -1 : STDERR_FILENO, POLLOUT, 0};

  if (poll(polled.data(), polled.size(), poll_timeout()) < 0 && errno != EINTR) {
    fail_with_errno("poll", errno);
  }
  if (deadline_ && Clock::now() >= *deadline_) end_machine(deadline_signal_);
  if (polled[kSignals].revents != 0) read_signals();
  if (polled[kMessages].revents != 0) read_messages();
  if (polled[kConsole].revents != 0 && console_reads) pull(output_);
  if ((polled[kConsole].revents & POLLOUT) != 0) push(input_, SIZE_MAX);
  if (polled[kError].revents != 0) pull(error_);
  if (polled[kInput].revents != 0) read_input();
  if (polled[kOutput].revents != 0) push(output_, kPipeUnit);
  if (polled[kErrorOutput].revents != 0) push(error_, kPipeUnit);
  if (polled[kControl].revents != 0) {
    read_control();
    write_commands();
  }
  watch_.tick(Clock::now());
  // After the control line: the program's status comes before the machine's end.
  if (polled[kMonitor].revents != 0) exchange_with_monitor();
  if (polled[kProcess].revents != 0) finished_ = true;
}

/// False at the end of the source.
bool Relay::pull(Stream& stream) {
  if (stream.source < 0) return false;
  std::array<char, 65536> buffer;
  const ssize_t count = read(stream.source, buffer.data(), buffer.size());
  if (count > 0) {
    stream.pending.append(buffer.data(), static_cast<size_t>(count));
    return true;
  }
  if (count < 0 && would_block()) return true;
  stream.source = -1;
  return false;
}

void Relay::push(Stream& stream, size_t limit) {
  const size_t count = std::min(stream.pending.size() - stream.written, limit);
  const ssize_t done = write(stream.target, stream.pending.data() + stream.written, count);
  if (done < 0 && would_block()) return;
  if (done < 0) {
    stream.pending.clear();  // nobody listens there any more
    stream.written = 0;
    return;
  }
  stream.written += static_cast<size_t>(done);
  if (stream.written < stream.pending.size()) return;
  stream.pending.clear();
  stream.written = 0;
}

void Relay::read_input() {
  if (!pull(input_)) {
    end_input();
    return;
  }
  input_count_ += input_.pending.size();
  if (terminal_.active()) watch_for_interrupts(input_.pending);
}

void Relay::end_input() {
  input_.source = -1;
  if (input_ended_) return;
  input_ended_ = true;
  send_command(std::format("eof {}", input_count_));
}

/// In raw mode Ctrl-C is a byte for the guest's terminal. When the guest does not answer it any
/// more, the third one in a row ends the machine.
void Relay::watch_for_interrupts(std::string_view typed) {
  constexpr char kControlC = 3;
  for (const char c : typed) typed_interrupts_ = c == kControlC ? typed_interrupts_ + 1 : 0;
  if (typed_interrupts_ >= kInterruptsThatKill) end_machine(SIGINT);
}

void Relay::read_signals() {
  signalfd_siginfo info = {};
  while (read(signals_.get(), &info, sizeof info) == sizeof info) {
    const int signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGWINCH) {
      if (const auto size = terminal_size()) {
        send_command(std::format("winsize {} {}", size->first, size->second));
      }
      continue;
    }
    if (signal == SIGINT && ++interrupts_ >= kInterruptsThatKill) {
      end_machine(signal);
      continue;
    }
    if (signal == SIGTERM && !deadline_) {
      deadline_ = Clock::now() + kTerminationGrace;
      deadline_signal_ = SIGTERM;
    }
    send_command(std::format("signal {}", signal));
  }
}

void Relay::send_command(const std::string& command) { commands_ += command + "\n"; }

/// False when nothing was there.
bool Relay::read_control() {
  std::array<char, 65536> buffer;
  const ssize_t count = read(machine_.control.get(), buffer.data(), buffer.size());
  if (count <= 0) return false;
  for (const auto& record : control_.feed({buffer.data(), static_cast<size_t>(count)})) {
    handle(record);
  }
  return true;
}

void Relay::write_commands() {
  if (commands_.empty()) return;
  const ssize_t written = write(machine_.control.get(), commands_.data(), commands_.size());
  if (written > 0) commands_.erase(0, static_cast<size_t>(written));
  if (written < 0 && !would_block()) commands_.clear();
}

void Relay::exchange_with_monitor() {
  std::array<char, 65536> buffer;
  const ssize_t count = read(machine_.monitor.get(), buffer.data(), buffer.size());
  if (count > 0) {
    const bool had_stopped = watch_.has_stopped();
    watch_.feed({buffer.data(), static_cast<size_t>(count)}, Clock::now());
    if (watch_.has_stopped() && !had_stopped) {
      while (read_control()) {}
    }
  }
  if (const auto& verdict = watch_.verdict(); verdict && !quit_sent_ && !exit_status_) {
    for (const std::string& line : *verdict) show(symbolizer_.annotate(line));
    exit_status_ = kPanicStatus;
  }
  if (exit_status_ && !quit_sent_ && (watch_.has_stopped() || watch_.verdict())) {
    watch_.quit();
    quit_sent_ = true;
    deadline_ = Clock::now() + kPowerOffGrace;
  }
  std::string& output = watch_.output();
  if (output.empty()) return;
  // QEMU may have gone.
  const ssize_t written = send(machine_.monitor.get(), output.data(), output.size(), MSG_NOSIGNAL);
  if (written > 0) output.erase(0, static_cast<size_t>(written));
  if (written < 0 && !would_block()) output.clear();
}

void Relay::read_messages() {
  std::array<char, 4096> buffer;
  const ssize_t count = read(machine_.messages.get(), buffer.data(), buffer.size());
  if (count > 0 && messages_.size() < kMessageLimit) {
    messages_.append(buffer.data(), static_cast<size_t>(count));
  }
}

void Relay::handle(const ControlRecord& record) {
  switch (record.kind) {
    case ControlRecord::Kind::kExit:
      exit_status_ = static_cast<int>(record.number);
      deadline_ = Clock::now() + kPowerOffGrace;
      break;
    case ControlRecord::Kind::kReport:
      show(symbolizer_.annotate(record.text));
      break;
    case ControlRecord::Kind::kStrace:
      if (calls_ != nullptr) {
        // "[12] openat(AT_FDCWD, ..."
        const std::string text = record.text.substr(0, record.text.find('('));
        calls_->insert(text.substr(text.rfind(' ') + 1));
      }
      if (show_calls_) show(record.text);
      break;
    case ControlRecord::Kind::kBoot:
      show_boot_step(record);
      break;
    case ControlRecord::Kind::kListening:
      if (verbosity_ == Verbosity::kKernelLog)
        show(std::format("listening on port {}", record.number));
      break;
    case ControlRecord::Kind::kLog:
      if (verbosity_ == Verbosity::kKernelLog) show(record.text);
      break;
  }
}

void Relay::show_boot_step(const ControlRecord& record) {
  if (boot_time_ == 0) show("    since entry    for this step (microseconds)");
  show(std::format("boot: {:>9} {:>9}   {}", record.number,
                   record.number - std::min(boot_time_, record.number), record.text));
  boot_time_ = std::max<uint64_t>(record.number, 1);
}

/// A line of ours or of the kernel's: after what the program has written to stderr so far.
void Relay::show(const std::string& text) {
  error_.pending += text;
  error_.pending += terminal_.active() ? "\r\n" : "\n";
}

void Relay::end_machine(int signal) {
  if (!exit_status_) killed_by_ = signal;
  machine_.process.kill(SIGKILL);
  deadline_.reset();
}

/// The machine is gone; what it had written is still in the sockets.
void Relay::drain() {
  for (Stream* stream : {&output_, &error_}) {
    while (!stream->idle()) {
      pollfd ready = {stream->target, POLLOUT, 0};
      poll(&ready, 1, -1);
      push(*stream, kPipeUnit);
    }
  }
  const auto drain_stream = [](Stream& stream) {
    for (std::array<char, 65536> buffer; stream.source >= 0;) {
      const ssize_t count = read(stream.source, buffer.data(), buffer.size());
      if (count <= 0 && !(count < 0 && errno == EINTR)) return;
      if (count > 0) {
        write_all(stream.target, bytes_of({buffer.data(), static_cast<size_t>(count)}), "output");
      }
    }
  };
  drain_stream(output_);
  drain_stream(error_);
  while (read_control()) {}
  for (const auto& record : control_.finish()) handle(record);
  read_messages();
  if (!error_.pending.empty()) {
    write_all(STDERR_FILENO, bytes_of(error_.pending), "stderr");
    error_.pending.clear();
  }
}

int Relay::result() {
  const int status = machine_.process.wait().value_or(0);
  if (exit_status_) return *exit_status_;
  if (killed_by_) return 128 + *killed_by_;
  const std::string messages(trim(messages_));
  if (!messages.empty()) {
    std::string line = split(messages, '\n').front();
    throw Error(std::format("QEMU: {}", line),
                messages.contains('\n') ? messages.substr(line.size() + 1) : std::string());
  }
  if (WIFSIGNALED(status)) {
    throw Error(std::format("{} was killed by signal {}", machine_.name, WTERMSIG(status)));
  }
  if (machine_.ends_with_status) return WEXITSTATUS(status);
  throw Error("the machine stopped before the program had ended",
              "--verbose shows the kernel's messages");
}

}  // namespace aril::tool
