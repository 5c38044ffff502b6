#include "relay/control_line.hpp"

#include <algorithm>
#include <base/image_abi.hpp>
#include <utility>

#include "support/text.hpp"

namespace aril::tool {

namespace {

ControlRecord parse_record(std::string_view line) {
  using Kind = ControlRecord::Kind;
  if (!line.starts_with(kRecordMark)) return {.kind = Kind::kLog, .text = std::string(line)};
  std::string_view rest = line.substr(1);
  if (rest.starts_with(' ')) rest.remove_prefix(1);
  const size_t blank = rest.find(' ');
  const std::string_view word = rest.substr(0, blank);
  const std::string_view text =
      blank == std::string_view::npos ? std::string_view() : rest.substr(blank + 1);
  if (word == "report") return {.kind = Kind::kReport, .text = std::string(text)};
  if (word == "strace") return {.kind = Kind::kStrace, .text = std::string(text)};
  if (word == "boot") {
    const size_t end = std::min(text.find(' '), text.size());
    if (const auto number = parse_number(text.substr(0, end)); number && end < text.size()) {
      return {.kind = Kind::kBoot, .text = std::string(text.substr(end + 1)), .number = *number};
    }
  }
  if (const auto number = parse_number(text)) {
    if (word == "exit" && *number <= 255)
      return {.kind = Kind::kExit, .text = {}, .number = *number};
    if (word == "listening" && *number <= 65535) {
      return {.kind = Kind::kListening, .text = {}, .number = *number};
    }
  }
  return {.kind = Kind::kLog, .text = std::string(rest)};
}

}  // namespace

void ControlLine::end_line(std::vector<ControlRecord>& records) {
  std::string line = std::exchange(line_, {});
  if (line.ends_with('\r')) line.pop_back();
  if (!line.empty()) records.push_back(parse_record(line));
}

std::vector<ControlRecord> ControlLine::feed(std::string_view bytes) {
  std::vector<ControlRecord> records;
  for (const char c : bytes) {
    if (c == '\n') {
      end_line(records);
      continue;
    }
    // Firmware, or a kernel that was interrupted in its log, may leave a line without an end.
    if (c == kRecordMark || line_.size() >= kLongestLine) end_line(records);
    line_ += c;
  }
  return records;
}

std::vector<ControlRecord> ControlLine::finish() {
  std::vector<ControlRecord> records;
  end_line(records);
  return records;
}

}  // namespace aril::tool
