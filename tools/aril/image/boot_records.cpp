#include "image/boot_records.hpp"

#include <format>

#include "manifest/values.hpp"
#include "support/error.hpp"
#include "support/text.hpp"

namespace aril::tool {

namespace {

std::vector<std::pair<std::string, std::string>> as_pairs(const BootRecords& records) {
  std::vector<std::pair<std::string, std::string>> pairs;
  if (!records.exec.empty()) pairs.emplace_back("exec", records.exec);
  for (const std::string& argument : records.arguments) pairs.emplace_back("arg", argument);
  for (const auto& [name, value] : records.environment) {
    pairs.emplace_back("env", std::format("{}={}", name, value));
  }
  if (records.cwd) pairs.emplace_back("cwd", *records.cwd);
  if (records.hostname) pairs.emplace_back("hostname", *records.hostname);
  if (records.user) {
    pairs.emplace_back("uid", std::format("{}", records.user->uid));
    pairs.emplace_back("gid", std::format("{}", records.user->gid));
    if (!records.user->groups.empty()) {
      std::string groups;
      for (const uint32_t group : records.user->groups) {
        groups += std::format("{}{}", groups.empty() ? "" : ",", group);
      }
      pairs.emplace_back("groups", groups);
    }
  }
  return pairs;
}

}  // namespace

std::string to_file_content(const BootRecords& records) {
  std::string content;
  for (const auto& [key, value] : as_pairs(records)) {
    content += std::format("{}={}", key, value);
    content += '\0';
  }
  return content;
}

std::string to_command_line(const BootRecords& records) {
  std::string line;
  for (const auto& [key, value] : as_pairs(records)) {
    if (!line.empty()) line += ' ';
    line += std::format("{}={}", key, percent_encode(value));
  }
  return line;
}

BootRecords parse_boot_records(std::string_view content) {
  BootRecords records;
  while (!content.empty()) {
    const size_t end = content.find('\0');
    const size_t equals = content.find('=');
    if (end == std::string_view::npos || equals > end) {
      throw Error(std::format("{} in the image is damaged", kBootRecordsPath));
    }
    const std::string_view key = content.substr(0, equals);
    const std::string value(content.substr(equals + 1, end - equals - 1));
    content.remove_prefix(end + 1);
    if (key == "exec") {
      records.exec = value;
    } else if (key == "arg") {
      records.arguments.push_back(value);
    } else if (key == "env") {
      records.environment.push_back(parse_variable(value));
    } else if (key == "cwd") {
      records.cwd = value;
    } else if (key == "hostname") {
      records.hostname = value;
    } else if (key == "groups") {
      if (!records.user) records.user.emplace();
      for (const std::string& group : split(value, ',')) {
        records.user->groups.push_back(static_cast<uint32_t>(parse_number(group).value_or(0)));
      }
    } else if (key == "uid" || key == "gid") {
      if (!records.user) records.user.emplace();
      const auto number = static_cast<uint32_t>(parse_number(value).value_or(0));
      (key == "uid" ? records.user->uid : records.user->gid) = number;
    }
  }
  return records;
}

}  // namespace aril::tool
