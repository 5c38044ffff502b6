#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "arch/trap_frame.hpp"
#include "base/result.hpp"
#include "fs/vfs/path.hpp"
#include "kernel/io/file.hpp"

namespace aril::linux_abi {

/// NUL-terminated strings one after the other: arguments or environment on their way to a new
/// program, in kernel memory, of any size that Linux allows.
class StringBlock {
 public:
  /// All strings of argv and envp together, and one of them [execve(2)].
  static constexpr size_t kTotalLimit = 2 << 20;
  static constexpr size_t kStringLimit = 128 << 10;

  /// k2Big, kNoMem.
  Result<void> append(std::string_view text);
  /// Reads a NULL-terminated vector of string pointers from the application; null means empty.
  Result<void> append_vector(uint64_t vector_address);
  /// Puts `text` before everything else.
  Result<void> prepend(std::string_view text);
  void drop_first();

  [[nodiscard]] size_t count() const { return count_; }
  [[nodiscard]] std::string_view bytes() const { return {data_.get(), size_}; }
  [[nodiscard]] std::string_view first() const;

 private:
  Result<void> reserve(size_t more);
  std::unique_ptr<char[]> data_;
  size_t size_ = 0, capacity_ = 0, count_ = 0;
};

struct ExecRequest {
  /// The name that was asked for; where `file` is given, what stands for it (/dev/fd/N).
  std::string path;
  StringBlock arguments;
  StringBlock environment;
  /// Where a relative `path` starts (execveat); null: the working directory.
  vfs::Path start;
  /// execveat with AT_EMPTY_PATH: the program itself, which need not have a name.
  RefPtr<File> file;
  /// The name is a symbolic link that must not be followed (AT_SYMLINK_NOFOLLOW).
  bool no_follow = false;
};

/// Why a program could not be started; `text` says it to a person, with the file's name.
struct ExecFailure {
  Errno error;
  std::string text;
};

/// execve for the calling task: replaces its process's program and points `frame` at the new one's
/// entry. Fails before anything has changed; when loading fails later the process is ended.
std::expected<void, ExecFailure> execute(ExecRequest request, arch::TrapFrame& frame);

/// Off: the same addresses every time (aslr=off, for gdb). Before the first program.
void set_address_randomization(bool enabled);

}  // namespace aril::linux_abi
