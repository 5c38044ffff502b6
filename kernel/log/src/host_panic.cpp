#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "console.hpp"
#include "kernel/log/log.hpp"

// A panic in a unit test ends the test.
namespace aril {

bool log_internal::is_panicking() { return false; }
void set_machine_stop(MachineStop) {}
void stop_machine(int exit_status) { std::exit(exit_status); }
void log_backtrace(uint64_t, uint64_t) {}

void panic(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::fputs("panic: ", stderr);
  std::vfprintf(stderr, format, arguments);
  std::fputs("\n", stderr);
  va_end(arguments);
  std::abort();
}

}  // namespace aril
