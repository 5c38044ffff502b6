#include "kernel/random/random.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "arch/cpu.hpp"
#include "base/assert.hpp"
#include "blake2s.hpp"
#include "chacha20.hpp"
#include "kernel/sync/spin_lock.hpp"

// Entropy goes into a pool, a hash that is fed and never drained. Each CPU draws from a ChaCha20
// key of its own, which every draw replaces before its bytes are used ("fast key erasure"): what
// was handed out cannot be computed from the state later. A CPU mixes the pool into its key
// whenever the pool has changed.
namespace aril::random {
namespace {

constexpr unsigned kSeededBits = 256;
constexpr std::array<std::byte, 12> kNoNonce{};

/// One CPU's generator. Interrupts disabled.
struct Generator {
  Key key;
  /// The pool's generation that was mixed in last.
  uint64_t generation;
  /// Bytes drawn ahead for small requests, the unused ones at the end; used ones are zeroes.
  std::array<std::byte, 2 * kChachaBlockSize> ahead;
  size_t left;
};

constinit SpinLock pool_lock{LockRank::kSpinLeaf};
constinit Blake2s::Digest pool{};
constinit std::atomic<uint64_t> pool_generation{0};
constinit std::atomic<unsigned> entropy{0};
constinit std::array<Generator, arch::kMaxCpus> generators{};

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

/// Not optimised away, although nothing reads the bytes any more.
void erase(std::span<std::byte> bytes) {
  std::ranges::fill(bytes, std::byte{});
  asm volatile("" : : "r"(bytes.data()) : "memory");
}

void mix_pool(Generator& generator, uint64_t generation) {
  Blake2s hash;
  hash.update(generator.key);
  {
    LockGuard hold(pool_lock);
    hash.update(pool);
  }
  // Two CPUs never compute the same key, nor one CPU at two times.
  hash.update(bytes_of(arch::cpu_index()));
  uint64_t now = arch::cycles();
  hash.update(bytes_of(now));
  generator.key = hash.finish();
  generator.generation = generation;
  erase(generator.ahead);
  generator.left = 0;
}

/// Replaces the key, and fills `out` with further bytes of the old key's stream.
void advance(Generator& generator, std::span<std::byte> out) {
  std::array<std::byte, kChachaBlockSize> block;
  chacha20_block(generator.key, 0, kNoNonce, block);
  Key old = generator.key;
  std::ranges::copy(std::span(block).first(generator.key.size()), generator.key.begin());
  for (uint32_t counter = 1; !out.empty(); ++counter) {
    chacha20_block(old, counter, kNoNonce, block);
    size_t count = std::min(out.size(), block.size());
    std::ranges::copy(std::span(block).first(count), out.begin());
    out = out.subspan(count);
  }
  erase(old);
  erase(block);
}

Generator& fresh_generator() {
  Generator& generator = generators[arch::cpu_index()];
  // Acquire pairs with add_entropy's release: a new generation comes with the new pool.
  uint64_t generation = pool_generation.load(std::memory_order_acquire);
  if (generator.generation != generation) mix_pool(generator, generation);
  return generator;
}

void fill_small(std::span<std::byte> out) {
  arch::InterruptGuard guard;
  Generator& generator = fresh_generator();
  if (generator.left < out.size()) {
    advance(generator, generator.ahead);
    generator.left = generator.ahead.size();
  }
  auto source = std::span(generator.ahead).last(generator.left).first(out.size());
  std::ranges::copy(source, out.begin());
  erase(source);
  generator.left -= out.size();
}

void fill_large(std::span<std::byte> out) {
  Key key;
  {
    arch::InterruptGuard guard;
    advance(fresh_generator(), key);
  }
  // The long part runs on a key of its own, with interrupts as they were. A stream has 2^32 blocks.
  constexpr size_t kStreamLimit = size_t{1} << 36;
  ARIL_ASSERT(out.size() < kStreamLimit);
  std::array<std::byte, kChachaBlockSize> block;
  for (uint32_t counter = 0; !out.empty(); ++counter) {
    chacha20_block(key, counter, kNoNonce, block);
    size_t count = std::min(out.size(), block.size());
    std::ranges::copy(std::span(block).first(count), out.begin());
    out = out.subspan(count);
  }
  erase(key);
  erase(block);
}

}  // namespace

void add_entropy(std::span<const std::byte> bytes, unsigned entropy_bits) {
  uint64_t now = arch::cycles();
  LockGuard hold(pool_lock);
  Blake2s hash;
  hash.update(pool);
  hash.update(bytes_of(now));
  hash.update(bytes);
  pool = hash.finish();
  // More than the bytes can hold is no credible estimate.
  entropy_bits = static_cast<unsigned>(std::min<size_t>(entropy_bits, bytes.size() * 8));
  unsigned before = entropy.load(std::memory_order_relaxed);
  entropy.store(std::min(before + std::min(entropy_bits, kSeededBits), kSeededBits),
                std::memory_order_relaxed);
  pool_generation.fetch_add(1, std::memory_order_release);
}

void fill(std::span<std::byte> out) {
  if (out.size() <= kChachaBlockSize) {
    fill_small(out);
  } else {
    fill_large(out);
  }
}

uint64_t next_u64() {
  uint64_t value;
  fill(std::as_writable_bytes(std::span(&value, 1)));
  return value;
}

uint64_t below(uint64_t bound) {
  ARIL_ASSERT(bound != 0);
  // Values below 2^64 mod bound are drawn again: the rest is a multiple of bound.
  uint64_t uneven = (0 - bound) % bound;
  for (;;) {
    uint64_t value = next_u64();
    if (value >= uneven) return value % bound;
  }
}

bool is_seeded() { return entropy.load(std::memory_order_relaxed) >= kSeededBits; }

void initialize() {
  std::array<uint64_t, 8> words;
  unsigned good = 0;
  for (uint64_t& word : words) {
    word = arch::cycles();
    uint64_t random = 0;
    if (arch::hardware_random(random)) {
      word ^= random;
      ++good;
    }
  }
  // RDRAND's 64 bits are counted half: its reseeding is slower than its output.
  add_entropy(std::as_bytes(std::span(words)), good * 32);
}

}  // namespace aril::random
