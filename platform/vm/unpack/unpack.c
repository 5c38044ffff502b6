/* Unpacks a compressed image: raw DEFLATE [RFC 1951] into memory. Runs before the kernel, in 32-bit
   protected mode without paging, wherever it was loaded: it refers to no address of its own. The
   input was written by `aril build` and is as trusted as the kernel in it, so it is not checked. */
#include <stdint.h>

enum { kMaxBits = 15, kLiteralCodes = 288, kDistanceCodes = 32, kLengthCodes = 19 };

struct State {
  const uint8_t* input;
  uint32_t bits;
  uint32_t count;
  uint8_t* output;
};

/* For each value of the next `bits` bits: symbol << 4 | length of its code. */
struct Table {
  uint32_t bits;
  uint16_t entries[1 << kMaxBits];
};

struct Work {
  struct Table literals, distances;
  uint8_t lengths[kLiteralCodes + kDistanceCodes];
};

static void fill(struct State* s, uint32_t count) {
  while (s->count < count) {
    s->bits |= (uint32_t)*s->input++ << s->count;
    s->count += 8;
  }
}

static uint32_t take(struct State* s, uint32_t count) {
  fill(s, count);
  uint32_t value = s->bits & ((1u << count) - 1);
  s->bits >>= count;
  s->count -= count;
  return value;
}

static uint32_t decode(struct State* s, const struct Table* table) {
  fill(s, table->bits);
  uint32_t entry = table->entries[s->bits & ((1u << table->bits) - 1)];
  s->bits >>= entry & 15;
  s->count -= entry & 15;
  return entry >> 4;
}

/* Canonical codes [RFC 1951] 3.2.2, their bits reversed, because they are read from the low end. */
static void build(struct Table* table, const uint8_t* lengths, uint32_t symbols) {
  uint32_t code = 0;
  table->bits = 1;
  for (uint32_t i = 0; i < symbols; ++i)
    if (lengths[i] > table->bits) table->bits = lengths[i];
  for (uint32_t length = 1; length <= table->bits; ++length, code <<= 1) {
    for (uint32_t symbol = 0; symbol < symbols; ++symbol) {
      if (lengths[symbol] != length) continue;
      uint32_t reversed = 0;
      for (uint32_t bit = 0; bit < length; ++bit)
        reversed |= (code >> bit & 1) << (length - 1 - bit);
      for (; reversed < 1u << table->bits; reversed += 1u << length)
        table->entries[reversed] = (uint16_t)(symbol << 4 | length);
      ++code;
    }
  }
}

static void read_tables(struct State* s, struct Work* work, const uint8_t* order) {
  uint32_t literals = take(s, 5) + 257, distances = take(s, 5) + 1, codes = take(s, 4) + 4;
  uint8_t* lengths = work->lengths;
  for (uint32_t i = 0; i < kLengthCodes; ++i) lengths[order[i]] = i < codes ? take(s, 3) : 0;
  build(&work->literals, lengths, kLengthCodes);
  for (uint32_t i = 0; i < literals + distances;) {
    uint32_t symbol = decode(s, &work->literals), repeat = 1;
    uint8_t value = (uint8_t)symbol;
    if (symbol == 16) {
      value = lengths[i - 1];
      repeat = 3 + take(s, 2);
    } else if (symbol == 17) {
      value = 0;
      repeat = 3 + take(s, 3);
    } else if (symbol == 18) {
      value = 0;
      repeat = 11 + take(s, 7);
    }
    while (repeat-- != 0) lengths[i++] = value;
  }
  build(&work->literals, lengths, literals);
  build(&work->distances, lengths + literals, distances);
}

static void fixed_tables(struct Work* work) {
  for (uint32_t i = 0; i < kLiteralCodes; ++i)
    work->lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
  build(&work->literals, work->lengths, kLiteralCodes);
  for (uint32_t i = 0; i < kDistanceCodes; ++i) work->lengths[i] = 5;
  build(&work->distances, work->lengths, kDistanceCodes);
}

/* Lengths and distances follow a pattern [RFC 1951] 3.2.5: every `step` symbols one more extra bit.
 */
static uint32_t base(struct State* s, uint32_t symbol, uint32_t shift) {
  uint32_t step = 1u << shift;
  if (symbol < 2 * step) return symbol;
  uint32_t extra = (symbol >> shift) - 1;
  return ((step + (symbol & (step - 1))) << extra) + take(s, extra);
}

static void copy(uint8_t* to, const uint8_t* from, uint32_t count) {
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

/* Called by start.S. `order` is [RFC 1951] 3.2.7's, a table in start.S. */
void unpack(const uint8_t* input, uint8_t* output, struct Work* work, const uint8_t* order) {
  struct State s = {input, 0, 0, output};
  uint32_t last;
  do {
    last = take(&s, 1);
    uint32_t kind = take(&s, 2);
    if (kind == 0) {
      s.input -= s.count / 8; /* whole bytes that were read ahead */
      s.bits = s.count = 0;
      uint32_t size = s.input[0] | (uint32_t)s.input[1] << 8;
      copy(s.output, s.input + 4, size);
      s.input += 4 + size;
      s.output += size;
      continue;
    }
    if (kind == 2)
      read_tables(&s, work, order);
    else
      fixed_tables(work);
    for (;;) {
      uint32_t symbol = decode(&s, &work->literals);
      if (symbol < 256) {
        *s.output++ = (uint8_t)symbol;
        continue;
      }
      if (symbol == 256) break;
      uint32_t length = symbol == 285 ? 258 : 3 + base(&s, symbol - 257, 2);
      uint32_t distance = 1 + base(&s, decode(&s, &work->distances), 1);
      copy(s.output, s.output - distance, length);
      s.output += length;
    }
  } while (!last);
}
