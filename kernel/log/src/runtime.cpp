
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

}  // extern "C"
