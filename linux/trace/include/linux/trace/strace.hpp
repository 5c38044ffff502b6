#pragma once
#include <cstdint>
#include <string_view>

#include "arch/trap_frame.hpp"
#include "linux/abi/syscall.hpp"

namespace aril::linux_abi {

/// The `strace` option: every system call becomes a "strace" record [base/image_abi.hpp]. One call
/// being traced: arguments are decoded when it starts, data that it filled in and the result when
/// it ends. A call that does not return (exit, execve) is written when it starts.
class StraceCall {
 public:
  /// `record` null: an unknown call, arguments in hexadecimal.
  StraceCall(uint64_t number, const SyscallRecord* record, const arch::TrapFrame& frame);
  void finish(int64_t result);

 private:
  class Line;
  void decode(Line& line, bool finished, int64_t result) const;
  /// `filled_in`: bytes of a buffer that are worth showing.
  void put_argument(Line& line, std::string_view word, size_t index, uint64_t filled_in) const;

  uint64_t number_;
  const SyscallRecord* record_;
  uint64_t arguments_[6];
};

}  // namespace aril::linux_abi
