#pragma once
#include <string>
#include <string_view>

namespace aril::linux_abi {

/// The node name of uname(2) and /proc/sys/kernel/hostname; cut to 64 bytes. Any thread.
void set_host_name(std::string_view name);
std::string host_name();

}  // namespace aril::linux_abi
