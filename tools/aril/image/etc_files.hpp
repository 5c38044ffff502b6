#pragma once
#include <string>

#include "image/tree.hpp"

namespace aril::tool {

/// Adds what programs expect of any system and that is not there yet: the mount points and
/// directories for temporary files, and in /etc the accounts (this host's system accounts, without
/// passwords), host name tables, resolver configuration, service and protocol names, time zone and
/// the loader's cache.
/// @param nameserver  for /etc/resolv.conf; empty: link to /run/resolv.conf, which DHCP fills
void add_system_files(Tree& tree, const std::string& hostname, const std::string& nameserver);

/// Adds only the directories that the kernel mounts over.
void add_mount_points(Tree& tree);

}  // namespace aril::tool
