#pragma once
#include <cstdint>
#include <optional>
#include <span>

namespace aril::linux_abi {

/// The length of the x86-64 instruction at the start of `code` [SDM 2A 2.1-2.3, 2B appendix A];
/// nullopt when it is none in 64-bit mode, is longer than 15 bytes, or `code` ends within it.
std::optional<unsigned> instruction_length(std::span<const uint8_t> code);

}  // namespace aril::linux_abi
