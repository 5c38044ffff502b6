#include "image/etc_files.hpp"

#include <array>
#include <format>
#include <iterator>
#include <ranges>
#include <span>
#include <string_view>

#include "support/error.hpp"
#include "support/file.hpp"
#include "support/text.hpp"

namespace aril::tool {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t kFirstOrdinaryId = 1000;
constexpr uint64_t kNobody = 65534;

bool is_system_id(std::string_view text) {
  const auto id = parse_number(text);
  return id && (*id < kFirstOrdinaryId || *id == kNobody);
}

/// Of each line of the file that has so many fields, those of the system's accounts or groups: what
/// `describe` makes of them. Every start comes here, so nothing is copied on the way.
template <size_t kFields>
std::string describe_system_lines(const char* path,
                                  void (*describe)(std::string&,
                                                   std::span<const std::string_view, kFields>)) {
  std::error_code ignored;
  const std::string text = fs::is_regular_file(path, ignored) ? read_file(path) : std::string();
  std::string result;
  for (const auto line : std::views::split(text, '\n')) {
    std::array<std::string_view, kFields> fields;
    size_t count = 0;
    for (const auto field : std::views::split(line, ':')) {
      if (count < kFields) fields[count] = std::string_view(field);
      ++count;
    }
    if (count == kFields && is_system_id(fields[2])) describe(result, fields);
  }
  return result;
}

/// This host's system accounts. Personal ones stay out of the image.
std::string accounts() {
  std::string result = describe_system_lines<7>(
      "/etc/passwd", [](std::string& out, std::span<const std::string_view, 7> fields) {
        std::format_to(std::back_inserter(out), "{}:x:{}:{}::{}:{}\n", fields[0], fields[2],
                       fields[3], fields[5], fields[6]);
      });
  if (result.empty()) result = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n";
  return result;
}

std::string groups() {
  std::string result = describe_system_lines<4>(
      "/etc/group", [](std::string& out, std::span<const std::string_view, 4> fields) {
        std::format_to(std::back_inserter(out), "{}:x:{}:\n", fields[0], fields[2]);
      });
  if (result.empty()) result = "root:x:0:\nnogroup:x:65534:\n";
  return result;
}

void add_missing(Tree& tree, const char* path, const std::string& content) {
  if (!tree.contains(path)) tree.add_content(path, content);
}

void add_from_host(Tree& tree, const char* path) {
  std::error_code ignored;
  if (!tree.contains(path) && fs::is_regular_file(path, ignored)) {
    tree.add(fs::canonical(path), path);
  }
}

}  // namespace

void add_mount_points(Tree& tree) {
  for (const char* path : {"/dev", "/proc", "/sys", "/run"}) tree.add_directory(path);
  tree.add_directory("/tmp", 01777);
}

void add_system_files(Tree& tree, const std::string& hostname, const std::string& nameserver) {
  // The directories that a merged /usr has as links, as they are on this host.
  for (const char* path : {"/bin", "/sbin", "/lib", "/lib64"}) {
    std::error_code ignored;
    if (!tree.contains(path) && fs::is_symlink(path, ignored)) {
      tree.add_link(path, fs::read_symlink(path));
    }
  }
  add_mount_points(tree);
  for (const char* path :
       {"/etc", "/root", "/home", "/usr/bin", "/var/lib", "/var/log", "/var/cache"}) {
    tree.add_directory(path);
  }
  tree.add_directory("/var/tmp", 01777);
  if (!tree.contains("/var/run")) tree.add_link("/var/run", "/run");

  add_missing(tree, "/etc/passwd", accounts());
  add_missing(tree, "/etc/group", groups());
  add_missing(tree, "/etc/hostname", hostname + "\n");
  add_missing(tree, "/etc/hosts",
              std::format("127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {}\n", hostname));
  add_missing(tree, "/etc/nsswitch.conf",
              "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n"
              "protocols: files\nservices: files\n");
  if (!tree.contains("/etc/resolv.conf")) {
    if (nameserver.empty()) {
      tree.add_link("/etc/resolv.conf", "/run/resolv.conf");
    } else {
      tree.add_content("/etc/resolv.conf", std::format("nameserver {}\n", nameserver));
    }
  }
  for (const char* path :
       {"/etc/services", "/etc/protocols", "/etc/localtime", "/etc/ld.so.cache"}) {
    add_from_host(tree, path);
  }
}

}  // namespace aril::tool
