#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>

#include "arch/layout.hpp"
#include "base/result.hpp"

namespace aril {

/// Copies between kernel memory and application memory. An address outside the lower half, or a
/// fault that cannot be resolved, gives kFault; bytes before it may have been copied. Thread
/// context, may sleep; no spin lock, and no lock of a rank above kAddressSpace, held.
Result<void> copy_from_user(std::span<std::byte> to, uint64_t from);
Result<void> copy_to_user(uint64_t to, std::span<const std::byte> from);
Result<void> zero_user(uint64_t to, size_t count);
/// As above, but tell how many bytes were copied before an address that cannot be: for reads and
/// writes that may be short. No bytes at all is the caller's kFault.
size_t copy_some_from_user(std::span<std::byte> to, uint64_t from);
size_t copy_some_to_user(uint64_t to, std::span<const std::byte> from);
size_t zero_some_user(uint64_t to, size_t count);
/// [address, address + size) lies in the application's half; it need not be mapped.
[[nodiscard]] constexpr bool is_user_range(uint64_t address, uint64_t size) {
  return size == 0 || (address >= arch::kApplicationBottom && size <= arch::kApplicationTop &&
                       address <= arch::kApplicationTop - size);
}
/// The length of the string at `from` (without its NUL), copied to `to` with its NUL.
/// kNameTooLong when it does not fit.
Result<size_t> copy_string_from_user(std::span<char> to, uint64_t from);
/// As above into a std::string of at most `limit` characters.
Result<std::string> string_from_user(uint64_t from, size_t limit = 4096);
/// Atomic 32-bit access for futexes. kFault.
Result<uint32_t> load_user_u32(uint64_t address);
Result<bool> compare_exchange_user_u32(uint64_t address, uint32_t& expected, uint32_t desired);

/// An application's pointer to a T: only ever accessed through copies.
template <typename T>
  requires std::is_trivially_copyable_v<T>
class UserPtr {
 public:
  constexpr UserPtr() = default;
  constexpr explicit UserPtr(uint64_t address) : address_(address) {}

  [[nodiscard]] constexpr uint64_t address() const { return address_; }
  constexpr explicit operator bool() const { return address_ != 0; }
  [[nodiscard]] constexpr UserPtr operator+(size_t n) const {
    return UserPtr(address_ + n * sizeof(T));
  }

  [[nodiscard]] Result<T> read() const {
    T value;
    ARIL_TRY(copy_from_user(std::as_writable_bytes(std::span(&value, 1)), address_));
    return value;
  }
  [[nodiscard]] Result<void> write(const T& value) const {
    return copy_to_user(address_, std::as_bytes(std::span(&value, 1)));
  }
  [[nodiscard]] Result<void> read_array(std::span<T> to) const {
    return copy_from_user(std::as_writable_bytes(to), address_);
  }
  [[nodiscard]] Result<void> write_array(std::span<const T> from) const {
    return copy_to_user(address_, std::as_bytes(from));
  }

 private:
  uint64_t address_ = 0;
};

}  // namespace aril
