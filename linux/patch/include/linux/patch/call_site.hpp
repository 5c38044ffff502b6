#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace aril::linux_abi {

/// A `mov $number, %eax; syscall` that may become a jump.
struct CallSite {
  /// Bytes of the mov: 5 (b8 imm32) or 7 (48 c7 c0 imm32).
  unsigned mov_size;
};

/// How many bytes before a `syscall` instruction the analysis wants to see, at most.
inline constexpr size_t kCallSiteWindow = 96;

/// Decides whether the `syscall` instruction that directly follows `before` is preceded by a mov of
/// `number` into EAX that is an instruction of the program, and not the tail of another one:
/// decoding from every offset far enough before must, wherever it can be followed, come to the
/// mov's first byte. nullopt when in doubt.
std::optional<CallSite> find_call_site(std::span<const uint8_t> before, uint64_t number);

/// The first five bytes of the site once it is patched: a jump from `site` to `stub`. nullopt when
/// the stub is not within reach.
std::optional<std::array<uint8_t, 5>> jump_bytes(uint64_t site, uint64_t stub);

/// A stub: the site's own mov, the return address into RCX, a jump through `entry_pointer`, which
/// lies within 2 GiB of it.
inline constexpr size_t kStubSize = 32;
std::array<uint8_t, kStubSize> make_stub(std::span<const uint8_t> mov, uint64_t stub_address,
                                         uint64_t return_address, uint64_t entry_pointer);

}  // namespace aril::linux_abi
