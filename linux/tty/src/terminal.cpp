#include "linux/tty/terminal.hpp"

#include <algorithm>
#include <string>

#include "kernel/sched/timer.hpp"
#include "linux/abi/ioctl.hpp"
#include "linux/process/family.hpp"
#include "linux/signal/signal.hpp"

namespace aril::linux_abi {

namespace {

constexpr size_t kPiece = 512;

/// Effects of typing, kept until the terminal's lock is released.
class HeldEffects final : public TerminalEffects {
 public:
  void echo(std::span<const std::byte> bytes) override {
    shown_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  void signal(int number) override { signals_.add(number); }
  [[nodiscard]] std::span<const std::byte> shown() const {
    return std::as_bytes(std::span(shown_));
  }
  SignalSet take_signals() { return std::exchange(signals_, SignalSet()); }

 private:
  std::string shown_;
  SignalSet signals_;
};

}  // namespace

Terminal::~Terminal() = default;

void Terminal::send_signal_to_foreground(int number) {
  int group = foreground_.load(std::memory_order_relaxed);
  if (group == 0) return;
  SignalInfo info;
  info.signal = number;
  info.code = kSiKernel;
  (void)send_group_signal(group, info);
}

Result<void> Terminal::check_foreground(int signal) {
  Task& task = current_task();
  Process& process = task.process();
  int group = process.process_group.load();
  int foreground = foreground_.load(std::memory_order_relaxed);
  if (session() != process.session.load() || foreground == 0 || foreground == group) return {};
  bool is_deaf;
  {
    LockGuard guard(process.signal_lock());
    is_deaf =
        task.blocked.contains(signal) || process.action_locked(signal).handler == kSignalIgnore;
  }
  if (is_deaf) return signal == kSigTtin ? Result<void>(fail(Errno::kIo)) : Result<void>{};
  if (family::is_orphaned_group(group)) return fail(Errno::kIo);
  (void)send_group_signal(group, {.signal = signal, .code = kSiKernel});
  return fail(Errno::kRestart);
}

void Terminal::end_session() {
  send_signal_to_foreground(kSigHup);
  send_signal_to_foreground(kSigCont);
  set_session(0, 0);
}

void Terminal::type(std::span<const std::byte> bytes) {
  HeldEffects effects;
  {
    LockGuard guard(mutex_);
    for (std::byte byte : bytes) discipline_.receive(byte, effects);
  }
  if (!effects.shown().empty()) {
    LockGuard output(output_mutex_);
    (void)emit(effects.shown(), Blocking::kNo);
  }
  SignalSet signals = effects.take_signals();
  while (int number = signals.first()) {
    signals.remove(number);
    send_signal_to_foreground(number);
  }
  queue_.wake_all(std::to_underlying(kReadable));
}

void Terminal::end(End how) {
  {
    LockGuard guard(mutex_);
    input_ended_ = true;
  }
  if (how == End::kHangUp) {
    hung_up_.store(true, std::memory_order_release);
    // The leader passes it on, or its end does.
    if (RefPtr<Process> leader = process_table::find_process(session())) {
      send_kernel_signal(*leader, kSigHup);
      send_kernel_signal(*leader, kSigCont);
    }
  }
  queue_.wake_all();
}

/// [termios(3)] VMIN and VTIME. Returns when a read has something to return, be it nothing.
Result<void> Terminal::wait_readable(size_t wanted, Blocking blocking) {
  auto readable = [&](size_t minimum) {
    LockGuard guard(mutex_);
    return discipline_.is_readable(minimum) || input_ended_;
  };
  if (readable(wanted)) return {};
  bool canonical;
  uint8_t minimum, tenths;
  {
    LockGuard guard(mutex_);
    const Termios& settings = discipline_.settings();
    canonical = (settings.local & ICANON) != 0;
    minimum = settings.characters[VMIN];
    tenths = settings.characters[VTIME];
  }
  if (!canonical && minimum == 0 && tenths == 0) return {};
  if (blocking == Blocking::kNo) {
    LockGuard guard(mutex_);
    if (!canonical && discipline_.readable_bytes() != 0) return {};
    return fail(Errno::kAgain);
  }
  Duration limit = Duration::milliseconds(100 * int64_t{tenths});
  if (canonical || tenths == 0) return queue_.wait_until([&] { return readable(wanted); });
  if (minimum != 0) ARIL_TRY(queue_.wait_until([&] { return readable(1); }));
  auto waited = queue_.wait_until([&] { return readable(wanted); }, now() + limit);
  if (!waited && waited.error() != Errno::kTimedOut) return waited;
  return {};
}

Result<size_t> Terminal::read(IoBuffer& buffer, Blocking blocking) {
  if (buffer.remaining() == 0) return 0;
  ARIL_TRY(check_foreground(kSigTtin));
  ARIL_TRY(wait_readable(buffer.remaining(), blocking));
  size_t total = 0;
  for (;;) {
    std::byte bytes[kPiece];
    size_t count;
    bool more;
    {
      LockGuard guard(mutex_);
      count = discipline_.read(std::span(bytes).first(std::min(buffer.remaining(), kPiece)));
      // A long line comes in pieces; a canonical read takes no second line.
      bool canonical = (discipline_.settings().local & ICANON) != 0;
      more = count == kPiece && discipline_.readable_bytes() != 0 &&
             !(canonical && bytes[count - 1] == std::byte{'\n'});
    }
    if (count != 0) total += ARIL_TRY(buffer.copy_out(std::span(bytes).first(count)));
    if (!more || buffer.remaining() == 0) return total;
  }
}

Result<size_t> Terminal::write(IoBuffer& buffer, Blocking blocking) {
  size_t total = 0;
  bool stops_background;
  {
    LockGuard guard(mutex_);
    stops_background = (discipline_.settings().local & TOSTOP) != 0;
  }
  if (stops_background) ARIL_TRY(check_foreground(kSigTtou));
  while (buffer.remaining() != 0) {
    if (has_hung_up()) return fail(Errno::kIo);
    std::byte raw[kPiece], shown[2 * kPiece];
    auto copied = buffer.copy_in(std::span(raw).first(std::min(buffer.remaining(), kPiece)));
    if (!copied) {
      if (total != 0) break;
      return copied;
    }
    size_t shown_count = 0;
    {
      LockGuard guard(mutex_);
      (void)discipline_.translate_output(std::span(raw).first(*copied), shown, shown_count);
    }
    std::span<const std::byte> left(shown, shown_count);
    while (!left.empty()) {
      Result<size_t> emitted = 0;
      {
        LockGuard output(output_mutex_);
        emitted = emit(left, Blocking::kNo);
      }
      if (emitted) {
        left = left.subspan(*emitted);
        continue;
      }
      if (emitted.error() != Errno::kAgain) return emitted;
      if (blocking == Blocking::kNo && total + (shown_count - left.size()) == 0) return emitted;
      auto waited = queue_.wait_until([this] { return can_emit() || has_hung_up(); });
      if (!waited) {
        if (total != 0) return total;
        return fail(waited.error());
      }
      if (has_hung_up()) return fail(Errno::kIo);
    }
    total += *copied;
  }
  return total;
}

PollEvents Terminal::poll(PollRegistrar* registrar) {
  if (registrar != nullptr) registrar->watch(queue_);
  PollEvents events = PollEvents::kNone;
  if (has_hung_up()) events |= PollEvents::kHup | kReadable;
  if (can_emit()) events |= kWritable;
  LockGuard guard(mutex_);
  if (discipline_.is_readable() || input_ended_) events |= kReadable;
  return events;
}

void Terminal::set_window(const WindowSize& window) {
  {
    LockGuard guard(mutex_);
    if (memcmp(&window_, &window, sizeof(window)) == 0) return;
    window_ = window;
  }
  send_signal_to_foreground(kSigWinch);
}

Result<int64_t> Terminal::set_termios(uint64_t argument, bool flush) {
  ARIL_TRY(check_foreground(kSigTtou));
  change_termios(ARIL_TRY(UserPtr<Termios>(argument).read()), flush);
  return 0;
}

void Terminal::change_termios(Termios settings, bool flush) {
  {
    LockGuard guard(mutex_);
    if (flush) discipline_.flush_input();
    const Termios& before = discipline_.settings();
    auto keep = [](auto locked, auto old, auto& now) {
      now = static_cast<std::remove_reference_t<decltype(now)>>((old & locked) | (now & ~locked));
    };
    keep(locked_.input, before.input, settings.input);
    keep(locked_.output, before.output, settings.output);
    keep(locked_.control, before.control, settings.control);
    keep(locked_.local, before.local, settings.local);
    if (locked_.line != 0) settings.line = before.line;
    for (size_t i = 0; i < settings.characters.size(); ++i)
      if (locked_.characters[i] != 0) settings.characters[i] = before.characters[i];
    discipline_.set_settings(settings);
  }
  queue_.wake_all();
}

/// System V's struct termio [ioctl_tty(2)]: the low halves of the flags, and fewer characters.
Result<int64_t> Terminal::old_termios(uint32_t request, uint64_t argument) {
  struct OldTermios {
    uint16_t input, output, control, local;
    uint8_t line;
    std::array<uint8_t, 8> characters;
    uint8_t padding;
  };
  static_assert(sizeof(OldTermios) == 18);
  Termios settings;
  {
    LockGuard guard(mutex_);
    settings = discipline_.settings();
  }
  OldTermios old{};
  if (request == TCGETA) {
    old = {.input = static_cast<uint16_t>(settings.input),
           .output = static_cast<uint16_t>(settings.output),
           .control = static_cast<uint16_t>(settings.control),
           .local = static_cast<uint16_t>(settings.local),
           .line = settings.line,
           .characters = {},
           .padding = 0};
    std::copy_n(settings.characters.begin(), old.characters.size(), old.characters.begin());
    ARIL_TRY(UserPtr<OldTermios>(argument).write(old));
    return 0;
  }
  ARIL_TRY(check_foreground(kSigTtou));
  old = ARIL_TRY(UserPtr<OldTermios>(argument).read());
  auto replace_low = [](uint32_t& flags, uint16_t low) { flags = (flags & 0xffff0000) | low; };
  replace_low(settings.input, old.input);
  replace_low(settings.output, old.output);
  replace_low(settings.control, old.control);
  replace_low(settings.local, old.local);
  settings.line = old.line;
  std::ranges::copy(old.characters, settings.characters.begin());
  change_termios(settings, request == TCSETAF);
  return 0;
}

/// TIOCSCTTY: a session leader without a terminal takes this one.
Result<int64_t> Terminal::take_control() {
  Process& process = current_process();
  if (process.session.load() != process.pid()) return fail(Errno::kPerm);
  int owner = session();
  if (owner != 0 && owner != process.pid() &&
      !current_task().credentials.can(Capability::kSysAdmin))
    return fail(Errno::kPerm);
  set_session(process.pid(), process.process_group.load());
  return 0;
}

Result<int64_t> Terminal::ioctl(uint32_t request, uint64_t argument) {
  switch (request) {
    case TCGETS: {
      Termios settings;
      {
        LockGuard guard(mutex_);
        settings = discipline_.settings();
      }
      ARIL_TRY(UserPtr<Termios>(argument).write(settings));
      return 0;
    }
    case TCSETS:
    case TCSETSW:
      return set_termios(argument, false);
    case TCSETSF:
      return set_termios(argument, true);
    case TIOCGLCKTRMIOS: {
      Termios locked;
      {
        LockGuard guard(mutex_);
        locked = locked_;
      }
      ARIL_TRY(UserPtr<Termios>(argument).write(locked));
      return 0;
    }
    case TIOCSLCKTRMIOS: {
      if (!current_task().credentials.can(Capability::kSysAdmin)) return fail(Errno::kPerm);
      Termios locked = ARIL_TRY(UserPtr<Termios>(argument).read());
      LockGuard guard(mutex_);
      locked_ = locked;
      return 0;
    }
    case TCGETA:
    case TCSETA:
    case TCSETAW:
    case TCSETAF:
      return old_termios(request, argument);
    case TIOCGWINSZ: {
      WindowSize window;
      {
        LockGuard guard(mutex_);
        window = window_;
      }
      ARIL_TRY(UserPtr<WindowSize>(argument).write(window));
      return 0;
    }
    case TIOCSWINSZ:
      set_window(ARIL_TRY(UserPtr<WindowSize>(argument).read()));
      return 0;
    case TIOCGPGRP:
      ARIL_TRY(UserPtr<int32_t>(argument).write(foreground_.load(std::memory_order_relaxed)));
      return 0;
    case TIOCSPGRP: {
      int group = ARIL_TRY(UserPtr<int32_t>(argument).read());
      if (group < 0) return fail(Errno::kInval);
      if (session() != current_process().session.load()) return fail(Errno::kNoTty);
      ARIL_TRY(check_foreground(kSigTtou));
      {
        LockGuard guard(family::lock());
        if (!family::has_group_locked(group, 0)) return fail(Errno::kSrch);
        if (!family::has_group_locked(group, session())) return fail(Errno::kPerm);
      }
      foreground_.store(group, std::memory_order_relaxed);
      return 0;
    }
    case TIOCGSID:
      if (session() == 0) return fail(Errno::kNoTty);
      ARIL_TRY(UserPtr<int32_t>(argument).write(session()));
      return 0;
    case TIOCSCTTY:
      return take_control();
    case TIOCNOTTY:
      if (session() != current_process().session.load()) return fail(Errno::kNoTty);
      if (session() == current_process().pid()) end_session();
      return 0;
    case FIONREAD: {
      size_t count;
      {
        LockGuard guard(mutex_);
        count = discipline_.is_readable() ? discipline_.readable_bytes() : 0;
      }
      ARIL_TRY(UserPtr<int32_t>(argument).write(static_cast<int32_t>(count)));
      return 0;
    }
    case TIOCOUTQ:
      ARIL_TRY(UserPtr<int32_t>(argument).write(0));
      return 0;
    case TCFLSH: {
      constexpr uint64_t kOutputOnly = 1;  // TCOFLUSH
      if (argument > 2) return fail(Errno::kInval);
      if (argument != kOutputOnly) {
        LockGuard guard(mutex_);
        discipline_.flush_input();
      }
      return 0;
    }
    case TCSBRK:
    case TCSBRKP:
    case TCXONC:
    case TIOCEXCL:
    case TIOCNXCL:
      return 0;
    default:
      return fail(Errno::kNoTty);
  }
}

Result<FileStatus> TerminalFile::status() {
  constexpr uint32_t kCharDeviceMode = 0020000 | 0620;
  return FileStatus{.device = 5,
                    .inode = 10,
                    .mode = kCharDeviceMode,
                    .special_device = terminal_->device(),
                    .block_size = 1024};
}

}  // namespace aril::linux_abi
