#include <__verbose_abort>
#include <cstdarg>
#include <cstddef>
#include <string>

#include "base/assert.hpp"
#include "kernel/log/format.hpp"
#include "kernel/log/log.hpp"

// What the compiler and libc++'s headers expect of a hosted program, for the freestanding kernel.

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

// Called by libc++'s hardening checks and where it would throw without exceptions.
_LIBCPP_BEGIN_NAMESPACE_STD
[[noreturn]] void __libcpp_verbose_abort(const char* format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  std::string_view message = aril::format_list(text, format, arguments);
  va_end(arguments);
  aril::panic("libc++: %.*s", static_cast<int>(message.size()), message.data());
}

// libc++'s headers declare these extern and expect them in libc++.a, which is not for kernels.
template class basic_string<char>;
_LIBCPP_END_NAMESPACE_STD
