#pragma once
#include <string>

namespace aril::tender {

/// Says what went wrong, with errno's text when `error` is one, and ends with status 125, as `aril`
/// does for what is no program's fault.
[[noreturn]] void die(const std::string& what, int error = 0);

/// The result of a system call, or the end.
template <typename T>
T check(T result, const char* what);

}  // namespace aril::tender

#include <cerrno>

namespace aril::tender {

template <typename T>
T check(T result, const char* what) {
  if (result == T(-1)) die(what, errno);
  return result;
}

}  // namespace aril::tender
