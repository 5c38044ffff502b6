#pragma once
#include <array>
#include <optional>
#include <string_view>

#include "net/wire/address.hpp"

namespace aril::net {

/// An address as people write it: dotted, or as [RFC 5952] wants.
class AddressText {
 public:
  explicit AddressText(IpAddress address);
  [[nodiscard]] std::string_view view() const { return {text_.data(), length_}; }
  [[nodiscard]] const char* c_str() const { return text_.data(); }

 private:
  void append(std::string_view text);
  std::array<char, 40> text_ = {};  // 39 characters at most, and a NUL
  size_t length_ = 0;
};

/// Either family, all of `text`; nothing when it is not one. An IPv4-mapped IPv6 address is the
/// IPv4 address. No scope.
std::optional<IpAddress> parse_address(std::string_view text);

}  // namespace aril::net
