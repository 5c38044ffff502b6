#include <format>

#include "elf/elf_file.hpp"

namespace aril::tool {

std::string machine_name(uint16_t machine) {
  switch (machine) {
    case EM_386:
      return "32-bit x86";
    case EM_X86_64:
      return "x86-64";
    case EM_ARM:
      return "32-bit ARM";
    case EM_AARCH64:
      return "AArch64";
    case EM_RISCV:
      return "RISC-V";
    case EM_PPC:
      return "32-bit PowerPC";
    case EM_PPC64:
      return "PowerPC 64";
    case EM_S390:
      return "IBM Z";
    case EM_MIPS:
      return "MIPS";
    case EM_SPARCV9:
      return "SPARC";
    case EM_LOONGARCH:
      return "LoongArch";
    case EM_BPF:
      return "BPF";
    default:
      return std::format("machine {}", machine);
  }
}

}  // namespace aril::tool
