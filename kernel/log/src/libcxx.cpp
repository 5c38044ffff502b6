#include <__verbose_abort>
#include <algorithm>
#include <charconv>
#include <cstdarg>
#include <new>
#include <string>

#include "kernel/log/format.hpp"
#include "kernel/log/log.hpp"

// What libc++'s headers declare and expect in libc++.a, which is built for programs, not for
// kernels: with SSE, exceptions and a libc.

constinit const std::nothrow_t std::nothrow{};

_LIBCPP_BEGIN_NAMESPACE_STD

// Called by the hardening checks, and where a function would throw.
[[noreturn]] void __libcpp_verbose_abort(const char* format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  std::string_view message = aril::format_list(text, format, arguments);
  va_end(arguments);
  aril::panic("libc++: %.*s", static_cast<int>(message.size()), message.data());
}

template class basic_string<char>;
template string operator+ <char, char_traits<char>, allocator<char>>(const char*, const string&);

namespace {
template <typename T>
string number_to_string(T value) {
  char digits[24];
  to_chars_result result = to_chars(digits, digits + sizeof digits, value);
  return string(digits, result.ptr);
}
}  // namespace
string to_string(int value) { return number_to_string(value); }
string to_string(unsigned value) { return number_to_string(value); }
string to_string(long value) { return number_to_string(value); }
string to_string(unsigned long value) { return number_to_string(value); }
string to_string(long long value) { return number_to_string(value); }
string to_string(unsigned long long value) { return number_to_string(value); }

// The comparison is a lambda so that sort() does the work itself instead of calling this again.
template <class Compare, class Iterator>
void __sort(Iterator first, Iterator last, Compare) {
  std::sort(first, last, [](const auto& a, const auto& b) { return a < b; });
}
template void __sort<__less<char>&, char*>(char*, char*, __less<char>&);
template void __sort<__less<unsigned char>&, unsigned char*>(unsigned char*, unsigned char*,
                                                             __less<unsigned char>&);
template void __sort<__less<short>&, short*>(short*, short*, __less<short>&);
template void __sort<__less<unsigned short>&, unsigned short*>(unsigned short*, unsigned short*,
                                                               __less<unsigned short>&);
template void __sort<__less<int>&, int*>(int*, int*, __less<int>&);
template void __sort<__less<unsigned>&, unsigned*>(unsigned*, unsigned*, __less<unsigned>&);
template void __sort<__less<long>&, long*>(long*, long*, __less<long>&);
template void __sort<__less<unsigned long>&, unsigned long*>(unsigned long*, unsigned long*,
                                                             __less<unsigned long>&);
template void __sort<__less<long long>&, long long*>(long long*, long long*, __less<long long>&);
template void __sort<__less<unsigned long long>&, unsigned long long*>(unsigned long long*,
                                                                       unsigned long long*,
                                                                       __less<unsigned long long>&);

_LIBCPP_END_NAMESPACE_STD
