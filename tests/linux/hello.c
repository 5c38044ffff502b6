// variants: static-musl static dynamic
// The smallest program there is, with every way to link it.
#include <stdio.h>

int main(void) {
  puts("hello, world");
  return 0;
}
