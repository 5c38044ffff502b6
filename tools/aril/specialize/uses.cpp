#include "specialize/uses.hpp"

#include <algorithm>
#include <vector>

namespace aril::tool {

namespace {

/// What has a use: one of the system calls, or of the steps of the boot.
struct UseRule {
  const char* use;
  std::vector<const char*> calls;
  std::vector<const char*> parts = {};
};
const std::vector<UseRule>& use_rules() {
  static const std::vector<UseRule> rules = {
      {"connect", {"connect"}},
      {"execve", {"execve", "execveat"}},  // of a program in the place of another
      {"forwarding", {}, {"440.proc"}},    // its files switch it on
      {"getsockopt", {"getsockopt"}},
      {"ioctl", {"ioctl"}},
      {"send_pages", {"sendfile", "splice", "copy_file_range"}},
      {"xattrs",
       {"getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr"},
       {"402.overlay"}},
  };
  return rules;
}

/// A use that depends on the arguments of a system call too.
struct ArgumentRule {
  const char* use;
  const char* call;
  bool (*is_used)(const SystemCallScan& scan);
  const char* other_call = nullptr;  ///< has it whatever its arguments
};

bool may_be(const ArgumentValues& values, uint32_t from, uint32_t to) {
  if (!values) return true;
  const auto first = values->lower_bound(from);
  return first != values->end() && *first <= to;
}
bool may_be(const ArgumentValues& values, uint32_t value) { return may_be(values, value, value); }

constexpr uint32_t kIpLevel = 0, kTcpLevel = 6, kIpv6Level = 41;
constexpr ArgumentRule kArgumentRules[] = {
    {"error_queue", "setsockopt",
     [](const SystemCallScan& scan) {  // IP_RECVERR, IPV6_RECVERR
       return (may_be(scan.option_levels, kIpLevel) && may_be(scan.option_names, 11)) ||
              (may_be(scan.option_levels, kIpv6Level) && may_be(scan.option_names, 25));
     }},
    {"group_options", "setsockopt",
     [](const SystemCallScan& scan) {
       // IPV6_ADD_MEMBERSHIP, ...; IP_ADD_MEMBERSHIP, ..., MCAST_MSFILTER
       return (may_be(scan.option_levels, kIpLevel) || may_be(scan.option_levels, kIpv6Level)) &&
              (may_be(scan.option_names, 20, 21) || may_be(scan.option_names, 35, 48));
     }},
    {"ip_options", "setsockopt",
     [](const SystemCallScan& scan) { return may_be(scan.option_levels, kIpLevel); }},
    {"record_locks", "fcntl",
     [](const SystemCallScan& scan) {  // F_GETLK, F_SETLK, F_SETLKW; the same of OFDs
       return may_be(scan.fcntl_commands, 5, 7) || may_be(scan.fcntl_commands, 36, 38);
     },
     "flock"},
    {"tcp_options", "setsockopt",
     [](const SystemCallScan& scan) { return may_be(scan.option_levels, kTcpLevel); }},
};

bool is_used(const ArgumentRule& rule, const Selection& selection) {
  if (rule.other_call != nullptr && selection.calls.contains(rule.other_call)) return true;
  const auto call = selection.calls.find(rule.call);
  if (call == selection.calls.end()) return false;
  // Named by the manifest: with which arguments nobody knows.
  if (!call->second.starts_with("in ")) return true;
  return std::ranges::any_of(selection.scans,
                             [&](const auto& scan) { return rule.is_used(scan.second); });
}

}  // namespace

const std::set<std::string>& all_uses() {
  static const std::set<std::string> all = [] {
    std::set<std::string> names;
    for (const UseRule& rule : use_rules()) names.insert(rule.use);
    for (const ArgumentRule& rule : kArgumentRules) names.insert(rule.use);
    return names;
  }();
  return all;
}

std::set<std::string> left_out_uses(const Selection& selection) {
  std::set<std::string> result;
  if (selection.calls.contains("io_uring_setup")) return result;  // makes other calls for programs
  for (const UseRule& rule : use_rules()) {
    const auto has_call = [&](const char* name) { return selection.calls.contains(name); };
    const auto has_part = [&](const char* name) { return selection.parts.contains(name); };
    if (std::ranges::none_of(rule.calls, has_call) && std::ranges::none_of(rule.parts, has_part)) {
      result.insert(rule.use);
    }
  }
  for (const ArgumentRule& rule : kArgumentRules) {
    if (!is_used(rule, selection)) result.insert(rule.use);
  }
  return result;
}

}  // namespace aril::tool
