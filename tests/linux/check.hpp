#pragma once
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

/// The frame of the Linux-semantics programs. A program is a list of properties:
///   PROPERTY(close_frees_the_lowest_number) { CHECK_EQ(dup(0), 3); ... }
/// It prints one line for each, "ok NAME" or "FAILED NAME: where, what", and exits with the number
/// of failures (at most 100). Every program passes on Linux first: Linux is the oracle. Output is
/// the same on every run, so that the two runs can be compared byte by byte.
namespace check {

struct Property {
  const char* name;
  void (*body)();
  Property* next = nullptr;
  static inline Property* first = nullptr;
  static inline Property** last = &first;
  Property(const char* property_name, void (*function)()) : name(property_name), body(function) {
    *last = this;
    last = &next;
  }
};

inline bool failed;
inline const char* current;

inline void fail(const char* file, int line, const char* what) {
  if (!failed) std::printf("FAILED %s: %s:%d: %s (errno %d)\n", current, file, line, what, errno);
  failed = true;
}

}  // namespace check

#define PROPERTY(name)                                             \
  static void property_##name();                                   \
  static check::Property register_##name{#name, &property_##name}; \
  static void property_##name()

/// Ends the property at the first thing that is not so.
#define CHECK(condition)                                                       \
  do {                                                                         \
    if (!(condition)) return check::fail(__FILE_NAME__, __LINE__, #condition); \
  } while (0)
#define CHECK_EQ(actual, expected)                                                             \
  do {                                                                                         \
    auto actual_value = (actual);                                                              \
    if (!(actual_value == (expected))) {                                                       \
      char text[256];                                                                          \
      std::snprintf(text, sizeof text, "%s is %lld, not %s", #actual, (long long)actual_value, \
                    #expected);                                                                \
      return check::fail(__FILE_NAME__, __LINE__, text);                                       \
    }                                                                                          \
  } while (0)
/// The call fails with exactly this error number.
#define CHECK_ERRNO(call, number)                                                              \
  do {                                                                                         \
    errno = 0;                                                                                 \
    long long result = (long long)(call);                                                      \
    if (result != -1 || errno != (number)) {                                                   \
      char text[256];                                                                          \
      std::snprintf(text, sizeof text, "%s gave %lld, errno %d, not %s", #call, result, errno, \
                    #number);                                                                  \
      return check::fail(__FILE_NAME__, __LINE__, text);                                       \
    }                                                                                          \
  } while (0)

int main() {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  int failures = 0;
  for (check::Property* property = check::Property::first; property; property = property->next) {
    check::failed = false;
    check::current = property->name;
    property->body();
    if (!check::failed) std::printf("ok %s\n", property->name);
    failures += check::failed;
  }
  return failures < 100 ? failures : 100;
}
