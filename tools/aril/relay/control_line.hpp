#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace aril::tool {

/// One line of the control line (base/image_abi.hpp).
struct ControlRecord {
  enum class Kind {
    kLog,        ///< a line of the kernel's log, or what firmware printed
    kExit,       ///< number: the status
    kReport,     ///< text: for the user
    kStrace,     ///< text: one system call
    kListening,  ///< number: the port
    kBoot,       ///< number: microseconds; text: the step that ended then
  };
  Kind kind = Kind::kLog;
  std::string text;
  uint64_t number = 0;
};

/// Cuts the bytes of the control line into records. The guest is not trusted: lines are limited in
/// length, and a record that is not well-formed is a log line.
class ControlLine {
 public:
  static constexpr size_t kLongestLine = 65536;

  std::vector<ControlRecord> feed(std::string_view bytes);
  /// The last line, when the machine stopped in the middle of it.
  std::vector<ControlRecord> finish();

 private:
  void end_line(std::vector<ControlRecord>& records);

  std::string line_;
};

}  // namespace aril::tool
