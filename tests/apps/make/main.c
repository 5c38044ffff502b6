#include "work.h"

int main(void) {
  text("sum", sum(100));
  text("product", product(10));
  return 0;
}
