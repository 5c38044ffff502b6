#include "base/number_text.hpp"
#include "base/units.hpp"
#include "drivers/virtio/device_set.hpp"

namespace aril::virtio {
namespace {

/// A number in C's notation at the start of `text`, which it is taken from.
std::optional<uint64_t> take_c_number(std::string_view& text) {
  if (!text.starts_with("0x") && !text.starts_with("0X")) return take_number(text);
  text.remove_prefix(2);
  return take_number(text, 16);
}

bool take(std::string_view& text, char wanted) {
  if (text.empty() || text.front() != wanted) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

std::optional<MmioLocation> parse_mmio_option(std::string_view value) {
  std::optional<uint64_t> size = take_c_number(value);
  if (!size || value.empty()) return std::nullopt;
  uint64_t unit = 1;
  switch (value.front()) {
    case 'k':
    case 'K':
      unit = kKiB;
      break;
    case 'm':
    case 'M':
      unit = kMiB;
      break;
    case 'g':
    case 'G':
      unit = kGiB;
      break;
    default:
      break;
  }
  if (unit != 1) value.remove_prefix(1);
  // Below this the fixed registers do not fit [virtio-1.2] 4.2.2; far above it is no device.
  if (__builtin_mul_overflow(*size, unit, &*size) || *size < 0x100 || *size > kMiB)
    return std::nullopt;
  if (!take(value, '@')) return std::nullopt;
  std::optional<uint64_t> address = take_c_number(value);
  if (!address || *address == 0 || *address % 4 != 0 || *address + *size < *address ||
      !take(value, ':'))
    return std::nullopt;
  std::optional<uint64_t> gsi = take_c_number(value);
  if (!gsi || *gsi > 0xffff) return std::nullopt;
  if (take(value, ':') && !take_c_number(value)) return std::nullopt;
  if (!value.empty()) return std::nullopt;
  return MmioLocation{.address = *address,
                      .size = static_cast<uint32_t>(*size),
                      .gsi = static_cast<uint32_t>(*gsi)};
}

}  // namespace aril::virtio
