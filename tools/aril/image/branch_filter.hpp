#pragma once
#include <cstddef>
#include <span>

namespace aril::tool {

/// Makes the targets of x86 near branches (call, jmp, jcc with 32-bit displacements) absolute in
/// place, most significant byte first, so that calls of one function look alike to a compressor.
/// Whether a byte is an opcode is guessed, the same way in both directions. `code` is an image as
/// it lies in memory, at most 1 GiB; platform/vm/unpack/unpack.c undoes it in the machine.
void filter_branches(std::span<std::byte> code);

/// The inverse of filter_branches().
void unfilter_branches(std::span<std::byte> code);

}  // namespace aril::tool
