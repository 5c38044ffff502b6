#include "manifest/manifest.hpp"

#include "manifest/toml_reader.hpp"
#include "manifest/values.hpp"
#include "support/error.hpp"
#include "support/file.hpp"

namespace aril::tool {

namespace fs = std::filesystem;

namespace {

const std::vector<std::string> kKeys = {
    "program", "arguments", "environment", "files",   "directories", "links",    "root",
    "cwd",     "user",      "hostname",    "memory",  "cpus",        "ports",    "net",
    "machine", "volumes",   "disks",       "profile", "components",  "features", "system_calls"};

void read_content(const TomlReader& reader, const fs::path& directory, Manifest& manifest) {
  if (const auto* node = reader.find("files")) {
    for (const auto& [text, element] : reader.texts(*node, "files")) {
      manifest.files.push_back(
          reader.at(*element, "files", [&] { return parse_file(text, directory); }));
    }
  }
  if (const auto* node = reader.find("directories")) {
    for (const auto& [text, element] : reader.texts(*node, "directories")) {
      manifest.directories.push_back(
          reader.at(*element, "directories", [&] { return parse_guest_path(text); }));
    }
  }
  if (const auto* node = reader.find("links")) {
    for (const auto& [key, target] : reader.table(*node, "links")) {
      const std::string path =
          reader.at(target, "links", [&] { return parse_guest_path(key.str()); });
      manifest.links[path] = reader.text(target, "the target of a link");
    }
  }
  if (const auto* node = reader.find("root")) {
    manifest.root = fs::absolute(directory / reader.text(*node, "root")).lexically_normal();
  }
}

void read_program(const TomlReader& reader, const fs::path& directory, Manifest& manifest) {
  if (const auto* node = reader.find("program")) {
    manifest.program = reader.text(*node, "program");
    if (manifest.program.empty()) reader.fail(node->source(), "program must not be empty");
    const bool relative_path = manifest.program.contains('/') && manifest.program[0] != '/';
    if (relative_path && reader.find("root") == nullptr) {
      manifest.program = fs::absolute(directory / manifest.program).lexically_normal();
    }
  }
  if (const auto* node = reader.find("arguments")) {
    for (const auto& [text, element] : reader.texts(*node, "arguments")) {
      manifest.arguments.push_back(text);
    }
  }
  if (const auto* node = reader.find("environment")) {
    for (const auto& [key, value] : reader.table(*node, "environment")) {
      const auto [name, text] = reader.at(value, "environment", [&] {
        return parse_variable(
            std::format("{}={}", key.str(), reader.text_or_number(value, "a variable")));
      });
      set_variable(manifest, name, text);
    }
  }
  if (const auto* node = reader.find("cwd")) {
    manifest.cwd =
        reader.at(*node, "cwd", [&] { return parse_guest_path(reader.text(*node, "the value")); });
  }
  if (const auto* node = reader.find("user")) {
    manifest.user = reader.at(
        *node, "user", [&] { return parse_user(reader.text_or_number(*node, "the value")); });
  }
  if (const auto* node = reader.find("hostname")) {
    manifest.hostname = reader.text(*node, "hostname");
  }
}

void read_profile(const TomlReader& reader, Manifest& manifest) {
  if (const auto* node = reader.find("profile")) {
    manifest.profile =
        reader.at(*node, "profile", [&] { return parse_profile(reader.text(*node, "the value")); });
  }
  for (const auto& [key, list] :
       {std::pair("components", &manifest.components), std::pair("features", &manifest.features),
        std::pair("system_calls", &manifest.system_calls)}) {
    const auto* node = reader.find(key);
    if (node == nullptr) continue;
    for (const auto& [text, element] : reader.texts(*node, key)) list->push_back(text);
  }
}

void read_machine(const TomlReader& reader, const fs::path& directory, Manifest& manifest) {
  if (const auto* node = reader.find("memory")) {
    manifest.memory = reader.at(
        *node, "memory", [&] { return parse_memory(reader.text_or_number(*node, "the value")); });
  }
  if (const auto* node = reader.find("cpus")) {
    manifest.cpus = reader.at(
        *node, "cpus", [&] { return parse_cpus(reader.text_or_number(*node, "the value")); });
  }
  if (const auto* node = reader.find("ports")) {
    for (const auto& [text, element] : reader.texts(*node, "ports")) {
      manifest.ports.push_back(reader.at(*element, "ports", [&] { return parse_port(text); }));
    }
  }
  if (const auto* node = reader.find("volumes")) {
    for (const auto& [text, element] : reader.texts(*node, "volumes")) {
      manifest.volumes.push_back(
          reader.at(*element, "volumes", [&] { return parse_volume(text, directory); }));
    }
  }
  if (const auto* node = reader.find("disks")) {
    for (const auto& [text, element] : reader.texts(*node, "disks")) {
      manifest.disks.push_back(
          reader.at(*element, "disks", [&] { return parse_disk(text, directory); }));
    }
  }
  if (const auto* node = reader.find("net")) {
    manifest.network =
        reader.at(*node, "net", [&] { return parse_network(reader.text(*node, "the value")); });
  }
  if (const auto* node = reader.find("machine")) {
    manifest.machine =
        reader.at(*node, "machine", [&] { return parse_machine(reader.text(*node, "the value")); });
  }
}

}  // namespace

Manifest parse_manifest(std::string_view text, const std::string& name, const fs::path& directory) {
  toml::table table;
  try {
    table = with_context(name, [&] { return toml::parse(text, name); });
  } catch (const toml::parse_error& error) {
    throw Error(std::format("{}:{}: {}", name, error.source().begin.line, error.description()));
  }
  const TomlReader reader(name, table);
  reader.check_keys(kKeys);
  Manifest manifest;
  read_program(reader, directory, manifest);
  read_content(reader, directory, manifest);
  read_machine(reader, directory, manifest);
  read_profile(reader, manifest);
  if (manifest.program.empty()) throw Error(std::format("{}:1: there is no key 'program'", name));
  return manifest;
}

Manifest read_manifest(const fs::path& path) {
  return parse_manifest(read_file(path), path.string(), fs::absolute(path).parent_path());
}

void set_variable(Manifest& manifest, const std::string& name, const std::string& value) {
  for (auto& [existing, old_value] : manifest.environment) {
    if (existing != name) continue;
    old_value = value;
    return;
  }
  manifest.environment.emplace_back(name, value);
}

}  // namespace aril::tool
