#pragma once
#include <memory>
#include <new>
#include <utility>

#include "base/result.hpp"

namespace aril {

/// Allocates a T; kNoMem when there is no memory for it.
template <typename T, typename... Args>
Result<std::unique_ptr<T>> try_make_unique(Args&&... args) {
  T* object = new (std::nothrow) T(std::forward<Args>(args)...);
  if (object == nullptr) return fail(Errno::kNoMem);
  return std::unique_ptr<T>(object);
}

}  // namespace aril
