#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/result.hpp"

namespace aril::linux_abi {

/// struct sock_filter: one instruction of classic BPF.
struct FilterInstruction {
  uint16_t code;
  uint8_t jump_true, jump_false;
  uint32_t k;
};
static_assert(sizeof(FilterInstruction) == 8);

/// struct seccomp_data: what a filter sees of a system call.
struct FilterData {
  int32_t number;
  uint32_t architecture;
  uint64_t instruction_pointer;
  uint64_t arguments[6];
};
static_assert(sizeof(FilterData) == 64);

/// A checked classic BPF program over FilterData [seccomp(2); Linux net/core/filter.c]. Jumps go
/// forward only and stay inside, memory accesses are in bounds, and every path ends in a return:
/// run() always ends.
class PacketFilter {
 public:
  static constexpr size_t kMaxLength = 4096;
  /// kInval for a program that is not allowed; kNoMem.
  static Result<PacketFilter> create(std::span<const FilterInstruction> program);
  [[nodiscard]] uint32_t run(const FilterData& data) const;

 private:
  std::unique_ptr<FilterInstruction[]> program_;
  size_t length_ = 0;
};

}  // namespace aril::linux_abi
