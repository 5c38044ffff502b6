#include <charconv>
#include <string>

#include "family_table.hpp"
#include "fs/procfs/procfs.hpp"
#include "linux/proc/proc_files.hpp"

/// /proc/sys/net/ipv4/tcp_fastopen and tcp_fastopen_key [Linux Documentation/networking/ip-sysctl].
namespace aril::linux_abi {

namespace {

using net::FastOpenKeys;
using net::FastOpenMode;
using synthetic::append_format;

std::string_view trimmed(std::string_view text) {
  size_t end = text.find_last_not_of(" \n\t");
  return end == std::string_view::npos ? std::string_view{} : text.substr(0, end + 1);
}

Result<uint32_t> number_of(std::string_view text, int base) {
  uint32_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc{} || end != text.data() + text.size()) return fail(Errno::kInval);
  return number;
}

Result<void> show_mode(std::string& out) {
  if (inet_runtime() == nullptr) return {};
  net::Runtime::Guard guard(*inet_runtime());
  append_format(out, "%u\n", std::to_underlying(guard->tcp().fast_open().mode));
  return {};
}

Result<void> set_mode(std::string_view text) {
  uint32_t bits = ARIL_TRY(number_of(trimmed(text), 10));
  if (inet_runtime() == nullptr) return {};
  net::Runtime::Guard guard(*inet_runtime());
  guard->tcp().fast_open().mode = static_cast<FastOpenMode>(bits);
  return {};
}

Result<void> show_keys(std::string& out) {
  if (inet_runtime() == nullptr) return {};
  std::array<std::byte, FastOpenKeys::kMaxBytes> bytes;
  size_t size;
  {
    net::Runtime::Guard guard(*inet_runtime());
    size = guard->tcp().fast_open().keys.write(bytes);
  }
  for (size_t at = 0; at < size; at += sizeof(uint32_t)) {
    uint32_t word;
    memcpy(&word, bytes.data() + at, sizeof word);
    if (at != 0) out += at == FastOpenKeys::kKeyBytes ? ',' : '-';
    append_format(out, "%08x", word);
  }
  out += '\n';
  return {};
}

/// Four words in hexadecimal, with '-' between them; a second key after a ','.
Result<void> set_keys(std::string_view text) {
  std::array<std::byte, FastOpenKeys::kMaxBytes> bytes;
  text = trimmed(text);
  size_t size = 0;
  for (bool more = true; more;) {
    size_t end = text.find_first_of("-,");
    more = end != std::string_view::npos;
    uint32_t word = ARIL_TRY(number_of(text.substr(0, end), 16));
    if (size == bytes.size()) return fail(Errno::kInval);
    memcpy(bytes.data() + size, &word, sizeof word);
    size += sizeof word;
    if (!more) break;
    if ((text[end] == ',') != (size == FastOpenKeys::kKeyBytes)) return fail(Errno::kInval);
    text.remove_prefix(end + 1);
  }
  FastOpenKeys keys = ARIL_TRY(FastOpenKeys::parse(std::span(bytes).first(size)));
  if (inet_runtime() == nullptr) return {};
  net::Runtime::Guard guard(*inet_runtime());
  guard->tcp().fast_open().keys = keys;
  return {};
}

void add_files(procfs::Procfs& procfs) {
  procfs.add_file("sys/net/ipv4/tcp_fastopen", show_mode, set_mode);
  procfs.add_file("sys/net/ipv4/tcp_fastopen_key", show_keys, set_keys);
}
ARIL_PROC_FILES(add_files);

}  // namespace
}  // namespace aril::linux_abi
