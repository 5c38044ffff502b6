#include "initial_stack.hpp"

#include <array>

#include "arch/context.hpp"
#include "base/units.hpp"
#include "kernel/random/random.hpp"
#include "kernel/vm/user_copy.hpp"

namespace aril::linux_abi {
namespace {

// [linux/auxvec.h]
enum AuxiliaryType : uint64_t {
  kNull = 0,
  kPhdr = 3,
  kPhent = 4,
  kPhnum = 5,
  kPageSizeEntry = 6,
  kBase = 7,
  kFlags = 8,
  kEntry = 9,
  kUid = 11,
  kEuid = 12,
  kGid = 13,
  kEgid = 14,
  kPlatform = 15,
  kHwcap = 16,
  kClockTicks = 17,
  kSecure = 23,
  kRandom = 25,
  kHwcap2 = 26,
  kExecFile = 31,
  kSysinfoEhdr = 33,
  kMinSigStack = 51,
};

struct AuxiliaryEntry {
  uint64_t type, value;
};

/// The smallest signal stack that takes a frame.
uint64_t minimum_signal_stack() {
  // ucontext, siginfo, alignment and red zone, beside the SIMD state.
  constexpr uint64_t kFrame = 1024;
  return arch::fpu_state_size() + kFrame;
}

constexpr std::string_view kPlatformName = "x86_64";
constexpr size_t kRandomBytes = 16;
constexpr size_t kAuxiliaryLimit = 24;
constexpr uint64_t kProgramHeaderSize = 56;

/// Writes pointers to consecutive strings of a block that lies at `address`.
class PointerWriter {
 public:
  explicit PointerWriter(uint64_t address) : position_(address) {}

  Result<void> put(uint64_t value) {
    words_[count_++] = value;
    if (count_ == words_.size()) return flush();
    return {};
  }
  Result<void> put_strings(std::string_view block, uint64_t address) {
    for (size_t start = 0; start < block.size();) {
      ARIL_TRY(put(address + start));
      start = block.find('\0', start) + 1;
    }
    return put(0);
  }
  Result<void> flush() {
    std::span<const uint64_t> pending(words_.data(), count_);
    ARIL_TRY(copy_to_user(position_, std::as_bytes(pending)));
    position_ += pending.size_bytes();
    count_ = 0;
    return {};
  }

 private:
  uint64_t position_;
  std::array<uint64_t, 64> words_;
  size_t count_ = 0;
};

/// Gives out space from the top of the stack downward.
class StackCursor {
 public:
  explicit StackCursor(uint64_t top) : position_(top) {}
  uint64_t take(uint64_t size, uint64_t alignment = 1) {
    position_ = align_down(position_ - size, alignment);
    return position_;
  }

 private:
  uint64_t position_;
};

Result<uint64_t> put_string(StackCursor& cursor, std::string_view text) {
  uint64_t address = cursor.take(text.size() + 1);
  ARIL_TRY(copy_to_user(address, std::as_bytes(std::span(text))));
  ARIL_TRY(UserPtr<char>(address + text.size()).write('\0'));
  return address;
}

Result<uint64_t> put_block(StackCursor& cursor, std::string_view block) {
  uint64_t address = cursor.take(block.size());
  ARIL_TRY(copy_to_user(address, std::as_bytes(std::span(block))));
  return address;
}

}  // namespace

uint64_t initial_stack_size(const ExecRequest& request, const ProgramInfo& info) {
  uint64_t strings = request.arguments.bytes().size() + request.environment.bytes().size() +
                     info.path.size() + kPlatformName.size() + kRandomBytes + 64;
  uint64_t words = 1 + request.arguments.count() + 1 + request.environment.count() + 1;
  return strings + words * sizeof(uint64_t) + kAuxiliaryLimit * sizeof(AuxiliaryEntry) + 64;
}

Result<InitialStack> write_initial_stack(uint64_t top, const ExecRequest& request,
                                         const ProgramInfo& info, const Credentials& credentials) {
  StackCursor cursor(top);
  cursor.take(sizeof(uint64_t));
  uint64_t path = ARIL_TRY(put_string(cursor, info.path));
  uint64_t environment = ARIL_TRY(put_block(cursor, request.environment.bytes()));
  uint64_t arguments = ARIL_TRY(put_block(cursor, request.arguments.bytes()));
  uint64_t platform = ARIL_TRY(put_string(cursor, kPlatformName));
  std::array<std::byte, kRandomBytes> seed;
  random::fill(seed);
  uint64_t random_bytes = cursor.take(seed.size(), 16);
  ARIL_TRY(copy_to_user(random_bytes, seed));

  bool secure = credentials.uid != credentials.euid || credentials.gid != credentials.egid;
  const AuxiliaryEntry entries[] = {
      {kSysinfoEhdr, info.vdso},
      {kHwcap, arch::hardware_capabilities()},
      {kPageSizeEntry, kPageSize},
      {kClockTicks, 100},
      {kPhdr, info.program_headers},
      {kPhent, kProgramHeaderSize},
      {kPhnum, info.program_header_count},
      {kBase, info.interpreter_base},
      {kFlags, 0},
      {kEntry, info.entry},
      {kUid, credentials.uid},
      {kEuid, credentials.euid},
      {kGid, credentials.gid},
      {kEgid, credentials.egid},
      {kSecure, secure},
      {kRandom, random_bytes},
      // FSGSBASE (bit 1) stays off: a program that may write GS would take the kernel's base away.
      {kHwcap2, 0},
      {kExecFile, path},
      {kPlatform, platform},
      {kMinSigStack, minimum_signal_stack()},
      {kNull, 0},
  };
  static_assert(std::size(entries) <= kAuxiliaryLimit);

  size_t words = 1 + (request.arguments.count() + 1) + (request.environment.count() + 1) +
                 2 * std::size(entries);
  uint64_t stack_pointer = cursor.take(words * sizeof(uint64_t), 16);
  PointerWriter writer(stack_pointer);
  ARIL_TRY(writer.put(request.arguments.count()));
  ARIL_TRY(writer.put_strings(request.arguments.bytes(), arguments));
  ARIL_TRY(writer.put_strings(request.environment.bytes(), environment));
  for (const AuxiliaryEntry& entry : entries) {
    ARIL_TRY(writer.put(entry.type));
    ARIL_TRY(writer.put(entry.value));
  }
  ARIL_TRY(writer.flush());
  return InitialStack{
      .stack_pointer = stack_pointer,
      .arguments_start = arguments,
      .arguments_end = arguments + request.arguments.bytes().size(),
      .environment_start = environment,
      .environment_end = environment + request.environment.bytes().size(),
      // Its bytes are what /proc/self/auxv shows.
      .auxiliary_vector = std::string(reinterpret_cast<const char*>(entries), sizeof entries)};
}

}  // namespace aril::linux_abi
