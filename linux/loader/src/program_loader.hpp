#pragma once
#include <cstdint>
#include <expected>

#include "kernel/io/file.hpp"
#include "kernel/vm/address_space.hpp"
#include "linux/loader/elf.hpp"

namespace aril::linux_abi {

/// An ELF file that passed validation.
struct Program {
  RefPtr<File> file;
  ElfImage image;
};

std::expected<Program, ElfError> open_program(RefPtr<File> file);

/// Maps the segments into the current address space; what to add to the file's addresses.
/// `preferred` is where a position-independent program should start; 0: anywhere.
Result<uint64_t> map_program(AddressSpace& space, const Program& program, uint64_t preferred);

}  // namespace aril::linux_abi
