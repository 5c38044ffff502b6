#include "work.h"

int product(int n) { return n == 0 ? 1 : n * product(n - 1); }
