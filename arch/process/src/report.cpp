#include <cstring>

#include "arch/host_calls.hpp"
#include "arch/startup.hpp"
#include "process.hpp"

namespace aril::arch {
namespace {

constinit const char* (*call_name)(uint64_t) = nullptr;

HostVector piece(const char* text, size_t length) { return {const_cast<char*>(text), length}; }
HostVector piece(const char* text) { return piece(text, std::strlen(text)); }

/// A number in decimal.
class Digits {
 public:
  explicit Digits(uint64_t value) {
    do {
      text_[--at_] = static_cast<char>('0' + value % 10);
      value /= 10;
    } while (value != 0);
  }
  [[nodiscard]] HostVector vector() const { return piece(text_ + at_, sizeof text_ - at_); }

 private:
  char text_[20];
  size_t at_ = sizeof text_;
};

// What is called here may be what failed: no log, no allocation.
[[noreturn]] void report_and_end(std::span<const HostVector> pieces) {
  constexpr int kPanicStatus = 255, kStandardError = 2;
  if (host_is_ready(kStandardError, 4)) static_cast<void>(host_write(kStandardError, pieces));
  host_exit(kPanicStatus);
}

}  // namespace

void set_call_names(const char* (*name_of)(uint64_t number)) { call_name = name_of; }

void report_host_failure(const char* what, int64_t error) {
  const Digits digits(static_cast<uint64_t>(error));
  const HostVector pieces[] = {piece("aril: host: "), piece(what), piece(" "), digits.vector(),
                               piece("\n")};
  report_and_end(pieces);
}

void report_refused_call(uint64_t number) {
  const char* name = call_name != nullptr ? call_name(number) : nullptr;
  const Digits digits(number);
  const HostVector pieces[] = {
      piece("aril: the kernel was made to call its host, which the filter refuses: "),
      piece(name != nullptr ? name : "unknown"), piece(" ("), digits.vector(), piece(")\n")};
  report_and_end(pieces);
}

}  // namespace aril::arch
