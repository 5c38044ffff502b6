#pragma once
#include <expected>
#include <utility>

#include "base/errno.hpp"

namespace aril {

/// What every operation that can be expected to fail returns.
template <typename T = void>
using Result = std::expected<T, Errno>;

using Failure = std::unexpected<Errno>;

/// `return fail(Errno::kInval);`
[[nodiscard]] constexpr Failure fail(Errno error) { return Failure(error); }

}  // namespace aril

/// Yields the value of a Result, or returns its error from the enclosing function.
/// A GNU statement expression, because C++ has no other way to return from inside an expression.
#define ARIL_TRY(...)                                     \
  ({                                                      \
    auto aril_try_result_ = (__VA_ARGS__);                \
    if (!aril_try_result_.has_value()) [[unlikely]]       \
      return ::std::unexpected(aril_try_result_.error()); \
    ::aril::detail::take(::std::move(aril_try_result_));  \
  })

namespace aril::detail {
template <typename T>
constexpr T take(Result<T>&& result) {
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}
}  // namespace aril::detail
