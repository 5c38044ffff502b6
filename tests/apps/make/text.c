#include <stdio.h>

#include "work.h"

void text(const char* name, int value) { printf("%s %d\n", name, value); }
