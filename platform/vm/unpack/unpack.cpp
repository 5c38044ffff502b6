/* Unpacks a compressed image into memory: LZMA with lc=3, lp=0, pb=2 [LZMA-specification], and then
   code put together again from the fields of its instructions (base/code_fields.hpp). Runs before
   the kernel, in 32-bit protected mode without paging, wherever it was loaded: it refers to no
   address of its own. The input was written by `aril build` and is as trusted as the kernel in it,
   so it is not checked. */
#include "base/code_fields.hpp"

enum {
  kStates = 12,
  kPositions = 4, /* an output address modulo this is part of some contexts */
  kLengthStates = 4,
  kSlots = 64,
  kFirstModelledSlot = 4,
  kFirstDirectSlot = 14,
  kFullDistances = 128,
  kAlignBits = 4,
  kLiteralCodes = 0x300,
  kHalf = 1024, /* a probability of one half, of 2048 */
};

/* A probability that the next bit of a kind is 0. */
typedef uint16_t Bit;

struct Lengths {
  Bit is_long, is_longer;
  Bit low[kPositions][8], middle[kPositions][8], high[256];
};

struct Model {
  Bit is_match[kPositions][kStates], is_several[kPositions][kStates];
  Bit is_repeat[kStates], is_other[kStates], is_third[kStates], is_fourth[kStates];
  Bit slots[kLengthStates][kSlots];
  Bit distances[1 + kFullDistances - kFirstDirectSlot];
  Bit align[1 << kAlignBits];
  struct Lengths lengths, repeat_lengths;
  Bit literals[8][kLiteralCodes];
};

struct Decoder {
  const uint8_t* input;
  uint32_t range, code;
};

[[gnu::always_inline]] static inline void normalize(struct Decoder* d) {
  if (d->range >> 24 == 0) { /* for a bit in ten */
    d->range <<= 8;
    d->code = d->code << 8 | *d->input++;
  }
}

/* Without a jump, which nothing could predict; and an emulator, where a small machine may well
   boot, ends its block of translated code at each. */
[[gnu::always_inline]] static inline uint32_t inline_bit(struct Decoder* d, Bit* probability) {
  normalize(d);
  uint32_t p = *probability, bound = (d->range >> 11) * p;
  uint32_t rest = d->range - bound, over = d->code - bound;
  bool one = __builtin_unpredictable(d->code >= bound);
  d->range = one ? rest : bound;
  d->code = one ? over : d->code;
  /* Towards 0 by a 32nd, or towards 2048, which rounds the other way. */
  *probability = (Bit)(p - (uint32_t)((int32_t)(one ? p : p - (2048 - 31)) >> 5));
  return one;
}

[[gnu::noinline]] static uint32_t bit(struct Decoder* d, Bit* probability) {
  return inline_bit(d, probability);
}

/* The way down from `node` of a tree, numbered from 1 by rows, to one of the row that begins with
   `end`. */
[[gnu::noinline]] static uint32_t descend(struct Decoder* d, Bit* model, uint32_t node,
                                          uint32_t end) {
  struct Decoder here = *d; /* in registers */
  while (node < end) node += node + inline_bit(&here, model + node);
  *d = here;
  return node;
}

/* `count` bits of which the first is the highest. */
static uint32_t tree(struct Decoder* d, Bit* model, uint32_t count) {
  uint32_t end = 1u << count;
  return descend(d, model, 1, end) - end;
}

static uint32_t reverse_tree(struct Decoder* d, Bit* model, uint32_t count) {
  uint32_t bits = tree(d, model, count), value = 0;
  for (; count != 0; --count, bits >>= 1) value += value + (bits & 1);
  return value;
}

/* A match's length less 2. */
static uint32_t length(struct Decoder* d, struct Lengths* model, uint32_t position) {
  if (!bit(d, &model->is_long)) return tree(d, model->low[position], 3);
  if (!bit(d, &model->is_longer)) return 8 + tree(d, model->middle[position], 3);
  return 16 + tree(d, model->high, 8);
}

/* A distance less 1. */
static uint32_t distance(struct Decoder* d, struct Model* model, uint32_t match_length) {
  uint32_t state = match_length < kLengthStates ? match_length : kLengthStates - 1;
  uint32_t slot = tree(d, model->slots[state], 6);
  if (slot < kFirstModelledSlot) return slot;
  uint32_t bits = (slot >> 1) - 1, value = 2 | (slot & 1);
  if (slot < kFirstDirectSlot) {
    value <<= bits;
    return value + reverse_tree(d, model->distances + value - slot, bits);
  }
  for (uint32_t i = kAlignBits; i < bits; ++i) {
    normalize(d);
    d->range >>= 1;
    uint32_t one = d->code >= d->range;
    if (one) d->code -= d->range;
    value = value << 1 | one;
  }
  return (value << kAlignBits) + reverse_tree(d, model->align, kAlignBits);
}

/* Behind a match, the byte that would have followed there says much about this one until they
   differ. */
static uint8_t literal(struct Decoder* d, Bit* model, uint32_t after_match, uint32_t match_byte) {
  uint32_t symbol = 1, end = 0x100;
  if (after_match) {
    struct Decoder here = *d;
    uint32_t agrees = end; /* 0 when they differ */
    do {
      match_byte += match_byte;
      uint32_t expected = match_byte & end;
      uint32_t one = inline_bit(&here, model + end + expected + symbol);
      symbol += symbol + one;
      if (one != expected >> 8) agrees = 0;
    } while (symbol < agrees);
    *d = here;
  }
  return (uint8_t)descend(d, model, symbol, end);
}

static void decompress(const uint8_t* input, uint8_t* output, uint8_t* end, struct Model* model) {
  for (Bit* one = (Bit*)model; one != (Bit*)(model + 1); ++one) *one = kHalf;
  struct Decoder d = {input + 1, 0xffffffff, 0}; /* the first byte is always 0 */
  for (uint32_t i = 0; i < 4; ++i) d.code = d.code << 8 | *d.input++;
  uint32_t state = 0, previous = 0;
  uint32_t recent[4] = {0, 0, 0, 0}; /* the distances of the last matches, less 1 */
  while (output < end) {
    uint32_t position = (uint32_t)output % kPositions;
    if (!bit(&d, &model->is_match[position][state])) {
      *output = literal(&d, model->literals[previous >> 5], state >= 7, output[-1 - recent[0]]);
      state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
      previous = *output++;
      continue;
    }
    uint32_t count;
    if (bit(&d, &model->is_repeat[state])) {
      uint32_t which = 0;
      if (bit(&d, &model->is_other[state])) {
        which = 1;
        if (bit(&d, &model->is_third[state])) which = 2 + bit(&d, &model->is_fourth[state]);
      } else if (!bit(&d, &model->is_several[position][state])) {
        state = state < 7 ? 9 : 11;
        previous = *output = output[-1 - recent[0]];
        ++output;
        continue;
      }
      uint32_t found = recent[which];
      for (; which != 0; --which) recent[which] = recent[which - 1];
      recent[0] = found;
      count = length(&d, &model->repeat_lengths, position);
      state = state < 7 ? 8 : 11;
    } else {
      for (uint32_t i = 3; i != 0; --i) recent[i] = recent[i - 1];
      count = length(&d, &model->lengths, position);
      recent[0] = distance(&d, model, count);
      state = state < 7 ? 7 : 10;
    }
    const uint8_t* from = output - 1 - recent[0];
    count += 2;
    __asm__ volatile("rep movsb" : "+D"(output), "+S"(from), "+c"(count) : : "memory");
    previous = output[-1];
  }
}

using namespace aril;

/* Puts the fields of instructions together. */
struct Joining {
  const uint8_t* streams[code_fields::kStreams];
  uint8_t* image;
  uint8_t* output;

  [[gnu::noinline]] uint8_t byte(uint32_t stream) { return *output++ = *streams[stream]++; }
  [[gnu::noinline]] void put(uint32_t stream, uint32_t less) {
    *(uint32_t*)output = __builtin_bswap32(*(const uint32_t*)streams[stream]) - less;
    streams[stream] += 4;
    output += 4;
  }
  void word(uint32_t stream) { put(stream, 0); }
  void target(uint32_t stream) { put(stream, (uint32_t)(output - image) + 4); }
};

static void copy(uint8_t*& to, const uint8_t*& from, uint32_t count) {
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

/* The image grows over what it is made of, behind what is still needed of that; `header` is memory
   elsewhere. */
static void join(const uint8_t* split, uint8_t* image, code_fields::Header* header,
                 const code_fields::KindTable& kinds) {
  Joining joining;
  joining.image = joining.output = image;
  uint8_t* header_bytes = (uint8_t*)header;
  copy(header_bytes, split, sizeof *header);
  for (const code_fields::Region& region : header->regions) {
    copy(joining.output, split, region.raw);
    for (uint32_t i = 0; i < code_fields::kStreams; ++i) {
      joining.streams[i] = split;
      split += region.streams[i];
    }
    const uint8_t* end = joining.output + region.code;
    while ((uint32_t)(end - joining.output) >= code_fields::kLongest)
      code_fields::for_one_instruction(joining, kinds);
    copy(joining.output, joining.streams[code_fields::kOpcodes], (uint32_t)(end - joining.output));
    uint32_t zeroes = region.zeroes;
    __asm__ volatile("rep stosb" : "+D"(joining.output), "+c"(zeroes) : "a"(0) : "memory");
  }
}

/* At the same distance from start.S wherever both are, which passes its address. */
extern "C" [[gnu::section(".text.kinds"), gnu::used]] constexpr code_fields::KindTable kinds = {};

/* Called by start.S. `split` is where its positions count from: a multiple of kPositions. */
extern "C" void unpack(const uint8_t* input, uint8_t* split, uint32_t size, struct Model* model,
                       uint8_t* image, const code_fields::KindTable& kinds_here) {
  decompress(input, split, split + size, model);
  join(split, image, (code_fields::Header*)model, kinds_here);
}
