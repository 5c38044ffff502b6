#include "arch/host_calls.hpp"
#include "process.hpp"

namespace aril::arch {

// What is called here may be what failed: no log, no allocation.
void report_host_failure(const char* what, int64_t error) {
  constexpr int kPanicStatus = 255, kStandardError = 2;
  char digits[20];
  size_t at = sizeof digits;
  auto value = static_cast<uint64_t>(error);
  do {
    digits[--at] = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0);
  auto piece = [](const char* text, size_t length) {
    return HostVector{const_cast<char*>(text), length};
  };
  constexpr char kStart[] = "aril: host: ";
  size_t length = 0;
  while (what[length] != '\0') ++length;
  const HostVector pieces[] = {piece(kStart, sizeof kStart - 1), piece(what, length), piece(" ", 1),
                               piece(digits + at, sizeof digits - at), piece("\n", 1)};
  static_cast<void>(host_write(kStandardError, pieces));
  host_exit(kPanicStatus);
}

}  // namespace aril::arch
