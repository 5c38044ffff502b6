#pragma once
#include <cstdarg>
#include <cstddef>
#include <span>
#include <string_view>

namespace aril {

/// format_to (kernel/log/log.hpp) for an argument list. Understands the flags - 0 + # and space,
/// width and precision (numbers or *), the lengths hh h l ll z j t, and d i u x X o p s c %.
/// Whatever else a directive says is copied as it stands. A NUL follows the text where there is
/// room.
[[gnu::format(printf, 2, 0)]] std::string_view format_list(std::span<char> buffer,
                                                           const char* format, va_list arguments);

}  // namespace aril
