#pragma once
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "arch/trap_frame.hpp"
#include "base/result.hpp"
#include "kernel/vm/user_copy.hpp"

/// How a system call joins the image. A handler is an ordinary function
///   Result<int64_t> sys_dup2(int old_fd, int new_fd);
/// (or Result<void>, or any integral Result) whose parameters are integers, enumerations or
/// UserPtr, registered beside its definition with
///   ARIL_SYSCALL(33, dup2, sys_dup2, "fd fd");
/// The record lands in a linker section of its own, "aril_syscalls.dup2": an image has just the
/// calls whose sections its linker script keeps, and with them what they need. The last argument
/// describes the arguments for --strace: one word each of: fd path str buf ptr int uint hex size
/// off mode oflags pid sig prot mapflags sockaddr timespec iovec msghdr pollfds fdset clockid
/// whence op; ">buf" marks data that the call fills in.
namespace aril::linux_abi {

using SyscallFunction = int64_t (*)(arch::TrapFrame& frame);

struct SyscallRecord {
  uint32_t number;
  bool takes_registers;  ///< the handler gets the whole frame, and may change it
  const char* name;
  SyscallFunction function;
  const char* arguments;
};

namespace detail {
template <typename T>
T argument_from(uint64_t raw) {
  if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
    return static_cast<T>(raw);
  } else {
    return T(raw);
  }
}
template <typename R>
int64_t to_return_value(R&& result) {
  if (!result.has_value()) return -static_cast<int64_t>(result.error());
  if constexpr (std::is_void_v<typename std::remove_cvref_t<R>::value_type>) {
    return 0;
  } else {
    return static_cast<int64_t>(*result);
  }
}
template <auto kFunction>
struct Adapter;
template <typename R, typename... Args, R (*kFunction)(Args...)>
struct Adapter<kFunction> {
  static constexpr bool kTakesRegisters = false;
  static int64_t call(arch::TrapFrame& frame) {
    return [&]<size_t... kIndex>(std::index_sequence<kIndex...>) {
      return to_return_value(kFunction(argument_from<Args>(frame.argument(kIndex))...));
    }(std::index_sequence_for<Args...>{});
  }
};
/// Calls that read or replace the registers themselves (rt_sigreturn, clone, execve).
template <typename R, R (*kFunction)(arch::TrapFrame&)>
struct Adapter<kFunction> {
  static constexpr bool kTakesRegisters = true;
  static int64_t call(arch::TrapFrame& frame) { return to_return_value(kFunction(frame)); }
};
}  // namespace detail

#define ARIL_SYSCALL(number, name, function, arguments)                                         \
  [[gnu::section("aril_syscalls." #name),                                                       \
    gnu::used]] static constinit const ::aril::linux_abi::SyscallRecord                         \
      aril_syscall_record_##name {                                                              \
    number, ::aril::linux_abi::detail::Adapter<&function>::kTakesRegisters, #name,              \
        &::aril::linux_abi::detail::Adapter<&function>::call, ARIL_SYSCALL_ARGUMENTS(arguments) \
  }
// A tiny kernel does not carry the words that describe arguments: --strace shows numbers then.
#ifdef ARIL_TINY
#define ARIL_SYSCALL_ARGUMENTS(arguments) ""
#else
#define ARIL_SYSCALL_ARGUMENTS(arguments) arguments
#endif

}  // namespace aril::linux_abi
