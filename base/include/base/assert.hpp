#pragma once

namespace aril {

/// Ends the program or machine with a report. Defined once per final product: by the kernel's
/// panic, and by a host stand-in for unit tests.
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line);

}  // namespace aril

/// Checks for a bug of ours. Always on. Never for hostile input: that is validated and counted.
#define ARIL_ASSERT(expression)                                       \
  do {                                                                \
    if (!(expression)) [[unlikely]]                                   \
      ::aril::assertion_failed(#expression, __FILE_NAME__, __LINE__); \
  } while (false)

// A tiny kernel carries no texts for its own bugs: the exception's address says which it was.
#ifdef ARIL_TINY
#undef ARIL_ASSERT
#define ARIL_ASSERT(expression)     \
  do {                              \
    if (!(expression)) [[unlikely]] \
      __builtin_trap();             \
  } while (false)
#endif
