#include "support/accounts.hpp"

#include <algorithm>

#include "support/process.hpp"
#include "support/text.hpp"

namespace aril::tool {

namespace {

/// The first line that a command writes; nothing when it fails or is not there.
std::optional<std::string> answer(const std::vector<std::string>& command) {
  if (!find_executable(command.front())) return std::nullopt;
  CommandResult result = run_command(command);
  if (result.status != 0) return std::nullopt;
  return result.output.substr(0, result.output.find('\n'));
}

std::optional<uint32_t> number(const std::string& text) {
  const auto value = parse_number(text);
  if (!value || *value >= UINT32_MAX) return std::nullopt;
  return static_cast<uint32_t>(*value);
}

std::optional<uint32_t> number_from(const std::vector<std::string>& command) {
  const auto text = answer(command);
  return text ? number(*text) : std::nullopt;
}

}  // namespace

std::optional<Account> find_account(const std::string& name) {
  const auto uid = number_from({"id", "-u", "--", name});
  const auto gid = number_from({"id", "-g", "--", name});
  const auto all = answer({"id", "-G", "--", name});
  if (!uid || !gid || !all) return std::nullopt;
  Account account{.uid = *uid, .gid = *gid};
  for (const std::string& word : split(*all, ' ')) {
    const auto group = number(word);
    if (group && *group != account.gid) account.groups.push_back(*group);
  }
  std::ranges::sort(account.groups);
  return account;
}

std::optional<uint32_t> find_group(const std::string& name) {
  const auto entry = answer({"getent", "--", "group", name});
  if (!entry) return std::nullopt;
  const std::vector<std::string> fields = split(*entry, ':');  // NAME:PASSWORD:GID:MEMBERS
  return fields.size() < 3 ? std::nullopt : number(fields[2]);
}

}  // namespace aril::tool
