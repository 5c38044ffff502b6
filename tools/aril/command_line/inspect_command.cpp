#include <sys/stat.h>

#include <cstdio>
#include <format>
#include <nlohmann/json.hpp>
#include <optional>

#include "command_line/commands.hpp"
#include "image/boot_records.hpp"
#include "image/erofs_reader.hpp"
#include "image/image_elf.hpp"
#include "support/error.hpp"
#include "support/file.hpp"
#include "support/text.hpp"

namespace aril::tool {

namespace fs = std::filesystem;

namespace {

struct Inspection {
  uint64_t file_size = 0;
  uint64_t kernel_size = 0;
  uint64_t memory_end = 0;
  uint64_t root_size = 0;
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
  const fs::path disk = path + ".root";
  std::error_code ignored;
  if (info.descriptor.root_size != 0) {
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
  if (options.json) {
    print_json(options.image, image);
  } else {
    print_text(options.image, image);
  }
  return 0;
}

}  // namespace aril::tool
