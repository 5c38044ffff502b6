// variants: static-musl dynamic
// arguments: one "two words" '' %41 "\"quoted\"" ümlaut
// environment: "GREETING=hello  there" EMPTY=
// input: what stdin says
// What a program is given: arguments, environment, stdin.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int count, char** arguments) {
  for (int i = 1; i < count; ++i) printf("argument %d: [%s]\n", i, arguments[i]);
  printf("GREETING=[%s]\n", getenv("GREETING"));
  printf("EMPTY=[%s]\n", getenv("EMPTY"));
  printf("MISSING is %s\n", getenv("MISSING") ? "set" : "not set");
  printf("HOME=[%s]\n", getenv("HOME"));
  char line[256];
  while (fgets(line, sizeof line, stdin)) printf("stdin: %s", line);
  printf("end of file: %d\n", feof(stdin) != 0);
  fprintf(stderr, "this goes to stderr\n");
  return 0;
}
