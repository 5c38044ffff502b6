// status: 134
// An exception that nobody catches ends the program by SIGABRT.
#include <cstdio>
#include <stdexcept>

int main() {
  std::puts("about to throw");
  std::fflush(stdout);
  throw std::runtime_error("nobody catches this");
}
