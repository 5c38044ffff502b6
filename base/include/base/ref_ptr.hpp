#pragma once
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "base/assert.hpp"
#include "base/result.hpp"

namespace aril {

/// Base of objects owned by RefPtr. A new object has one reference, which adopt_ref takes.
/// Derived types have a virtual destructor, or are final.
class RefCounted {
 public:
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;

  // Relaxed: whoever adds a reference already holds one, which orders everything else.
  void add_ref() const { references_.fetch_add(1, std::memory_order_relaxed); }

  /// Takes a reference unless the count already reached zero: for caches that hold no reference of
  /// their own and look objects up under the lock that the destructor also takes.
  [[nodiscard]] bool try_add_ref() const {
    uint32_t count = references_.load(std::memory_order_relaxed);
    while (count != 0) {
      if (references_.compare_exchange_weak(count, count + 1, std::memory_order_acquire,
                                            std::memory_order_relaxed))
        return true;
    }
    return false;
  }

  /// True when the last reference is gone and the caller must delete the object.
  [[nodiscard]] bool drop_ref() const {
    // Release publishes this owner's writes; acquire lets the last owner see everyone's.
    uint32_t before = references_.fetch_sub(1, std::memory_order_acq_rel);
    ARIL_ASSERT(before != 0);
    return before == 1;
  }

  [[nodiscard]] uint32_t ref_count() const { return references_.load(std::memory_order_relaxed); }

 protected:
  RefCounted() = default;
  ~RefCounted() = default;

 private:
  mutable std::atomic<uint32_t> references_{1};
};

/// An owning pointer to a RefCounted object; may be null.
template <typename T>
class RefPtr {
 public:
  constexpr RefPtr() = default;
  constexpr RefPtr(std::nullptr_t) {}
  /// Shares an object that is alive: adds a reference.
  explicit RefPtr(T* object) : object_(object) {
    if (object_ != nullptr) object_->add_ref();
  }
  RefPtr(const RefPtr& other) : RefPtr(other.object_) {}
  RefPtr(RefPtr&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  template <std::derived_from<T> U>
  RefPtr(const RefPtr<U>& other) : RefPtr(static_cast<T*>(other.get())) {}
  template <std::derived_from<T> U>
  RefPtr(RefPtr<U>&& other) noexcept : object_(other.leak()) {}
  ~RefPtr() { reset(); }

  RefPtr& operator=(RefPtr other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }

  void reset() {
    if (T* object = std::exchange(object_, nullptr); object != nullptr && object->drop_ref()) {
      // A type whose observers hold no reference says goodbye to them while it is still whole.
      if constexpr (requires { object->before_destruction(); }) object->before_destruction();
      delete object;
    }
  }

  /// Takes over the caller's reference.
  static RefPtr adopt(T* object) {
    RefPtr pointer;
    pointer.object_ = object;
    return pointer;
  }
  /// Gives the reference to the caller.
  [[nodiscard]] T* leak() { return std::exchange(object_, nullptr); }

  [[nodiscard]] T* get() const { return object_; }
  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }
  explicit operator bool() const { return object_ != nullptr; }
  friend bool operator==(const RefPtr& a, const RefPtr& b) { return a.object_ == b.object_; }
  friend bool operator==(const RefPtr& a, const T* b) { return a.object_ == b; }

 private:
  T* object_ = nullptr;
};

/// Takes over the first reference of a new object.
template <typename T>
RefPtr<T> adopt_ref(T* object) {
  return RefPtr<T>::adopt(object);
}

/// Allocates a T; kNoMem when there is no memory for it.
template <typename T, typename... Args>
Result<RefPtr<T>> try_make_ref(Args&&... args) {
  T* object = new (std::nothrow) T(std::forward<Args>(args)...);
  if (object == nullptr) return fail(Errno::kNoMem);
  return adopt_ref(object);
}

template <typename To, typename From>
RefPtr<To> static_ref_cast(RefPtr<From> from) {
  return adopt_ref(static_cast<To*>(from.leak()));
}

}  // namespace aril
