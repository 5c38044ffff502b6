#include "manifest/values.hpp"

#include <arpa/inet.h>
#include <net/if.h>

#include <algorithm>
#include <format>
#include <ranges>

#include "support/accounts.hpp"
#include "support/error.hpp"
#include "support/text.hpp"

namespace aril::tool {

namespace fs = std::filesystem;

namespace {

constexpr const char* kTapSyntax =
    "tap:NAME[,ip=ADDRESS/PREFIX][,gateway=ADDRESS][,ip6=ADDRESS/PREFIX][,gateway6=ADDRESS]"
    "[,nameserver=ADDRESS], or tap:NAME,raw";

bool is_ipv6(const std::string& text) {
  in6_addr address = {};
  return inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

bool is_ipv4(const std::string& text) {
  in_addr address = {};
  return inet_pton(AF_INET, text.c_str(), &address) == 1;
}

std::optional<uint16_t> parse_port_number(std::string_view text) {
  const auto number = parse_number(text);
  if (!number || *number == 0 || *number > 65535) return std::nullopt;
  return static_cast<uint16_t>(*number);
}

bool is_prefix(const std::string& text, bool (*is_address)(const std::string&), unsigned longest) {
  const std::vector<std::string> parts = split(text, '/');
  if (parts.size() != 2) return false;
  const auto prefix = parse_number(parts[1]);
  return is_address(parts[0]) && prefix && *prefix <= longest;
}

Network parse_tap(std::string_view text) {
  const std::vector<std::string> parts = split(text, ',');
  Network network = {.kind = NetworkKind::kTap, .tap = parts[0]};
  if (network.tap.empty() || network.tap.size() >= IFNAMSIZ) {
    throw Error(std::format("'{}' is not the name of a network device", network.tap));
  }
  for (const std::string& part : parts | std::views::drop(1)) {
    const size_t equals = part.find('=');
    const std::string key = part.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : part.substr(equals + 1);
    if (part == "raw") {
      network.raw = true;
    } else if (key == "ip" && is_prefix(value, is_ipv4, 32)) {
      network.address = value;
    } else if (key == "gateway" && is_ipv4(value)) {
      network.gateway = value;
    } else if (key == "ip6" && is_prefix(value, is_ipv6, 128)) {
      network.address6 = value;
    } else if (key == "gateway6" && is_ipv6(value)) {
      network.gateway6 = value;
    } else if (key == "nameserver" && (is_ipv4(value) || is_ipv6(value))) {
      network.nameserver = value;
    } else {
      throw Error(std::format("'{}' is not a setting of a tap network", part), kTapSyntax);
    }
  }
  if (network.address.empty() && (!network.gateway.empty() || !network.nameserver.empty())) {
    throw Error("a tap network's gateway and nameserver need its ip=ADDRESS/PREFIX");
  }
  if (network.raw && parts.size() != 2) {
    throw Error("a raw tap network has no other settings", kTapSyntax);
  }
  if (network.address6.empty() && !network.gateway6.empty()) {
    throw Error("a tap network's gateway6 needs its ip6=ADDRESS/PREFIX");
  }
  return network;
}

}  // namespace

uint64_t parse_memory(std::string_view text) {
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto number = parse_number(text.substr(0, digits));
  const std::string_view unit = text.substr(digits);
  unsigned shift = 0;
  if (unit.empty() || unit == "M" || unit == "m" || unit == "MB" || unit == "MiB") {
    shift = 20;
  } else if (unit == "G" || unit == "g" || unit == "GB" || unit == "GiB") {
    shift = 30;
  } else if (unit == "K" || unit == "k" || unit == "KB" || unit == "KiB") {
    shift = 10;
  }
  constexpr uint64_t kMaximum = uint64_t{1} << 42;
  if (!number || shift == 0 || *number == 0 || *number > (kMaximum >> shift)) {
    throw Error(std::format("'{}' is not an amount of memory", text), "for example 64M or 1G");
  }
  return *number << shift;
}

unsigned parse_cpus(std::string_view text) {
  const auto number = parse_number(text);
  if (!number || *number == 0 || *number > kMaximumCpus) {
    throw Error(std::format("'{}' is not a number of CPUs from 1 to {}", text, kMaximumCpus));
  }
  return static_cast<unsigned>(*number);
}

PortForward parse_port(std::string_view text) {
  PortForward forward;
  std::string_view rest = text;
  if (rest.ends_with("/udp")) forward.protocol = Protocol::kUdp;
  if (rest.ends_with("/udp") || rest.ends_with("/tcp")) rest.remove_suffix(4);
  std::vector<std::string> parts = split(rest, ':');
  const Error wrong(std::format("'{}' is not a pair of ports", text),
                    "[ADDRESS:]HOST:GUEST[/udp], for example 8080:80");
  if (parts.size() == 3) {
    forward.address = parts[0];
    parts.erase(parts.begin());
    if (!is_ipv4(forward.address)) throw wrong;
  }
  if (parts.size() != 2) throw wrong;
  const auto host = parse_port_number(parts[0]);
  const auto guest = parse_port_number(parts[1]);
  if (!host || !guest) throw wrong;
  forward.host = *host;
  forward.guest = *guest;
  return forward;
}

Network parse_network(std::string_view text) {
  if (text == "user") return {};
  if (text == "none") return {.kind = NetworkKind::kNone};
  if (text.starts_with("tap:")) return parse_tap(text.substr(4));
  throw Error(std::format("'{}' is not a network", text),
              std::format("user, none, or {}", kTapSyntax));
}

Profile parse_profile(std::string_view text) {
  if (text == "tiny") return Profile::kTiny;
  if (text == "default") return Profile::kDefault;
  if (text == "full") return Profile::kFull;
  throw Error(std::format("'{}' is not a profile: tiny, default or full", text));
}

MachineType parse_machine(std::string_view text) {
  for (const MachineType machine : {MachineType::kMicrovm, MachineType::kQ35, MachineType::kPc}) {
    if (text == machine_name(machine)) return machine;
  }
  throw Error(std::format("'{}' is not a machine type", text), "microvm, q35 or pc");
}

std::string_view machine_name(MachineType machine) {
  switch (machine) {
    case MachineType::kQ35:
      return "q35";
    case MachineType::kPc:
      return "pc";
    default:
      return "microvm";
  }
}

std::string parse_guest_path(std::string_view text) {
  const fs::path path(text);
  if (!text.starts_with('/') || text.contains('\0') ||
      std::ranges::contains(path, fs::path(".."))) {
    throw Error(std::format("'{}' is not an absolute path without '..'", text));
  }
  std::string normal = path.lexically_normal();
  if (normal.size() > 1 && normal.ends_with('/')) normal.pop_back();
  return normal;
}

FileMapping parse_file(std::string_view text, const fs::path& directory) {
  const size_t colon = text.find(':');
  const std::string_view host = text.substr(0, colon);
  if (host.empty()) {
    throw Error(std::format("'{}' names no file", text), "HOST[:GUEST]");
  }
  FileMapping mapping;
  mapping.host = fs::absolute(directory / host).lexically_normal();
  if (!mapping.host.has_filename() && mapping.host.has_relative_path()) {
    mapping.host = mapping.host.parent_path();  // "dir/" means "dir"
  }
  if (colon == std::string_view::npos) {
    mapping.guest = mapping.host;
  } else {
    const std::string_view guest = text.substr(colon + 1);
    mapping.guest = parse_guest_path(guest);
    if (guest.ends_with('/') && guest.size() > 1) mapping.guest /= mapping.host.filename();
  }
  return mapping;
}

Volume parse_volume(std::string_view text, const fs::path& directory) {
  const std::vector<std::string> parts = split(text, ':');
  const bool has_mode = parts.size() == 3;
  if (parts.size() < 2 || parts.size() > 3 || parts[0].empty() ||
      (has_mode && parts[2] != "ro" && parts[2] != "rw")) {
    throw Error(std::format("'{}' is not a volume", text),
                "HOSTDIR:/GUESTDIR[:ro], for example ./data:/data");
  }
  Volume volume;
  volume.host = fs::absolute(directory / parts[0]).lexically_normal();
  volume.guest = parse_guest_path(parts[1]);
  if (volume.guest == "/") throw Error(std::format("'{}': the root cannot be a volume", text));
  volume.read_only = has_mode && parts[2] == "ro";
  return volume;
}

Disk parse_disk(std::string_view text, const fs::path& directory) {
  const std::vector<std::string> parts = split(text, ':');
  if (parts.size() < 2 || parts[0].empty()) {
    throw Error(std::format("'{}' is not a disk", text),
                "FILE:/PATH[:ro][:size=SIZE], for example data.img:/data");
  }
  Disk disk;
  disk.host = fs::absolute(directory / parts[0]).lexically_normal();
  disk.guest = parse_guest_path(parts[1]);
  if (disk.guest == "/") {
    throw Error("a disk cannot be mounted at /", "the root comes with the image: choose /data");
  }
  for (const std::string& part : parts | std::views::drop(2)) {
    if (part == "ro") {
      disk.read_only = true;
    } else if (part.starts_with("size=")) {
      disk.size = parse_memory(std::string_view(part).substr(5));
    } else {
      throw Error(std::format("'{}' is not a setting of a disk", part),
                  "FILE:/PATH[:ro][:size=SIZE]");
    }
  }
  return disk;
}

User parse_user(std::string_view text) {
  const std::vector<std::string> parts = split(text, ':');
  const auto number = [](const std::string& part) -> std::optional<uint32_t> {
    const auto value = parse_number(part);
    if (!value || *value >= UINT32_MAX) return std::nullopt;
    return static_cast<uint32_t>(*value);
  };
  auto uid = number(parts[0]);
  auto gid = uid;
  std::optional<Account> account;
  if (!uid) account = find_account(parts[0]);
  if (account) {
    uid = account->uid;
    gid = account->gid;
  }
  if (parts.size() > 1) {
    gid = number(parts[1]);
    if (!gid) gid = find_group(parts[1]);
  }
  if (parts.size() > 2 || !uid || !gid) {
    throw Error(std::format("'{}' is not a user", text),
                "USER[:GROUP], as numbers or as names that this host knows");
  }
  User user{.uid = *uid, .gid = *gid};
  // As login(1) and container engines do: a name stands for all of its groups, a group that was
  // named for itself alone.
  if (parts.size() == 1 && account) user.groups = std::move(account->groups);
  return user;
}

std::pair<std::string, std::string> parse_variable(std::string_view text) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    throw Error(std::format("'{}' is not NAME=VALUE", text));
  }
  return {std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))};
}

}  // namespace aril::tool
