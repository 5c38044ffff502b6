#pragma once
#include <string_view>

#include "manifest/manifest.hpp"

/// Values as they are written in options and manifests alike. Each function throws Error that
/// quotes the value and shows the right form.
namespace aril::tool {

/// "64M", "64MiB", "1G", "512K"; a bare number counts MiB, as QEMU's.
uint64_t parse_memory(std::string_view text);
unsigned parse_cpus(std::string_view text);
/// [ADDRESS:]HOST:GUEST[/udp|/tcp]
PortForward parse_port(std::string_view text);
/// user | none |
/// tap:NAME[,ip=ADDRESS/PREFIX][,gateway=ADDRESS][,ip6=ADDRESS/PREFIX][,gateway6=ADDRESS][,nameserver=ADDRESS]
Network parse_network(std::string_view text);
/// tiny | default | full
Profile parse_profile(std::string_view text);
MachineType parse_machine(std::string_view text);
std::string_view machine_name(MachineType machine);
/// HOST[:GUEST]; HOST is relative to `directory`. GUEST defaults to HOST's absolute path; when it
/// ends in '/', HOST's file name is added to it.
FileMapping parse_file(std::string_view text, const std::filesystem::path& directory);
/// HOST:GUEST[:ro]; HOST is relative to `directory`.
Volume parse_volume(std::string_view text, const std::filesystem::path& directory);
/// FILE:GUEST[:ro][:size=SIZE]; FILE is relative to `directory`.
Disk parse_disk(std::string_view text, const std::filesystem::path& directory);
/// USER[:GROUP], as numbers or as names of this host.
User parse_user(std::string_view text);
/// NAME=VALUE
std::pair<std::string, std::string> parse_variable(std::string_view text);
/// An absolute path inside the image, without "..".
std::string parse_guest_path(std::string_view text);

}  // namespace aril::tool
