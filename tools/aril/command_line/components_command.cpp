#include <cstdio>
#include <format>
#include <nlohmann/json.hpp>

#include "command_line/commands.hpp"
#include "specialize/component_table.hpp"
#include "support/file.hpp"

namespace aril::tool {

namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text.empty() ? "-" : text;
}

std::vector<std::string> call_names(const Component& component) {
  std::vector<std::string> names;
  for (const auto& [name, number] : component.calls) names.push_back(name);
  return names;
}

}  // namespace

int list_components(const ComponentsOptions& options) {
  const auto components =
      read_components(executable_directory().parent_path() / "lib" / "aril", options.set);
  if (options.json) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const Component& component : components) {
      list.push_back({{"name", component.name},
                      {"layer", component.layer},
                      {"size", component.size},
                      {"depends", component.depends},
                      {"system_calls", call_names(component)},
                      {"boot_parts", component.parts}});
    }
    std::puts(list.dump(2).c_str());
    return 0;
  }
  for (const Component& component : components) {
    std::string text = std::format("{:<20} {:<9}{:>8} bytes\n  depends on {}\n", component.name,
                                   component.layer, component.size, joined(component.depends));
    if (!component.calls.empty())
      text += std::format("  serves {}\n", joined(call_names(component)));
    if (!component.parts.empty()) text += std::format("  boot parts {}\n", joined(component.parts));
    std::fputs(text.c_str(), stdout);
  }
  return 0;
}

}  // namespace aril::tool
