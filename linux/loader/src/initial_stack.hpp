#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "linux/loader/exec.hpp"
#include "linux/process/credentials.hpp"

namespace aril::linux_abi {

/// What the new program's auxiliary vector says beyond constants.
struct ProgramInfo {
  uint64_t entry = 0;            ///< AT_ENTRY: the program's, not the interpreter's
  uint64_t program_headers = 0;  ///< AT_PHDR
  uint64_t program_header_count = 0;
  uint64_t interpreter_base = 0;  ///< AT_BASE
  uint64_t vdso = 0;              ///< AT_SYSINFO_EHDR; 0: none
  std::string_view path;          ///< AT_EXECFN
};

/// Bytes that write_initial_stack will need at most.
uint64_t initial_stack_size(const ExecRequest& request, const ProgramInfo& info);

/// What write_initial_stack laid down, for /proc.
struct InitialStack {
  uint64_t stack_pointer = 0;
  uint64_t arguments_start = 0, arguments_end = 0, environment_start = 0, environment_end = 0;
  std::string auxiliary_vector;
};

/// Lays strings, auxiliary vector, environment and arguments below `top` in the current address
/// space [System V ABI, AMD64 supplement, 3.4.1]; and says where.
Result<InitialStack> write_initial_stack(uint64_t top, const ExecRequest& request,
                                         const ProgramInfo& info, const Credentials& credentials);

}  // namespace aril::linux_abi
