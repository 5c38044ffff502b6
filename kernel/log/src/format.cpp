#include "kernel/log/format.hpp"

#include <cstdint>
#include <cstring>

#include "kernel/log/log.hpp"

namespace aril {
namespace {

/// Text that is cut at the buffer's end.
class Output {
 public:
  explicit Output(std::span<char> buffer) : buffer_(buffer) {}
  void put(char c) {
    if (used_ < buffer_.size()) buffer_[used_++] = c;
  }
  void put(std::string_view text) {
    for (char c : text) put(c);
  }
  void fill(char c, size_t count) {
    for (size_t i = 0; i < count && used_ < buffer_.size(); ++i) put(c);
  }
  [[nodiscard]] std::string_view text() const { return {buffer_.data(), used_}; }

 private:
  std::span<char> buffer_;
  size_t used_ = 0;
};

enum class Length : uint8_t { kChar, kShort, kInt, kLong };  // everything longer is 64 bits

struct Directive {
  bool left = false, zero = false, plus = false, space = false, alternate = false;
  size_t width = 0;
  int precision = -1;
  Length length = Length::kInt;
  char conversion = 0;
};

/// Widths beyond this are a mistake, not a wish.
constexpr size_t kMaxWidth = 1024;

size_t parse_number(const char*& at) {
  size_t value = 0;
  for (; *at >= '0' && *at <= '9'; ++at) {
    if (value < kMaxWidth) value = value * 10 + static_cast<size_t>(*at - '0');
  }
  return value;
}

/// A va_list in a structure: reading it in a called function then advances the caller's.
struct Arguments {
  va_list list;
};

Directive parse(const char*& at, Arguments& arguments) {
  Directive directive;
  for (bool more = true; more;) {
    switch (*at) {
      case '-':
        directive.left = true;
        break;
      case '0':
        directive.zero = true;
        break;
      case '+':
        directive.plus = true;
        break;
      case ' ':
        directive.space = true;
        break;
      case '#':
        directive.alternate = true;
        break;
      default:
        more = false;
        continue;
    }
    ++at;
  }
  if (*at == '*') {
    ++at;
    int width = va_arg(arguments.list, int);
    directive.left |= width < 0;
    directive.width = static_cast<size_t>(width < 0 ? -static_cast<int64_t>(width) : width);
  } else {
    directive.width = parse_number(at);
  }
  if (directive.width > kMaxWidth) directive.width = kMaxWidth;
  if (*at == '.') {
    ++at;
    if (*at == '*') {
      ++at;
      directive.precision = va_arg(arguments.list, int);
    } else {
      directive.precision = static_cast<int>(parse_number(at));
    }
  }
  for (;; ++at) {
    if (*at == 'h') {
      directive.length = directive.length == Length::kShort ? Length::kChar : Length::kShort;
    } else if (*at == 'l' || *at == 'z' || *at == 'j' || *at == 't') {
      directive.length = Length::kLong;
    } else {
      break;
    }
  }
  directive.conversion = *at;
  if (*at != 0) ++at;
  return directive;
}

void put_padded(Output& out, const Directive& directive, std::string_view prefix, size_t zeroes,
                std::string_view text) {
  size_t length = prefix.size() + zeroes + text.size();
  size_t padding = directive.width > length ? directive.width - length : 0;
  if (!directive.left) out.fill(' ', padding);
  out.put(prefix);
  out.fill('0', zeroes);
  out.put(text);
  if (directive.left) out.fill(' ', padding);
}

void put_number(Output& out, const Directive& directive, std::string_view prefix, uint64_t value,
                unsigned base, bool upper) {
  char digits[24];
  char* end = digits + sizeof digits;
  char* start = end;
  const char* alphabet = upper ? "0123456789ABCDEF" : "0123456789abcdef";
  if (value != 0 || directive.precision != 0) {
    do {
      *--start = alphabet[value % base];
      value /= base;
    } while (value != 0);
  }
  auto length = static_cast<size_t>(end - start);
  size_t zeroes = 0;
  if (directive.precision >= 0) {
    auto precision = static_cast<size_t>(directive.precision);
    if (precision > length) zeroes = precision - length;
  } else if (directive.zero && !directive.left && directive.width > length + prefix.size()) {
    zeroes = directive.width - length - prefix.size();
  }
  put_padded(out, directive, prefix, zeroes, {start, length});
}

int64_t signed_argument(const Directive& directive, Arguments& arguments) {
  switch (directive.length) {
    case Length::kChar:
      return static_cast<signed char>(va_arg(arguments.list, int));
    case Length::kShort:
      return static_cast<short>(va_arg(arguments.list, int));
    case Length::kInt:
      return va_arg(arguments.list, int);
    case Length::kLong:
      return va_arg(arguments.list, long);
  }
  return 0;
}

uint64_t unsigned_argument(const Directive& directive, Arguments& arguments) {
  switch (directive.length) {
    case Length::kChar:
      return static_cast<unsigned char>(va_arg(arguments.list, unsigned));
    case Length::kShort:
      return static_cast<unsigned short>(va_arg(arguments.list, unsigned));
    case Length::kInt:
      return va_arg(arguments.list, unsigned);
    case Length::kLong:
      return va_arg(arguments.list, unsigned long);
  }
  return 0;
}

void put_directive(Output& out, const Directive& directive, Arguments& arguments) {
  switch (directive.conversion) {
    case 'd':
    case 'i': {
      int64_t value = signed_argument(directive, arguments);
      // The magnitude of the most negative number only fits unsigned.
      uint64_t magnitude = value < 0 ? -static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
      std::string_view sign = value < 0 ? "-" : directive.plus ? "+" : directive.space ? " " : "";
      put_number(out, directive, sign, magnitude, 10, false);
      break;
    }
    case 'u':
      put_number(out, directive, "", unsigned_argument(directive, arguments), 10, false);
      break;
    case 'o':
      put_number(out, directive, directive.alternate ? "0" : "",
                 unsigned_argument(directive, arguments), 8, false);
      break;
    case 'x':
    case 'X': {
      uint64_t value = unsigned_argument(directive, arguments);
      bool upper = directive.conversion == 'X';
      std::string_view prefix = directive.alternate && value != 0 ? (upper ? "0X" : "0x") : "";
      put_number(out, directive, prefix, value, 16, upper);
      break;
    }
    case 'p':
      put_number(out, directive, "0x", reinterpret_cast<uint64_t>(va_arg(arguments.list, void*)),
                 16, false);
      break;
    case 'c': {
      char c = static_cast<char>(va_arg(arguments.list, int));
      put_padded(out, directive, "", 0, {&c, 1});
      break;
    }
    case 's': {
      const char* text = va_arg(arguments.list, const char*);
      if (text == nullptr) text = "(null)";
      // With a precision the text may lack its NUL.
      size_t length = 0;
      size_t limit = directive.precision >= 0 ? static_cast<size_t>(directive.precision) : SIZE_MAX;
      while (length < limit && text[length] != 0) ++length;
      put_padded(out, directive, "", 0, {text, length});
      break;
    }
    default:
      out.put('%');
      if (directive.conversion != 0 && directive.conversion != '%') out.put(directive.conversion);
      break;
  }
}

}  // namespace

std::string_view format_list(std::span<char> buffer, const char* format, va_list list) {
  Output out(buffer);
  Arguments arguments;
  va_copy(arguments.list, list);
  const char* at = format;
  while (*at != 0) {
    if (*at != '%') {
      out.put(*at++);
      continue;
    }
    ++at;
    Directive directive = parse(at, arguments);
    put_directive(out, directive, arguments);
  }
  va_end(arguments.list);
  std::string_view text = out.text();
  if (text.size() < buffer.size()) buffer[text.size()] = '\0';
  return text;
}

std::string_view format_to(std::span<char> buffer, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::string_view text = format_list(buffer, format, arguments);
  va_end(arguments);
  return text;
}

}  // namespace aril
