#include "platform/common/command_line.hpp"

#include <algorithm>
#include <limits>

#include "base/number_text.hpp"

namespace aril::platform {
namespace {

constexpr const char* kComponent = "command line";

std::optional<uint8_t> hex_digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<uint8_t>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<uint8_t>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<uint8_t>(c - 'A' + 10);
  return std::nullopt;
}

/// All of `text` as a decimal number.
template <typename T>
bool parse_number(std::string_view text, T& out) {
  auto value = aril::parse_number(text, 10, std::numeric_limits<T>::max());
  if (!value) return false;
  out = static_cast<T>(*value);
  return true;
}

bool parse_root(std::string_view value, KernelOptions& options) {
  if (value == "ram") {
    options.root = RootSource::kRam;
  } else if (value == "module") {
    options.root = RootSource::kModule;
  } else if (value == "vda") {
    options.root = RootSource::kDisk;
  } else {
    return false;
  }
  return true;
}

bool parse_log_level(std::string_view value, KernelOptions& options) {
  unsigned level;
  if (!parse_number(value, level) || (level != 3 && level != 4 && level != 6 && level != 7))
    return false;
  options.console_level = static_cast<LogLevel>(level);
  return true;
}

bool parse_stdio(std::string_view value, KernelOptions& options) {
  if (value == "hvc") {
    options.stdio = KernelOptions::Stdio::kVirtioConsole;
  } else if (value == "serial") {
    options.stdio = KernelOptions::Stdio::kSerial;
  } else {
    return false;
  }
  return true;
}

bool parse_tty(std::string_view value, KernelOptions& options) {
  for (char c : value) {
    switch (c) {
      case 'i':
        options.terminal_stdin = true;
        break;
      case 'o':
        options.terminal_stdout = true;
        break;
      case 'e':
        options.terminal_stderr = true;
        break;
      default:
        return false;
    }
  }
  return true;
}

bool parse_window_size(std::string_view value, KernelOptions& options) {
  size_t x = value.find('x');
  return x != std::string_view::npos && parse_number(value.substr(0, x), options.columns) &&
         parse_number(value.substr(x + 1), options.rows);
}

bool parse_patch(std::string_view value, KernelOptions& options) {
  options.patch_call_sites = value != "off";
  return value == "off" || value == "on";
}

bool parse_aslr(std::string_view value, KernelOptions& options) {
  options.aslr = value != "off";
  return value == "off" || value == "on";
}

bool parse_freeze(std::string_view value, KernelOptions& options) {
  using Freeze = KernelOptions::Freeze;
  options.freeze = value == "warm" ? Freeze::kWarm : Freeze::kFrozen;
  return value.empty() || value == "warm";
}

bool parse_volume(std::string_view value, KernelOptions& options) {
  KernelOptions::Volume volume;
  size_t colon = value.find(':');
  if (colon == 0 || colon == std::string_view::npos) return false;
  volume.tag = value.substr(0, colon);
  value.remove_prefix(colon + 1);
  if (value.ends_with(":ro")) {
    volume.read_only = true;
    value.remove_suffix(3);
  }
  volume.path = value;
  if (!value.starts_with('/') || value == "/") return false;
  options.volumes.push_back(std::move(volume));
  return true;
}

bool parse_disk(std::string_view value, KernelOptions& options) {
  size_t colon = value.find(':');
  if (colon == std::string_view::npos) return false;
  DiskOption disk{.device = std::string(value.substr(0, colon)), .path = {}};
  std::string_view path = value.substr(colon + 1);
  if (path.ends_with(":ro")) {
    disk.read_only = true;
    path.remove_suffix(3);
  }
  if (!path.starts_with('/') || path.size() < 2) return false;
  disk.path = path;
  options.disks.push_back(std::move(disk));
  return true;
}

enum class Known : uint8_t { kNo, kYes, kBadValue };

Known apply_option(const Word& word, std::string_view raw, KernelOptions& options) {
  auto known = [](bool valid) { return valid ? Known::kYes : Known::kBadValue; };
  std::string_view key = word.key;
  std::string_view value = word.value;
  if (key == "root") return known(parse_root(value, options));
  if (key == "disk") return known(parse_disk(value, options));
  if (key == "net") {
    if (options.net.empty()) {
      options.net = value;
    } else {
      options.more_net.emplace_back(value);
    }
    return Known::kYes;
  }
  if (key == "loglevel") return known(parse_log_level(value, options));
  if (key == "tsc_khz") return known(parse_number(value, options.tsc_khz));
  if (key == "epoch_ns") return known(parse_number(value, options.epoch_ns));
  if (key == "volume") return known(parse_volume(value, options));
  if (key == "stdio") return known(parse_stdio(value, options));
  if (key == "tty") return known(parse_tty(value, options));
  if (key == "winsize") return known(parse_window_size(value, options));
  if (key == "aslr") return known(parse_aslr(value, options));
  if (key == "patch") return known(parse_patch(value, options));
  if (key == "strace") {
    options.strace = true;
    return Known::kYes;
  }
  if (key == "boot_timing") {
    options.boot_timing = true;
    return Known::kYes;
  }
  if (key == "freeze") return known(parse_freeze(value, options));
  if (key == "virtio_mmio.device") {
    options.virtio_mmio.push_back(raw.substr(raw.find('=') + 1));
    return Known::kYes;
  }
  return Known::kNo;
}

/// Replaces the variable of the same name, or adds it.
void set_variable(std::vector<std::string>& environment, std::string variable) {
  std::string_view name = std::string_view(variable).substr(0, variable.find('='));
  for (std::string& existing : environment) {
    if (std::string_view(existing).substr(0, existing.find('=')) == name) {
      existing = std::move(variable);
      return;
    }
  }
  environment.push_back(std::move(variable));
}

bool parse_groups(std::string_view text, std::vector<uint32_t>& groups) {
  groups.clear();
  while (!text.empty()) {
    size_t comma = std::min(text.find(','), text.size());
    uint32_t group = 0;
    if (!parse_number(text.substr(0, comma), group)) return false;
    groups.push_back(group);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return true;
}

/// False when the key is not a record's.
Known apply_record(std::string_view key, std::string value, ProgramSpec& spec,
                   bool& arguments_replaced) {
  auto known = [](bool valid) { return valid ? Known::kYes : Known::kBadValue; };
  if (key == "exec") {
    spec.path = std::move(value);
  } else if (key == "arg") {
    if (!arguments_replaced) spec.arguments.clear();
    arguments_replaced = true;
    spec.arguments.push_back(std::move(value));
  } else if (key == "env") {
    set_variable(spec.environment, std::move(value));
  } else if (key == "cwd") {
    spec.working_directory = std::move(value);
  } else if (key == "hostname") {
    spec.hostname = std::move(value);
  } else if (key == "uid") {
    return known(parse_number(std::string_view(value), spec.uid));
  } else if (key == "gid") {
    return known(parse_number(std::string_view(value), spec.gid));
  } else if (key == "groups") {
    return known(parse_groups(value, spec.groups));
  } else {
    return Known::kNo;
  }
  return Known::kYes;
}

bool is_record_key(std::string_view key) {
  constexpr std::string_view kKeys[] = {"exec",     "arg", "env", "cwd",
                                        "hostname", "uid", "gid", "groups"};
  return std::ranges::find(kKeys, key) != std::end(kKeys);
}

void warn(const char* what, std::string_view word) {
  ARIL_LOG_WARNING(kComponent, "%s: %.*s", what, static_cast<int>(word.size()), word.data());
}

}  // namespace

std::string_view take_word(std::string_view& rest) {
  constexpr std::string_view kBlanks = " \t\n";
  rest.remove_prefix(std::min(rest.find_first_not_of(kBlanks), rest.size()));
  std::string_view word = rest.substr(0, rest.find_first_of(kBlanks));
  rest.remove_prefix(word.size());
  return word;
}

Result<Word> decode_word(std::string_view word) {
  size_t equals = word.find('=');
  Word result{word.substr(0, equals), {}};
  if (equals == std::string_view::npos) return result;
  std::string_view raw = word.substr(equals + 1);
  if (raw.find('%') == std::string_view::npos) {
    result.value = raw;
    return result;
  }
  result.value.reserve(raw.size());
  for (size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] != '%') {
      result.value.push_back(raw[i]);
      continue;
    }
    if (raw.size() - i < 3) return fail(Errno::kInval);
    auto high = hex_digit(raw[i + 1]);
    auto low = hex_digit(raw[i + 2]);
    if (!high || !low) return fail(Errno::kInval);
    result.value.push_back(static_cast<char>(*high << 4 | *low));
    i += 2;
  }
  return result;
}

KernelOptions parse_kernel_options(std::string_view command_line) {
  KernelOptions options;
  for (std::string_view raw = take_word(command_line); !raw.empty();
       raw = take_word(command_line)) {
    Result<Word> word = decode_word(raw);
    if (!word) {
      warn("ignored, its %XX encoding is broken", raw);
      continue;
    }
    switch (apply_option(*word, raw, options)) {
      case Known::kYes:
        break;
      case Known::kBadValue:
        warn("ignored, its value is not valid", raw);
        break;
      case Known::kNo:
        if (!is_record_key(word->key)) warn("unknown word ignored", raw);
        break;
    }
  }
  return options;
}

void apply_boot_file(std::string_view records, ProgramSpec& spec) {
  bool arguments_replaced = false;
  while (!records.empty()) {
    size_t length = std::min(records.find('\0'), records.size());
    std::string_view record = records.substr(0, length);
    records.remove_prefix(std::min(length + 1, records.size()));
    if (record.empty()) continue;
    size_t equals = std::min(record.find('='), record.size());
    std::string value(record.substr(std::min(equals + 1, record.size())));
    if (apply_record(record.substr(0, equals), std::move(value), spec, arguments_replaced) !=
        Known::kYes)
      warn("boot file: record ignored", record);
  }
}

void apply_command_line(std::string_view command_line, ProgramSpec& spec) {
  bool arguments_replaced = false;
  for (std::string_view raw = take_word(command_line); !raw.empty();
       raw = take_word(command_line)) {
    Result<Word> word = decode_word(raw);
    if (!word) continue;  // parse_kernel_options has said so
    if (apply_record(word->key, std::move(word->value), spec, arguments_replaced) ==
        Known::kBadValue)
      warn("ignored, its value is not valid", raw);
  }
}

}  // namespace aril::platform
