#pragma once
// toml++ is built without its own exceptions, so that a wrong file is one Error of ours.
#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

#include <string>
#include <vector>

#include "support/error.hpp"

namespace aril::tool {

/// Typed access to a TOML table, with errors that name file and line.
class TomlReader {
 public:
  TomlReader(std::string name, const toml::table& table) : name_(std::move(name)), table_(table) {}

  const toml::node* find(std::string_view key) const { return table_.get(key); }
  std::string text(const toml::node& node, std::string_view key) const;
  /// A string or a whole number, as text.
  std::string text_or_number(const toml::node& node, std::string_view key) const;
  std::vector<std::pair<std::string, const toml::node*>> texts(const toml::node& node,
                                                               std::string_view key) const;
  const toml::table& table(const toml::node& node, std::string_view key) const;

  /// Refuses keys other than `known`.
  void check_keys(const std::vector<std::string>& known) const;

  /// Throws Error "NAME:LINE: message".
  [[noreturn]] void fail(const toml::source_region& where, const std::string& message,
                         std::string hint = {}) const;

  /// Runs `action`, whose Errors are about the value at `node`.
  template <class Action>
  auto at(const toml::node& node, std::string_view key, Action action) const {
    try {
      return action();
    } catch (const Error& error) {
      fail(node.source(), std::format("{}: {}", key, error.what()), error.hint());
    }
  }

 private:
  std::string name_;
  const toml::table& table_;
};

}  // namespace aril::tool
