#pragma once
#include <cstdint>

namespace aril {

/// As panic() (kernel/log/log.hpp), with the backtrace of the code that was interrupted at this
/// instruction. Any context, NMIs included: takes no lock.
[[noreturn, gnu::format(printf, 3, 4)]] void panic_at(uint64_t instruction_pointer,
                                                      uint64_t frame_pointer, const char* format,
                                                      ...);

}  // namespace aril
