#pragma once
#include <linux/filter.h>

#include <cstdint>
#include <span>
#include <vector>

namespace aril::tender {

/// What a rule asks of one argument.
struct Condition {
  unsigned argument;             ///< 0..5
  uint64_t first, last;          ///< the value is one of these
  uint64_t mask = ~uint64_t{0};  ///< after this was applied to it
};
inline Condition is(unsigned argument, uint64_t value) { return {argument, value, value}; }
inline Condition is_within(unsigned argument, uint64_t first, uint64_t last) {
  return {argument, first, last};
}
/// None of `bits` is set.
inline Condition lacks(unsigned argument, uint64_t bits) { return {argument, 0, 0, bits}; }

/// One way of making a host call that is allowed; a call may have several.
struct Rule {
  const char* call;
  unsigned number;
  std::vector<Condition> conditions;
  const char* reason;
};

/// Where the kernel makes host calls from.
struct Gate {
  uint64_t start, end;
};

/// A seccomp filter [seccomp(2)] that allows exactly what the rules say, from the gate; everything
/// else becomes SIGSYS, and calls of another architecture's end the process.
std::vector<sock_filter> compile(std::span<const Rule> rules, Gate gate);

/// What `program` answers to a call: a SECCOMP_RET_* value. For tests.
struct Call {
  uint32_t number;
  uint64_t arguments[6];
  uint64_t instruction_pointer;
  uint32_t architecture;
};
uint32_t evaluate(std::span<const sock_filter> program, const Call& call);

}  // namespace aril::tender
