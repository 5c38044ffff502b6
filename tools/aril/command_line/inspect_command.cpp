#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <format>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "command_line/commands.hpp"
#include "image/boot_records.hpp"
#include "image/erofs_reader.hpp"
#include "image/image_elf.hpp"
#include "image/packed_image.hpp"
#include "specialize/special_kernel.hpp"
#include "support/error.hpp"
#include "support/file.hpp"
#include "support/text.hpp"

namespace aril::tool {

namespace fs = std::filesystem;

namespace {

/// A JSON object of which each value passes.
template <typename Check>
bool is_object_of(const nlohmann::ordered_json& json, Check is_right) {
  return json.is_object() && std::ranges::all_of(json, is_right);
}
template <typename Check>
bool is_array_of(const nlohmann::ordered_json& json, Check is_right) {
  return json.is_array() && std::ranges::all_of(json, is_right);
}
bool is_text(const nlohmann::ordered_json& json) { return json.is_string(); }
bool is_count(const nlohmann::ordered_json& json) { return json.is_number_unsigned(); }

/// What make_special_kernel() says has this shape: the file may be damaged, or another's.
bool is_contents(const nlohmann::ordered_json& json) {
  static const nlohmann::ordered_json nothing;
  const auto at = [](const nlohmann::ordered_json& object, const char* key) -> const auto& {
    const auto found = object.find(key);
    return found == object.end() ? nothing : *found;
  };
  return json.is_object() && at(json, "profile").is_string() &&
         is_object_of(at(json, "system_calls"), is_text) &&
         is_object_of(at(json, "boot_parts"), is_text) &&
         is_object_of(at(json, "rewritten"),
                      [&](const auto& program) {
                        return program.is_object() && is_count(at(program, "instructions")) &&
                               is_count(at(program, "jumps"));
                      }) &&
         is_array_of(at(json, "notes"), is_text) &&
         is_array_of(at(json, "components"), [&](const auto& component) {
           return component.is_object() && is_text(at(component, "component")) &&
                  is_count(at(component, "size")) &&
                  is_object_of(at(component, "because_of"), is_count);
         });
}

struct Inspection {
  uint64_t file_size = 0;
  uint64_t kernel_size = 0;
  uint64_t memory_end = 0;
  uint64_t root_size = 0;
  bool packed = false;
  uint64_t frozen_memory = 0;       ///< of the machine that it was frozen on; 0: it was not
  uint64_t unpacked_size = 0;       ///< in memory, when it is packed
  uint64_t packed_size = 0;         ///< the compressed bytes
  nlohmann::ordered_json contents;  ///< what aril build said of the kernel; null when it is lost
  const char* root_place = "none";
  std::string build_id;
  std::optional<BootRecords> records;
  std::vector<ErofsEntry> files;
};

void inspect_root(std::span<const std::byte> bytes, Inspection& result) {
  result.root_size = bytes.size();
  const ErofsReader root(bytes);
  if (const auto records = root.read(kBootRecordsPath)) {
    result.records = parse_boot_records(*records);
  }
  result.files = root.list();
}

Inspection inspect_image(const std::string& path) {
  const MappedFile file(path);
  const ImageInfo info = with_context(path, [&] { return read_image(file.bytes()); });
  Inspection result;
  result.file_size = file.bytes().size();
  result.memory_end = info.memory_end;
  result.build_id = info.elf.build_id;
  result.kernel_size = result.file_size - info.descriptor.root_size;
  result.frozen_memory = info.frozen_memory;
  const fs::path disk = path + ".root";
  std::error_code ignored;
  if (fs::exists(path + kContentsSuffix, ignored)) {
    result.contents =
        nlohmann::ordered_json::parse(read_file(path + kContentsSuffix), nullptr, false);
    if (!is_contents(result.contents)) {
      throw Error(std::format("{}{}: is not what aril build writes", path, kContentsSuffix));
    }
  }
  if (const auto memory = with_context(path, [&] { return unpack_image(file.bytes()); })) {
    result.packed = true;
    result.unpacked_size = memory->bytes.size();
    result.packed_size = memory->packed_size;
    result.kernel_size = result.file_size;
    const uint64_t at = info.descriptor.root_address - memory->address;
    if (info.descriptor.root_size != 0 && at <= memory->bytes.size() &&
        info.descriptor.root_size <= memory->bytes.size() - at) {
      result.root_place = "memory";
      with_context(path, [&] {
        inspect_root(bytes_of(memory->bytes).subspan(at, info.descriptor.root_size), result);
      });
    }
  } else if (info.descriptor.root_size != 0) {
    result.root_place = "memory";
    with_context(path, [&] {
      inspect_root(file.bytes().subspan(info.root_offset, info.descriptor.root_size), result);
    });
  } else if (fs::exists(disk, ignored)) {
    result.root_place = "disk";
    const MappedFile root(disk);
    with_context(disk.string(), [&] { inspect_root(root.bytes(), result); });
  }
  return result;
}

/// Bytes of the image's file.
struct FilePart {
  std::string name;
  uint64_t size = 0;
  std::map<std::string, uint64_t> reasons;
};

/// What the file's bytes are; they sum to its size. In a packed image each part stands with its
/// share of the compressed bytes.
std::vector<FilePart> parts_of(const Inspection& image) {
  std::vector<FilePart> parts;
  uint64_t known = 0;
  if (image.contents.is_object()) {
    for (const auto& component : image.contents["components"]) {
      FilePart part = {component["component"], component["size"], {}};
      for (const auto& [reason, size] : component["because_of"].items()) {
        part.reasons[reason] = size.get<uint64_t>();
      }
      known += part.size;
      parts.push_back(std::move(part));
    }
  }
  if (image.root_size != 0 && std::string_view(image.root_place) == "memory") {
    parts.push_back(
        {"root file system", image.root_size, {{"the program and its files", image.root_size}}});
    known += image.root_size;
  }
  if (image.packed && known != 0) {
    uint64_t packed = 0;
    for (FilePart& part : parts) {
      part.size = part.size * image.packed_size / known;
      packed += part.size;
      for (auto& [reason, size] : part.reasons) {
        size = size * image.packed_size / known;
      }
    }
    known = packed;
  }
  // A byte or two that packing took, or memory that is zeroed when it starts.
  std::erase_if(parts, [](const FilePart& part) { return part.size == 0; });
  if (known < image.file_size) {
    const char* name = image.contents.is_null()   ? "kernel"
                       : image.frozen_memory != 0 ? "memory of the frozen machine"
                                                  : "headers, tables and padding";
    parts.push_back({name, image.file_size - known, {}});
  }
  return parts;
}

/// What asked for which component, for Graphviz.
void print_graph(const Inspection& image) {
  std::string text = "digraph image {\n  rankdir=LR;\n  node [shape=box];\n";
  for (const FilePart& part : parts_of(image)) {
    text +=
        std::format("  \"{}\" [label=\"{}\\n{}\"];\n", part.name, part.name, human_size(part.size));
    for (const auto& [reason, size] : part.reasons) {
      text += std::format("  \"{}\" -> \"{}\" [label=\"{}\"];\n", reason, part.name, size);
    }
  }
  std::puts((text + "}").c_str());
}

/// The reasons that account for most of it, at most three.
std::string main_reasons(const FilePart& part) {
  std::vector<std::pair<uint64_t, std::string>> sorted;
  for (const auto& [reason, size] : part.reasons) sorted.emplace_back(size, reason);
  std::ranges::sort(sorted, std::greater());
  std::string text;
  for (size_t i = 0; i < std::min<size_t>(sorted.size(), 3); ++i) {
    text += std::format("{}{} {}", i == 0 ? "" : ", ", sorted[i].second, sorted[i].first);
  }
  return text;
}

void print_json(const std::string& path, const Inspection& image) {
  nlohmann::ordered_json json = {
      {"image", path},
      {"format", kImageAbiVersion},
      {"size", image.file_size},
      {"kernel_size", image.kernel_size},
      {"kernel_build_id", image.build_id},
      {"memory_end", image.memory_end},
      {"root", {{"place", image.root_place}, {"size", image.root_size}}}};
  if (image.records) {
    nlohmann::ordered_json environment = nlohmann::ordered_json::array();
    for (const auto& [name, value] : image.records->environment) {
      environment.push_back(std::format("{}={}", name, value));
    }
    json["program"] = {{"exec", image.records->exec},
                       {"arguments", image.records->arguments},
                       {"environment", environment},
                       {"cwd", image.records->cwd.value_or("/")}};
  }
  nlohmann::ordered_json parts = nlohmann::ordered_json::array();
  for (const FilePart& part : parts_of(image)) {
    parts.push_back({{"name", part.name}, {"size", part.size}, {"because_of", part.reasons}});
  }
  json["packed"] = image.packed;
  if (image.frozen_memory != 0) json["frozen_memory"] = image.frozen_memory;
  json["parts"] = parts;
  if (!image.contents.is_null()) {
    json["profile"] = image.contents["profile"];
    json["system_calls"] = image.contents["system_calls"];
    json["boot_parts"] = image.contents["boot_parts"];
    json["rewritten"] = image.contents["rewritten"];
    json["notes"] = image.contents["notes"];
  }
  nlohmann::ordered_json files = nlohmann::ordered_json::array();
  for (const ErofsEntry& entry : image.files) {
    files.push_back(
        {{"path", entry.path}, {"mode", std::format("{:o}", entry.mode)}, {"size", entry.size}});
  }
  json["files"] = files;
  // Names in the file system need not be UTF-8.
  std::puts(json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

char kind_letter(mode_t mode) {
  if (S_ISDIR(mode)) return 'd';
  if (S_ISLNK(mode)) return 'l';
  return S_ISREG(mode) ? '-' : '?';
}

void print_text(const std::string& path, const Inspection& image) {
  std::string text = std::format("{}: Aril image, format {}, {}\n", path, kImageAbiVersion,
                                 human_size(image.file_size));
  text += std::format("kernel   {}, build {}\n", human_size(image.kernel_size),
                      image.build_id.empty() ? "unknown" : image.build_id);
  text += std::format("root     {} in {}\n", human_size(image.root_size), image.root_place);
  text += std::format("memory   {} when loaded\n", human_size(image.memory_end));
  if (image.frozen_memory != 0) {
    text += std::format("frozen   on a machine of {}\n", human_size(image.frozen_memory));
  }
  if (image.packed) text += std::format("unpacked {}\n", human_size(image.unpacked_size));
  for (const FilePart& part : parts_of(image)) {
    text += std::format("{:>10} {:<28} {}\n", part.size, part.name, main_reasons(part));
  }
  text += std::format("{:>10} in all\n", image.file_size);
  if (image.contents.is_object()) {
    for (const char* kind : {"system_calls", "boot_parts"}) {
      for (const auto& [name, reason] : image.contents[kind].items()) {
        text += std::format("{} {}: {}\n",
                            std::string_view(kind) == "boot_parts" ? "boot part" : "system call",
                            name, reason.get<std::string>());
      }
    }
    for (const auto& [program, counts] : image.contents["rewritten"].items()) {
      text += std::format("{}: {} of {} syscall instructions became jumps\n", program,
                          counts["jumps"].get<uint64_t>(), counts["instructions"].get<uint64_t>());
    }
    for (const auto& note : image.contents["notes"]) text += note.get<std::string>() + "\n";
  }
  if (image.records) {
    text += std::format("program  {}\n", image.records->exec);
    for (const std::string& argument : image.records->arguments) {
      text += std::format("argument {}\n", argument);
    }
    for (const auto& [name, value] : image.records->environment) {
      text += std::format("variable {}={}\n", name, value);
    }
    text += std::format("cwd      {}\n", image.records->cwd.value_or("/"));
  }
  for (const ErofsEntry& entry : image.files) {
    text += std::format("{}{:04o} {:>10} {}\n", kind_letter(entry.mode), entry.mode & 07777,
                        entry.size, entry.path);
  }
  std::fputs(text.c_str(), stdout);
}

}  // namespace

int inspect(const InspectOptions& options) {
  const Inspection image = inspect_image(options.image);
  if (options.graph) {
    print_graph(image);
  } else if (options.json) {
    print_json(options.image, image);
  } else {
    print_text(options.image, image);
  }
  return 0;
}

}  // namespace aril::tool
