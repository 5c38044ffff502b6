#include "manifest/toml_reader.hpp"

#include <algorithm>
#include <format>

#include "support/text.hpp"

namespace aril::tool {

void TomlReader::fail(const toml::source_region& where, const std::string& message,
                      std::string hint) const {
  throw Error(std::format("{}:{}: {}", name_, where.begin.line, message), std::move(hint));
}

std::string TomlReader::text(const toml::node& node, std::string_view key) const {
  const auto* value = node.as_string();
  if (value == nullptr) fail(node.source(), std::format("{} must be a string", key));
  if (value->get().contains('\0')) {
    fail(node.source(), std::format("{} must not contain a NUL character", key));
  }
  return value->get();
}

std::string TomlReader::text_or_number(const toml::node& node, std::string_view key) const {
  if (const auto* number = node.as_integer()) return std::format("{}", number->get());
  return text(node, key);
}

std::vector<std::pair<std::string, const toml::node*>> TomlReader::texts(
    const toml::node& node, std::string_view key) const {
  const auto* array = node.as_array();
  if (array == nullptr) fail(node.source(), std::format("{} must be an array of strings", key));
  std::vector<std::pair<std::string, const toml::node*>> result;
  for (const toml::node& element : *array) {
    result.emplace_back(text(element, std::format("an element of {}", key)), &element);
  }
  return result;
}

const toml::table& TomlReader::table(const toml::node& node, std::string_view key) const {
  const auto* value = node.as_table();
  if (value == nullptr) fail(node.source(), std::format("{} must be a table", key));
  return *value;
}

void TomlReader::check_keys(const std::vector<std::string>& known) const {
  for (const auto& [key, node] : table_) {
    const std::string text(key.str());
    if (std::ranges::contains(known, text)) continue;
    const auto meant = nearest(text, known);
    fail(key.source(), std::format("unknown key '{}'", percent_encode(text)),
         meant ? std::format("did you mean '{}'?", *meant) : std::string());
  }
}

}  // namespace aril::tool
