#pragma once
#include <cstddef>
#include <cstdint>
#include <source_location>
#include <span>
#include <string_view>

namespace aril {

enum class LogLevel : uint8_t { kError = 3, kWarning = 4, kInfo = 6, kDebug = 7 };

/// Writes one line "[seconds] component: text" to the kernel console (COM1) and keeps it in a ring
/// for /dev/kmsg. printf-style: %d %u %x %lx %p %s %.*s %c %zu %llu with widths; no floating point.
/// Any context. Lines above the console's level go to the ring only.
[[gnu::format(printf, 3, 4)]] void log(LogLevel level, const char* component, const char* format,
                                       ...);
#define ARIL_LOG_ERROR(component, ...) ::aril::log(::aril::LogLevel::kError, component, __VA_ARGS__)
#define ARIL_LOG_WARNING(component, ...) \
  ::aril::log(::aril::LogLevel::kWarning, component, __VA_ARGS__)
#define ARIL_LOG_INFO(component, ...) ::aril::log(::aril::LogLevel::kInfo, component, __VA_ARGS__)
#define ARIL_LOG_DEBUG(component, ...) ::aril::log(::aril::LogLevel::kDebug, component, __VA_ARGS__)

/// Writes one record of the control line, "\x1e " + text (base/image_abi.hpp), whatever the
/// console's level: "report ...", "strace ...", "listening 80". Longer ones are cut to 1000
/// characters. Any context.
[[gnu::format(printf, 1, 2)]] void write_record(const char* format, ...);

void set_console_level(LogLevel level);

/// Where log lines go. Called with interrupts disabled, by one CPU at a time.
using ConsoleWriter = void (*)(std::string_view text);
void set_console_writer(ConsoleWriter writer);

/// Formats into `buffer` with the same directives; returns the text, cut to fit, with a NUL after
/// it where there is room. No allocation.
[[gnu::format(printf, 2, 3)]] std::string_view format_to(std::span<char> buffer, const char* format,
                                                         ...);

/// A kept line, for /dev/kmsg.
struct LogLine {
  uint64_t sequence;
  int64_t time_ns;
  LogLevel level;
  std::string_view text;  ///< "component: text", in the caller's buffer
};
/// Reads the oldest kept line whose number is at least `sequence` into `buffer`; false when there
/// is none yet. Any context.
bool read_log(uint64_t sequence, std::span<char> buffer, LogLine& out);

/// Reports what went wrong, a backtrace of raw addresses (which `aril` symbolises), and stops the
/// machine with exit status 255. Any context.
[[noreturn, gnu::format(printf, 1, 2)]] void panic(const char* format, ...);

/// What panic() calls last; set by the platform: ends the machine with this exit status.
using MachineStop = void (*)(int exit_status);
void set_machine_stop(MachineStop stop);
[[noreturn]] void stop_machine(int exit_status);

/// Writes "report   #n 0xaddress" records for the chain of frame pointers from `frame_pointer`, at
/// most 32, each checked to be on this thread's kernel stack before it is read.
void log_backtrace(uint64_t instruction_pointer, uint64_t frame_pointer);

}  // namespace aril

// A tiny kernel tells what goes wrong, not what it does: the others still have their types checked.
#ifdef ARIL_TINY
#undef ARIL_LOG_INFO
#undef ARIL_LOG_DEBUG
#define ARIL_LOG_INFO(component, ...)                                        \
  do {                                                                       \
    if (false) ::aril::log(::aril::LogLevel::kInfo, component, __VA_ARGS__); \
  } while (false)
#define ARIL_LOG_DEBUG(component, ...) ARIL_LOG_INFO(component, __VA_ARGS__)
#endif
