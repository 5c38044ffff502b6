#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/result.hpp"

namespace aril {

/// struct sock_filter: one instruction of classic BPF.
struct FilterInstruction {
  uint16_t code;
  uint8_t jump_true, jump_false;
  uint32_t k;
};
static_assert(sizeof(FilterInstruction) == 8);

/// What a program loads from.
class FilterInput {
 public:
  /// The number in `size` bytes (1, 2 or 4) at `offset`; false when they are not there, which ends
  /// the program with 0.
  virtual bool load(uint32_t offset, unsigned size, uint32_t& value) const = 0;
  [[nodiscard]] virtual uint32_t length() const = 0;

 protected:
  ~FilterInput() = default;
};

/// A program's input that lies in one piece, in the network's order.
class BytesInput final : public FilterInput {
 public:
  explicit BytesInput(std::span<const std::byte> bytes) : bytes_(bytes) {}
  bool load(uint32_t offset, unsigned size, uint32_t& value) const override {
    if (offset > bytes_.size() || bytes_.size() - offset < size) return false;
    value = 0;
    for (std::byte byte : bytes_.subspan(offset, size))
      value = value << 8 | std::to_integer<uint32_t>(byte);
    return true;
  }
  [[nodiscard]] uint32_t length() const override { return static_cast<uint32_t>(bytes_.size()); }

 private:
  std::span<const std::byte> bytes_;
};

/// A checked classic BPF program [Linux net/core/filter.c; S. McCanne, V. Jacobson, 1993]. Jumps
/// go forward only and stay inside, memory accesses are in bounds, and every path ends in a return:
/// run() always ends.
class PacketFilter {
 public:
  static constexpr size_t kMaxLength = 4096;
  /// What programs may do: seccomp's load aligned words of a fixed structure alone [seccomp(2)],
  /// sockets' everything [Linux Documentation/networking/filter.rst].
  enum class Dialect : uint8_t { kSeccomp, kSocket };
  /// `words`: the length of kSeccomp's structure in bytes. kInval for a program that is not
  /// allowed; kNoMem.
  static Result<PacketFilter> create(std::span<const FilterInstruction> program, Dialect dialect,
                                     uint32_t structure_size = 0);
  [[nodiscard]] uint32_t run(const FilterInput& input) const;

 private:
  std::unique_ptr<FilterInstruction[]> program_;
  size_t length_ = 0;
};

}  // namespace aril
