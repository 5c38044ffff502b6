// variants: static dynamic
// flags: -O0
// status: 139
// report: segfault\.c:9.*segfault\.c:13
// A program that reads where nothing is: the report names function and line, and who called it.
#include <stdio.h>

__attribute__((noinline)) int read_from(const volatile int* address) {
  int value = *address;
  return value + 1;
}

__attribute__((noinline)) int caller(void) { return read_from((const int*)16) + 2; }

int main(void) {
  printf("about to fail\n");
  fflush(stdout);
  return caller();
}
