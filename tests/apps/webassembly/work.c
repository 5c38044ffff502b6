/* Compiled for wasm32 without a library; each exported function works and returns what came out. */
#include <stdint.h>

#define EXPORTED(name) __attribute__((export_name(#name))) name

static unsigned char memory_of_ours[1 << 16];

uint32_t EXPORTED(crc)(void) {
  uint32_t crc = ~0u;
  for (const char* text = "123456789"; *text != 0; ++text) {
    crc ^= (unsigned char)*text;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (0xedb88320u & -(crc & 1));
  }
  return ~crc;
}

uint32_t EXPORTED(primes)(void) {
  uint32_t count = 0;
  for (uint32_t n = 2; n < sizeof memory_of_ours; ++n) {
    if (memory_of_ours[n] != 0) continue;
    ++count;
    for (uint32_t multiple = 2 * n; multiple < sizeof memory_of_ours; multiple += n) {
      memory_of_ours[multiple] = 1;
    }
  }
  return count;
}

uint64_t EXPORTED(product)(void) {
  uint64_t product = 1;
  for (uint64_t n = 1; n <= 20; ++n) product *= n;
  return product;
}

double EXPORTED(sum)(void) {
  double sum = 0;
  for (int n = 1; n < 5000; ++n) sum += 1.0 / n / n;
  return sum;
}

uint32_t EXPORTED(grown)(void) {
  const uint32_t pages = __builtin_wasm_memory_grow(0, 100);
  volatile uint32_t* last = (uint32_t*)((pages + 100) * 65536 - 4);
  *last = 42;
  return *last + __builtin_wasm_memory_size(0);
}

/* The interpreter answers a trap with a message. */
uint32_t EXPORTED(unreachable)(void) { __builtin_trap(); }
