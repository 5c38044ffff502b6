#include "kernel/vm/user_copy.hpp"

#include <algorithm>
#include <array>

#include "arch/user_access.hpp"

// Application addresses become pointers here and nowhere else: they are numbers everywhere above.
namespace aril {
namespace {

/// How many of `size` bytes from `address` on lie in the application's half.
size_t bytes_in_range(uint64_t address, size_t size) {
  if (address < arch::kApplicationBottom || address >= arch::kApplicationTop) return 0;
  return std::min<uint64_t>(size, arch::kApplicationTop - address);
}

template <typename T>
T* pointer(uint64_t address) {
  return reinterpret_cast<T*>(address);
}

Result<void> all_or_fault(size_t done, size_t wanted) {
  if (done != wanted) return fail(Errno::kFault);
  return {};
}

}  // namespace

size_t copy_some_from_user(std::span<std::byte> to, uint64_t from) {
  size_t size = bytes_in_range(from, to.size());
  if (size == 0) return 0;
  return size - arch::raw_copy(to.data(), pointer<const void>(from), size);
}

size_t copy_some_to_user(uint64_t to, std::span<const std::byte> from) {
  size_t size = bytes_in_range(to, from.size());
  if (size == 0) return 0;
  return size - arch::raw_copy(pointer<void>(to), from.data(), size);
}

size_t zero_some_user(uint64_t to, size_t count) {
  size_t size = bytes_in_range(to, count);
  if (size == 0) return 0;
  return size - arch::aril_raw_zero(pointer<void>(to), size);
}

Result<void> copy_from_user(std::span<std::byte> to, uint64_t from) {
  if (!is_user_range(from, to.size())) return fail(Errno::kFault);
  return all_or_fault(copy_some_from_user(to, from), to.size());
}

Result<void> copy_to_user(uint64_t to, std::span<const std::byte> from) {
  if (!is_user_range(to, from.size())) return fail(Errno::kFault);
  return all_or_fault(copy_some_to_user(to, from), from.size());
}

Result<void> zero_user(uint64_t to, size_t count) {
  if (!is_user_range(to, count)) return fail(Errno::kFault);
  return all_or_fault(zero_some_user(to, count), count);
}

Result<size_t> copy_string_from_user(std::span<char> to, uint64_t from) {
  size_t limit = bytes_in_range(from, to.size());
  if (limit == 0) return fail(to.empty() ? Errno::kNameTooLong : Errno::kFault);
  int64_t length = arch::aril_raw_copy_string(to.data(), pointer<const char>(from), limit);
  if (length < 0) return fail(Errno::kFault);
  if (static_cast<size_t>(length) == limit)
    return fail(limit == to.size() ? Errno::kNameTooLong : Errno::kFault);
  return static_cast<size_t>(length);
}

Result<std::string> string_from_user(uint64_t from, size_t limit) {
  std::array<char, 256> chunk;
  std::string text;
  for (;;) {
    // One more than may come, so that a string of exactly `limit` characters has room for its NUL.
    size_t want = std::min(chunk.size(), limit + 1 - text.size());
    size_t in_range = bytes_in_range(from, want);
    if (in_range == 0) return fail(Errno::kFault);
    int64_t length = arch::aril_raw_copy_string(chunk.data(), pointer<const char>(from), in_range);
    if (length < 0) return fail(Errno::kFault);
    auto count = static_cast<size_t>(length);
    if (text.size() + count > limit) return fail(Errno::kNameTooLong);
    text.append(chunk.data(), count);
    if (count < in_range) return text;
    from += count;
  }
}

Result<uint32_t> load_user_u32(uint64_t address) {
  if (!is_user_range(address, sizeof(uint32_t))) return fail(Errno::kFault);
  if (address % sizeof(uint32_t) != 0) return fail(Errno::kInval);
  uint32_t value = 0;
  if (!arch::aril_raw_load_u32(pointer<const uint32_t>(address), &value))
    return fail(Errno::kFault);
  return value;
}

Result<bool> compare_exchange_user_u32(uint64_t address, uint32_t& expected, uint32_t desired) {
  if (!is_user_range(address, sizeof(uint32_t))) return fail(Errno::kFault);
  if (address % sizeof(uint32_t) != 0) return fail(Errno::kInval);
  uint32_t wanted = expected;
  if (!arch::aril_raw_compare_exchange_u32(pointer<uint32_t>(address), &expected, desired))
    return fail(Errno::kFault);
  return expected == wanted;
}

}  // namespace aril
