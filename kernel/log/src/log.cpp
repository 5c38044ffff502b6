#include "kernel/log/log.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "arch/timer.hpp"
#include "base/image_abi.hpp"
#include "console.hpp"
#include "kernel/log/format.hpp"
#include "kernel/sync/spin_lock.hpp"

namespace aril {
namespace {

constexpr size_t kMaxLine = 1024;

/// The last lines, the newest overwriting the oldest.
struct KeptLine {
  static constexpr size_t kTextSize = 150;
  int64_t time_ns;
  LogLevel level;
  uint8_t length;
  char text[kTextSize];
};
static_assert(sizeof(KeptLine) == 160);
#ifdef ARIL_TINY
constexpr size_t kKeptLines = 16;
#else
constexpr size_t kKeptLines = 128;
#endif

constinit SpinLock log_lock{LockRank::kLog};
// Guarded by log_lock.
constinit KeptLine ring[kKeptLines] = {};
constinit uint64_t next_sequence = 0;

constinit std::atomic<LogLevel> console_level{LogLevel::kWarning};
constinit std::atomic<ConsoleWriter> console_writer{nullptr};

void keep_locked(LogLevel level, int64_t time_ns, std::string_view text) {
  KeptLine& line = ring[next_sequence++ % kKeptLines];
  line.time_ns = time_ns;
  line.level = level;
  line.length = static_cast<uint8_t>(std::min(text.size(), KeptLine::kTextSize));
  std::memcpy(line.text, text.data(), line.length);
}

/// Whole lines reach the console unmixed. A panic inside this section takes no lock (panic.cpp).
void to_console(std::string_view text) {
  if (ConsoleWriter writer = console_writer.load(std::memory_order_relaxed)) writer(text);
}

/// Makes one line of what may hold several, or control characters of hostile origin.
void make_printable(std::span<char> text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = ' ';
  }
}

}  // namespace

namespace log_internal {

void write_console_line(std::string_view prefix, std::span<char> text) {
  make_printable(text);
  bool panicking = is_panicking();
  if (!panicking) log_lock.lock();
  to_console(prefix);
  to_console({text.data(), text.size()});
  to_console("\n");
  if (!panicking) log_lock.unlock();
}

}  // namespace log_internal

void set_console_level(LogLevel level) { console_level = level; }
void set_console_writer(ConsoleWriter writer) { console_writer = writer; }

void log(LogLevel level, const char* component, const char* format, ...) {
  char buffer[kMaxLine];
  size_t length = format_to(buffer, "%s: ", component).size();
  va_list arguments;
  va_start(arguments, format);
  length += format_list(std::span(buffer).subspan(length), format, arguments).size();
  va_end(arguments);

  int64_t time = arch::monotonic_now().ns;
  if (!log_internal::is_panicking()) {
    LockGuard guard(log_lock);
    keep_locked(level, time, {buffer, length});
  }
  if (level > console_level.load(std::memory_order_relaxed)) return;
  char prefix[32];
  log_internal::write_console_line(
      format_to(prefix, "[%4lld.%06lld] ", static_cast<long long>(time / 1'000'000'000),
                static_cast<long long>(time / 1'000 % 1'000'000)),
      std::span(buffer, length));
}

void write_record(const char* format, ...) {
  char buffer[kMaxLine];
  va_list arguments;
  va_start(arguments, format);
  size_t length = format_list(buffer, format, arguments).size();
  va_end(arguments);
  constexpr char kPrefix[] = {kRecordMark, ' '};
  log_internal::write_console_line({kPrefix, sizeof kPrefix}, std::span(buffer, length));
}

bool read_log(uint64_t sequence, std::span<char> buffer, LogLine& out) {
  LockGuard guard(log_lock);
  uint64_t oldest = next_sequence > kKeptLines ? next_sequence - kKeptLines : 0;
  sequence = std::max(sequence, oldest);
  if (sequence >= next_sequence) return false;
  const KeptLine& line = ring[sequence % kKeptLines];
  size_t length = std::min<size_t>(line.length, buffer.size());
  std::memcpy(buffer.data(), line.text, length);
  out = {sequence, line.time_ns, line.level, {buffer.data(), length}};
  return true;
}

}  // namespace aril
