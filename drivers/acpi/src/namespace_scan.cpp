#include "drivers/acpi/namespace_scan.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "base/endian.hpp"

namespace aril::acpi {
namespace {

using Bytes = std::span<const std::byte>;

// Opcodes [ACPI 6.5] 20.3.
constexpr uint8_t kZeroOp = 0x00, kOneOp = 0x01, kNameOp = 0x08, kBytePrefix = 0x0a,
                  kWordPrefix = 0x0b, kDwordPrefix = 0x0c, kStringPrefix = 0x0d, kBufferOp = 0x11,
                  kPackageOp = 0x12, kExtendedPrefix = 0x5b, kDeviceOp = 0x82;

/// A cursor that yields nothing more once it ran out of bytes.
class Reader {
 public:
  explicit Reader(Bytes bytes) : bytes_(bytes) {}
  [[nodiscard]] size_t position() const { return at_; }
  [[nodiscard]] Bytes rest() const { return bytes_.subspan(at_); }

  std::optional<uint8_t> byte() {
    if (at_ == bytes_.size()) return std::nullopt;
    return static_cast<uint8_t>(bytes_[at_++]);
  }
  template <typename T>
  std::optional<T> integer() {
    if (bytes_.size() - at_ < sizeof(T)) return std::nullopt;
    Le<T> value;
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof(T);
    return value.get();
  }
  /// A constant: ZeroOp, OneOp, or a prefix and its bytes.
  std::optional<uint32_t> constant() {
    auto op = byte();
    if (!op) return std::nullopt;
    switch (*op) {
      case kZeroOp:
        return 0;
      case kOneOp:
        return 1;
      case kBytePrefix:
        return byte();
      case kWordPrefix:
        return integer<uint16_t>();
      case kDwordPrefix:
        return integer<uint32_t>();
      default:
        return std::nullopt;
    }
  }
  /// PkgLength [ACPI 6.5] 20.2.4, which counts itself: what it encloses.
  std::optional<Bytes> package() {
    size_t start = at_;
    auto lead = byte();
    if (!lead) return std::nullopt;
    unsigned more = *lead >> 6;
    size_t length = more == 0 ? *lead & 0x3f : *lead & 0x0f;
    for (unsigned i = 0; i < more; ++i) {
      auto next = byte();
      if (!next) return std::nullopt;
      length |= size_t{*next} << (4 + 8 * i);
    }
    if (length < at_ - start || length > bytes_.size() - start) return std::nullopt;
    return bytes_.subspan(at_, length - (at_ - start));
  }

 private:
  Bytes bytes_;
  size_t at_ = 0;
};

/// Where `pattern` begins in `bytes`, from `from` on; bytes.size() when nowhere.
size_t find(Bytes bytes, std::string_view pattern, size_t from = 0) {
  auto begin = bytes.begin() + static_cast<ptrdiff_t>(from);
  auto found = std::search(begin, bytes.end(), pattern.begin(), pattern.end(),
                           [](std::byte a, char b) { return a == static_cast<std::byte>(b); });
  return static_cast<size_t>(found - bytes.begin());
}

/// What follows `Name(name, ` in `bytes`; empty when it is not there.
Bytes value_of(Bytes bytes, std::string_view name) {
  for (size_t at = find(bytes, name); at < bytes.size(); at = find(bytes, name, at + 1)) {
    if (at != 0 && bytes[at - 1] == std::byte{kNameOp}) return bytes.subspan(at + name.size());
  }
  return {};
}

bool has_hardware_id(Bytes device, std::string_view id) {
  Bytes value = value_of(device, "_HID");
  return value.size() > id.size() + 1 && value[0] == std::byte{kStringPrefix} &&
         std::memcmp(value.data() + 1, id.data(), id.size()) == 0 &&
         value[1 + id.size()] == std::byte{0};
}

/// A resource template [ACPI 6.5] 6.4: the first fixed memory range and interrupt.
std::optional<VirtioMmioDevice> parse_resources(Bytes resources) {
  constexpr uint8_t kMemory32Fixed = 0x86, kExtendedInterrupt = 0x89, kEndTag = 0x79;
  constexpr uint8_t kLargeItem = 0x80;
  VirtioMmioDevice device;
  bool has_memory = false, has_interrupt = false;
  Reader reader(resources);
  for (auto tag = reader.byte(); tag && *tag != kEndTag; tag = reader.byte()) {
    size_t length = *tag & 7;
    if ((*tag & kLargeItem) != 0) {
      auto long_length = reader.integer<uint16_t>();
      if (!long_length) break;
      length = *long_length;
    }
    if (length > reader.rest().size()) break;
    Reader item(reader.rest().first(length));
    reader = Reader(reader.rest().subspan(length));
    if (*tag == kMemory32Fixed) {
      item.byte();  // read-only or writable
      auto address = item.integer<uint32_t>();
      auto size = item.integer<uint32_t>();
      if (!address || !size) break;
      device.address = *address;
      device.size = *size;
      has_memory = true;
    } else if (*tag == kExtendedInterrupt) {
      auto flags = item.byte();
      auto count = item.byte();
      auto gsi = item.integer<uint32_t>();
      if (!flags || !count || *count == 0 || !gsi) break;
      device.gsi = *gsi;
      device.level_triggered = (*flags & 2) == 0;
      device.active_low = (*flags & 4) != 0;
      has_interrupt = true;
    }
  }
  if (!has_memory || !has_interrupt) return std::nullopt;
  return device;
}

std::optional<VirtioMmioDevice> parse_device(Bytes body) {
  if (!has_hardware_id(body, "LNRO0005")) return std::nullopt;
  Reader reader(value_of(body, "_CRS"));
  if (reader.byte() != kBufferOp) return std::nullopt;
  auto buffer = reader.package();
  if (!buffer) return std::nullopt;
  Reader contents(*buffer);
  if (!contents.constant()) return std::nullopt;  // its size, which the package bounds already
  return parse_resources(contents.rest());
}

}  // namespace

std::optional<SleepTypes> find_soft_off(Bytes aml) {
  Bytes value = value_of(aml, "_S5_");
  if (value.empty()) value = value_of(aml, "\\_S5_");
  Reader reader(value);
  if (reader.byte() != kPackageOp) return std::nullopt;
  auto package = reader.package();
  if (!package) return std::nullopt;
  Reader elements(*package);
  auto count = elements.byte();
  auto a = elements.constant();
  if (!count || *count == 0 || !a) return std::nullopt;
  auto b = *count > 1 ? elements.constant() : a;
  return SleepTypes{static_cast<uint8_t>(*a & 7), static_cast<uint8_t>(b.value_or(0) & 7)};
}

size_t find_virtio_mmio(Bytes aml, std::span<VirtioMmioDevice> out) {
  static constexpr char kDevice[] = {static_cast<char>(kExtendedPrefix),
                                     static_cast<char>(kDeviceOp)};
  constexpr std::string_view kPattern(kDevice, sizeof kDevice);
  size_t count = 0;
  for (size_t at = find(aml, kPattern); at < aml.size() && count < out.size();
       at = find(aml, kPattern, at + 1)) {
    Reader reader(aml.subspan(at + kPattern.size()));
    auto body = reader.package();
    if (!body) continue;
    if (auto device = parse_device(*body)) out[count++] = *device;
  }
  return count;
}

}  // namespace aril::acpi
