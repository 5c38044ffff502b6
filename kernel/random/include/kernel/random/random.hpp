#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace aril::random {

/// Mixes bytes into the generator's state. Any context. `entropy_bits` is a cautious estimate.
void add_entropy(std::span<const std::byte> bytes, unsigned entropy_bits);

/// Cryptographically secure bytes: ChaCha20 with fast key erasure, one state per CPU, reseeded from
/// the pool. Any context, never blocks; before is_seeded() the output may be guessable.
void fill(std::span<std::byte> out);
uint64_t next_u64();
/// Uniform in [0, bound), bound > 0.
uint64_t below(uint64_t bound);

/// 256 bits have been gathered (hardware generator, virtio-rng, boot seed).
[[nodiscard]] bool is_seeded();

/// Boot CPU, once: seeds from the CPU's generator and the cycle counter.
void initialize();

}  // namespace aril::random
