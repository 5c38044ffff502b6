#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace aril::linux_abi {

/// A `mov $number, %eax; syscall` that may become a jump; or with any other constant load directly
/// before the `syscall`, as `xor %eax, %eax` for 0 and `mov $-100, %edi` in openat.
struct CallSite {
  /// Bytes of the constant load: 5 (b8+r imm32), 6 (41 b8+r imm32), 7 (48 c7 c0 imm32), or 2 (31 or
  /// 33, a register with itself), which leaves room for a short jump only.
  unsigned mov_size;
  [[nodiscard]] bool is_short() const { return mov_size == kShortSize; }
  static constexpr unsigned kShortSize = 2;
};

/// How many bytes before a `syscall` instruction the analysis wants to see, at most; and how many
/// behind it, for a short site.
inline constexpr size_t kCallSiteWindow = 96, kPaddingWindow = 120;

/// Decides whether the `syscall` instruction that directly follows `before`, and was executed with
/// `number` in EAX, is preceded by a constant load that is an instruction of the program, and not
/// the tail of another one: decoding from every offset far enough before must, wherever it can be
/// followed, come to its first byte. One of EAX must load `number`. nullopt when in doubt.
std::optional<CallSite> find_call_site(std::span<const uint8_t> before, uint64_t number);

/// Bytes that no flow of control reaches.
struct Padding {
  size_t offset, size;
};
/// The nearest padding in `after`, the code that follows a `syscall`, with room for a jump: a no-op
/// of several bytes behind a return or a jump, as compilers put before what they align.
std::optional<Padding> find_padding(std::span<const uint8_t> after);

inline constexpr size_t kJumpSize = 5;
/// A jump from `site` to `target`. nullopt when that is not within reach.
std::optional<std::array<uint8_t, kJumpSize>> jump_bytes(uint64_t site, uint64_t target);
/// The same in two bytes, which reach 127 bytes forward.
std::optional<std::array<uint8_t, CallSite::kShortSize>> short_jump_bytes(uint64_t site,
                                                                          uint64_t target);

/// A stub: the site's own mov, the return address into RCX, a jump through `entry_pointer`, which
/// lies within 2 GiB of it.
inline constexpr size_t kStubSize = 32;
std::array<uint8_t, kStubSize> make_stub(std::span<const uint8_t> mov, uint64_t stub_address,
                                         uint64_t return_address, uint64_t entry_pointer);

}  // namespace aril::linux_abi
