// variants: static-musl dynamic
// status: 42
// The status of exit, after handlers and buffered output.
#include <stdio.h>
#include <stdlib.h>

static void last(void) { printf("handler ran\n"); }

int main(void) {
  atexit(last);
  printf("leaving");
  exit(42);
}
