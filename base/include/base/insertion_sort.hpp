#pragma once
#include <cstddef>
#include <span>
#include <utility>

namespace aril {

/// Sorts a short list in place, keeping the order of equals: a few dozen bytes of code, where
/// std::sort brings two thousand. `before(a, b)`: a comes before b.
template <typename T, typename Before>
constexpr void insertion_sort(std::span<T> items, Before before) {
  for (size_t i = 1; i < items.size(); ++i) {
    for (size_t j = i; j != 0 && before(items[j], items[j - 1]); --j)
      std::swap(items[j], items[j - 1]);
  }
}

}  // namespace aril
