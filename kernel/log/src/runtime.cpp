#include <cstdint>

#include "base/assert.hpp"
#include "kernel/log/log.hpp"

// What the compiler expects of a hosted program, for the freestanding kernel.

namespace aril {

void assertion_failed(const char* expression, const char* file, int line) {
  panic("assertion failed: %s (%s:%d)", expression, file, line);
}

}  // namespace aril

extern "C" {

[[noreturn]] void __stack_chk_fail() { aril::panic("stack smashing detected"); }
[[noreturn]] void __cxa_pure_virtual() { aril::panic("pure virtual function called"); }
[[noreturn]] void abort() { aril::panic("abort() called"); }
/// Destructors of static objects: the kernel never exits.
int __cxa_atexit(void (*)(void*), void*, void*) { return 0; }
constinit void* __dso_handle = nullptr;

// Code for size calls these for 128-bit shifts. Unions, because the obvious way would be compiled
// into a call of themselves.
union Halves {
  unsigned __int128 whole;
  uint64_t half[2];
};
unsigned __int128 __lshrti3(unsigned __int128 value, int count) {
  Halves in{.whole = value}, out{.whole = 0};
  if (count >= 64) {
    out.half[0] = in.half[1] >> (count - 64);
  } else if (count != 0) {
    out.half[0] = in.half[0] >> count | in.half[1] << (64 - count);
    out.half[1] = in.half[1] >> count;
  } else {
    out = in;
  }
  return out.whole;
}
unsigned __int128 __ashlti3(unsigned __int128 value, int count) {
  Halves in{.whole = value}, out{.whole = 0};
  if (count >= 64) {
    out.half[1] = in.half[0] << (count - 64);
  } else if (count != 0) {
    out.half[1] = in.half[1] << count | in.half[0] >> (64 - count);
    out.half[0] = in.half[0] << count;
  } else {
    out = in;
  }
  return out.whole;
}

}  // extern "C"
