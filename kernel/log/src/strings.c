#include <stddef.h>

// C's string functions, for compilers and libc++'s headers. In C because C++ headers declare some
// of them with overloads on const.

size_t strlen(const char* text) {
  size_t length = 0;
  while (text[length] != 0) ++length;
  return length;
}

size_t strnlen(const char* text, size_t limit) {
  size_t length = 0;
  while (length < limit && text[length] != 0) ++length;
  return length;
}

int strcmp(const char* a, const char* b) {
  while (*a != 0 && *a == *b) ++a, ++b;
  return (unsigned char)*a - (unsigned char)*b;
}

int strncmp(const char* a, const char* b, size_t limit) {
  for (; limit != 0; --limit, ++a, ++b) {
    if (*a != *b || *a == 0) return (unsigned char)*a - (unsigned char)*b;
  }
  return 0;
}

char* strchr(const char* text, int wanted) {
  for (;; ++text) {
    if (*text == (char)wanted) return (char*)text;
    if (*text == 0) return NULL;
  }
}

char* strrchr(const char* text, int wanted) {
  const char* found = NULL;
  for (;; ++text) {
    if (*text == (char)wanted) found = text;
    if (*text == 0) return (char*)found;
  }
}

void* memchr(const void* bytes, int wanted, size_t size) {
  const unsigned char* at = bytes;
  for (; size != 0; --size, ++at) {
    if (*at == (unsigned char)wanted) return (void*)at;
  }
  return NULL;
}

// libc++ searches arrays of 32-bit integers with it.
wchar_t* wmemchr(const wchar_t* text, wchar_t wanted, size_t count) {
  for (; count != 0; --count, ++text) {
    if (*text == wanted) return (wchar_t*)text;
  }
  return NULL;
}
