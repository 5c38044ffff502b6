#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#include "base/assert.hpp"
#include "base/result.hpp"

namespace aril::net {

/// A double-ended queue in one growing circular array, with room for `kInline` members inside the
/// object (a power of two). Growth can fail without panic. Not synchronised.
template <typename T, size_t kInline>
class Ring {
 public:
  static_assert((kInline & (kInline - 1)) == 0 && kInline > 0);
  Ring() = default;
  Ring(Ring&& other) noexcept { take(other); }
  Ring& operator=(Ring&& other) noexcept {
    if (this != &other) {
      clear();
      take(other);
    }
    return *this;
  }
  ~Ring() { clear(); }

  [[nodiscard]] size_t size() const { return count_; }
  [[nodiscard]] bool empty() const { return count_ == 0; }
  T& operator[](size_t index) {
    ARIL_ASSERT(index < count_);
    return slots()[(first_ + index) & mask_];
  }
  const T& operator[](size_t index) const { return const_cast<Ring&>(*this)[index]; }
  T& front() { return (*this)[0]; }
  T& back() { return (*this)[count_ - 1]; }

  /// kNoMem: then nothing changed.
  Result<void> push_back(T value) {
    if (count_ > mask_) ARIL_TRY(grow());
    slots()[(first_ + count_++) & mask_] = std::move(value);
    return {};
  }
  /// A new last member, made in place; null without memory.
  T* add_back() {
    if (count_ > mask_ && !grow()) return nullptr;
    return &slots()[(first_ + count_++) & mask_];  // as popping leaves it: T{}
  }
  void pop_front() {
    front() = T{};
    first_ = (first_ + 1) & mask_;
    --count_;
  }
  void pop_back() {
    back() = T{};
    --count_;
  }
  /// Empties and gives memory back.
  void clear() {
    while (!empty()) pop_back();
    heap_.reset();
    mask_ = kInline - 1;
    first_ = 0;
  }

 private:
  T* slots() { return heap_ ? heap_.get() : inline_; }
  Result<void> grow() {
    uint32_t capacity = (mask_ + 1) * 2;
    std::unique_ptr<T[]> bigger(new (std::nothrow) T[capacity]);
    if (!bigger) return fail(Errno::kNoMem);
    for (size_t i = 0; i < count_; ++i) bigger[i] = std::move((*this)[i]);
    heap_ = std::move(bigger);
    mask_ = capacity - 1;
    first_ = 0;
    return {};
  }
  void take(Ring& other) {
    if (other.heap_) {
      heap_ = std::move(other.heap_);
    } else {
      for (uint32_t i = 0; i < other.count_; ++i) {
        uint32_t slot = (other.first_ + i) & other.mask_;
        inline_[slot] = std::exchange(other.inline_[slot], T{});
      }
    }
    mask_ = std::exchange(other.mask_, kInline - 1);
    first_ = std::exchange(other.first_, 0);
    count_ = std::exchange(other.count_, 0);
  }

  T inline_[kInline];
  std::unique_ptr<T[]> heap_;
  uint32_t mask_ = kInline - 1;
  uint32_t first_ = 0;
  uint32_t count_ = 0;
};

}  // namespace aril::net
