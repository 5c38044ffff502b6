#include "linux/trace/strace.hpp"

#include <array>
#include <atomic>
#include <string_view>

#include "kernel/log/log.hpp"
#include "kernel/vm/user_copy.hpp"
#include "linux/abi/names.hpp"
#include "linux/abi/signal.hpp"
#include "linux/abi/time.hpp"
#include "linux/process/task.hpp"

namespace aril::linux_abi {
namespace {

struct NamedBits {
  uint64_t value;
  const char* name;
};
constexpr NamedBits kOpenFlags[] = {{0100, "O_CREAT"},        {0200, "O_EXCL"},
                                    {0400, "O_NOCTTY"},       {01000, "O_TRUNC"},
                                    {02000, "O_APPEND"},      {04000, "O_NONBLOCK"},
                                    {0200000, "O_DIRECTORY"}, {0400000, "O_NOFOLLOW"},
                                    {02000000, "O_CLOEXEC"},  {010000000, "O_PATH"}};
constexpr NamedBits kProtections[] = {{1, "PROT_READ"}, {2, "PROT_WRITE"}, {4, "PROT_EXEC"}};
constexpr NamedBits kMapFlags[] = {{1, "MAP_SHARED"},
                                   {2, "MAP_PRIVATE"},
                                   {0x10, "MAP_FIXED"},
                                   {0x20, "MAP_ANONYMOUS"},
                                   {0x100, "MAP_GROWSDOWN"},
                                   {0x800, "MAP_DENYWRITE"},
                                   {0x4000, "MAP_NORESERVE"},
                                   {0x8000, "MAP_POPULATE"},
                                   {0x20000, "MAP_STACK"},
                                   {0x40000, "MAP_HUGETLB"},
                                   {0x100000, "MAP_FIXED_NOREPLACE"}};
constexpr const char* kClocks[] = {"CLOCK_REALTIME",           "CLOCK_MONOTONIC",
                                   "CLOCK_PROCESS_CPUTIME_ID", "CLOCK_THREAD_CPUTIME_ID",
                                   "CLOCK_MONOTONIC_RAW",      "CLOCK_REALTIME_COARSE",
                                   "CLOCK_MONOTONIC_COARSE",   "CLOCK_BOOTTIME"};
constexpr const char* kOrigins[] = {"SEEK_SET", "SEEK_CUR", "SEEK_END", "SEEK_DATA", "SEEK_HOLE"};

constexpr size_t kShownBytes = 32;
constexpr size_t kShownPath = 128;

}  // namespace

/// One line under construction; cut when it is full.
class StraceCall::Line {
 public:
  void text(std::string_view more) {
    for (char c : more)
      if (length_ < buffer_.size() - 1) buffer_[length_++] = c;
  }
  void decimal(int64_t value) {
    char digits[24];
    text(format_to(digits, "%ld", static_cast<long>(value)));
  }
  void unsigned_decimal(uint64_t value) {
    char digits[24];
    text(format_to(digits, "%lu", static_cast<unsigned long>(value)));
  }
  void hexadecimal(uint64_t value) {
    char digits[24];
    text(format_to(digits, "0x%lx", static_cast<unsigned long>(value)));
  }
  void octal(uint64_t value) {
    char digits[24];
    size_t at = sizeof digits;
    do {
      digits[--at] = static_cast<char>('0' + (value & 7));
      value >>= 3;
    } while (value != 0 && at > 1);
    digits[--at] = '0';
    text({&digits[at], sizeof digits - at});
  }
  void pointer(uint64_t value) {
    if (value == 0) {
      text("NULL");
    } else {
      hexadecimal(value);
    }
  }
  template <size_t kCount>
  void flags(uint64_t value, const NamedBits (&names)[kCount], const char* none) {
    bool any = false;
    for (const NamedBits& name : names) {
      if ((value & name.value) != name.value) continue;
      if (any) text("|");
      text(name.name);
      value &= ~name.value;
      any = true;
    }
    if (value != 0) {
      if (any) text("|");
      hexadecimal(value);
    } else if (!any) {
      text(none);
    }
  }
  template <size_t kCount>
  void choice(uint64_t value, const char* const (&names)[kCount]) {
    if (value < kCount) {
      text(names[value]);
    } else {
      unsigned_decimal(value);
    }
  }
  void quoted(std::span<const char> bytes, bool cut) {
    text("\"");
    for (char c : bytes) escaped(c);
    text(cut ? "\"..." : "\"");
  }
  [[nodiscard]] const char* c_str() {
    buffer_[length_] = 0;
    return buffer_.data();
  }

 private:
  void escaped(char c) {
    switch (c) {
      case '\n':
        text("\\n");
        return;
      case '\r':
        text("\\r");
        return;
      case '\t':
        text("\\t");
        return;
      case '"':
        text("\\\"");
        return;
      case '\\':
        text("\\\\");
        return;
      default:
        break;
    }
    if (c >= ' ' && c <= '~') {
      text({&c, 1});
      return;
    }
    char digits[8];
    text(format_to(digits, "\\x%02x", static_cast<unsigned>(static_cast<uint8_t>(c))));
  }
  std::array<char, 480> buffer_;
  size_t length_ = 0;
};

namespace {

template <typename Line>
void put_path(Line& line, uint64_t address) {
  std::array<char, kShownPath> path;
  Result<size_t> length = copy_string_from_user(path, address);
  if (length) {
    line.quoted(std::span(path).first(*length), false);
  } else if (length.error() == Errno::kNameTooLong) {
    line.quoted(std::span(path).first(path.size() - 1), true);
  } else {
    line.pointer(address);
  }
}

template <typename Line>
void put_buffer(Line& line, uint64_t address, uint64_t size) {
  std::array<char, kShownBytes> bytes;
  size_t shown = std::min<uint64_t>(size, bytes.size());
  auto target = std::span(bytes).first(shown);
  if (address == 0 || !copy_from_user(std::as_writable_bytes(target), address)) {
    line.pointer(address);
    return;
  }
  line.quoted(target, size > shown);
}

template <typename Line>
void put_open_flags(Line& line, uint64_t value) {
  constexpr const char* kAccess[] = {"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"};
  line.text(kAccess[value & 3]);
  uint64_t others = value & 0xffff'fffc;
  if (others == 0) return;
  line.text("|");
  line.flags(others, kOpenFlags, "0");
}

template <typename Line>
void put_timespec(Line& line, uint64_t address) {
  auto time = UserPtr<Timespec>(address).read();
  if (address == 0 || !time) {
    line.pointer(address);
    return;
  }
  line.text("{");
  line.decimal(time->seconds);
  line.text(", ");
  line.decimal(time->nanoseconds);
  line.text("}");
}

template <typename Line>
void put_sockaddr(Line& line, uint64_t address) {
  struct {
    uint16_t family;
    uint8_t port[2];
    uint8_t ip[4];
  } socket_address;
  static_assert(sizeof socket_address == 8);
  if (address == 0 ||
      !copy_from_user(std::as_writable_bytes(std::span(&socket_address, 1)), address)) {
    line.pointer(address);
    return;
  }
  constexpr uint16_t kUnix = 1, kInternet = 2;
  if (socket_address.family == kUnix) {
    line.text("{AF_UNIX, ");
    put_path(line, address + 2);
    line.text("}");
  } else if (socket_address.family == kInternet) {
    char text[48];
    const uint8_t* ip = socket_address.ip;
    line.text(format_to(text, "{AF_INET, %d.%d.%d.%d:%d}", ip[0], ip[1], ip[2], ip[3],
                        socket_address.port[0] << 8 | socket_address.port[1]));
  } else {
    line.text("{AF_");
    line.unsigned_decimal(socket_address.family);
    line.text("}");
  }
}

}  // namespace

StraceCall::StraceCall(uint64_t number, const SyscallRecord* record, const arch::TrapFrame& frame)
    : number_(number), record_(record) {
  for (size_t i = 0; i < 6; ++i) arguments_[i] = frame.argument(i);
  constexpr uint64_t kExit = 60, kExitGroup = 231, kExecve = 59, kRtSigreturn = 15;
  if (number != kExit && number != kExitGroup && number != kExecve && number != kRtSigreturn)
    return;
  Line line;
  decode(line, false, 0);
  write_record("strace [%d] %s = ?", current_task().tid(), line.c_str());
}

void StraceCall::put_argument(Line& line, std::string_view word, size_t index,
                              uint64_t filled_in) const {
  uint64_t value = arguments_[index];
  if (word == "fd") {
    constexpr int kCurrentDirectory = -100;
    int fd = static_cast<int>(value);
    if (fd == kCurrentDirectory) {
      line.text("AT_FDCWD");
    } else {
      line.decimal(fd);
    }
  } else if (word == "path" || word == "str") {
    put_path(line, value);
  } else if (word == "buf") {
    put_buffer(line, value, filled_in);
  } else if (word == "ptr" || word == "iovec" || word == "msghdr" || word == "pollfds" ||
             word == "fdset") {
    line.pointer(value);
  } else if (word == "int" || word == "pid") {
    line.decimal(static_cast<int>(value));
  } else if (word == "off") {
    line.decimal(static_cast<int64_t>(value));
  } else if (word == "uint" || word == "size") {
    line.unsigned_decimal(value);
  } else if (word == "mode") {
    line.octal(value);
  } else if (word == "oflags") {
    put_open_flags(line, value);
  } else if (word == "sig") {
    line.text(signal_name(static_cast<int>(value)));
  } else if (word == "prot") {
    line.flags(value, kProtections, "PROT_NONE");
  } else if (word == "mapflags") {
    line.flags(value, kMapFlags, "0");
  } else if (word == "sockaddr") {
    put_sockaddr(line, value);
  } else if (word == "timespec") {
    put_timespec(line, value);
  } else if (word == "clockid") {
    line.choice(value, kClocks);
  } else if (word == "whence") {
    line.choice(value, kOrigins);
  } else {
    line.hexadecimal(value);
  }
}

void StraceCall::decode(Line& line, bool finished, int64_t result) const {
  const char* name = record_ != nullptr ? record_->name : system_call_name(number_);
  if (name != nullptr) {
    line.text(name);
  } else {
    line.text("syscall_");
    line.unsigned_decimal(number_);
  }
  line.text("(");
  std::string_view words = record_ != nullptr ? record_->arguments : "hex hex hex hex hex hex";
  for (size_t i = 0; i < std::size(arguments_) && !words.empty(); ++i) {
    size_t end = std::min(words.find(' '), words.size());
    std::string_view word = words.substr(0, end);
    words.remove_prefix(std::min(end + 1, words.size()));
    if (i != 0) line.text(", ");
    bool is_output = word.starts_with('>');
    if (is_output) word.remove_prefix(1);
    if (is_output && (!finished || result < 0)) {
      line.pointer(arguments_[i]);
      continue;
    }
    // A buffer's size is the argument after it; what a read filled in is its result.
    uint64_t size = i + 1 < std::size(arguments_) ? arguments_[i + 1] : 0;
    put_argument(line, word, i, is_output ? static_cast<uint64_t>(result) : size);
  }
  line.text(")");
}

void StraceCall::finish(int64_t result) {
  Line line;
  decode(line, true, result);
  line.text(" = ");
  bool failed = result < 0 && result >= -4095;
  bool is_address = record_ != nullptr && (std::string_view(record_->name) == "mmap" ||
                                           std::string_view(record_->name) == "mremap" ||
                                           std::string_view(record_->name) == "brk");
  if (failed) {
    const char* name = error_name(static_cast<int>(-result));
    line.text("-1 ");
    line.text(name != nullptr ? name : result == -512 ? "(interrupted)" : "?");
  } else if (is_address) {
    line.hexadecimal(static_cast<uint64_t>(result));
  } else {
    line.decimal(result);
  }
  write_record("strace [%d] %s", current_task().tid(), line.c_str());
}

}  // namespace aril::linux_abi
