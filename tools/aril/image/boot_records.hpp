#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "manifest/manifest.hpp"

namespace aril::tool {

/// What the kernel is told about the program: the content of /.aril/boot, or words of its command
/// line (base/image_abi.hpp).
struct BootRecords {
  std::string exec;                    ///< guest path; empty: leave as it is
  std::vector<std::string> arguments;  ///< argv, argv[0] first; empty: leave as they are
  std::vector<std::pair<std::string, std::string>> environment;
  std::optional<std::string> cwd;
  std::optional<std::string> hostname;
  std::optional<User> user;
};

/// Path of the records inside of a root.
inline constexpr const char* kBootRecordsPath = "/.aril/boot";

/// NUL-terminated "key=value" records.
std::string to_file_content(const BootRecords& records);
/// Blank-separated percent-encoded words.
std::string to_command_line(const BootRecords& records);
/// Reads what to_file_content wrote. Unknown keys are passed over; throws Error on damage.
BootRecords parse_boot_records(std::string_view content);

}  // namespace aril::tool
