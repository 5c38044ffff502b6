#include "arch/host_calls.hpp"

#include "process.hpp"

namespace aril::arch {
namespace {

/// As Linux's pollfd and timespec.
struct PollEntry {
  int descriptor;
  short events, returned;
};
struct HostTime {
  int64_t seconds, nanoseconds;
};

// With this offset the calls for files are those for streams [preadv2(2)].
constexpr uint64_t kNoOffset = ~uint64_t{0};

Result<size_t> result_of(int64_t returned) {
  if (returned < 0) return fail(static_cast<Errno>(-returned));
  return static_cast<size_t>(returned);
}

}  // namespace

Result<size_t> host_read(int descriptor, std::span<std::byte> to) {
  const HostVector piece{to.data(), to.size()};
  return host_read(descriptor, {&piece, 1});
}

Result<size_t> host_read(int descriptor, std::span<const HostVector> pieces) {
  return host_read_at(descriptor, pieces, kNoOffset);
}

Result<size_t> host_write(int descriptor, std::span<const HostVector> pieces) {
  return host_write_at(descriptor, pieces, kNoOffset);
}

// The offset comes in two halves, of which 64-bit Linux ignores the second.
Result<size_t> host_read_at(int descriptor, std::span<const HostVector> pieces, uint64_t offset) {
  return result_of(host_call(HostCall::kPreadv2, descriptor, pieces.data(), pieces.size(), offset));
}

Result<size_t> host_write_at(int descriptor, std::span<const HostVector> pieces, uint64_t offset) {
  return result_of(
      host_call(HostCall::kPwritev2, descriptor, pieces.data(), pieces.size(), offset));
}

Result<void> host_synchronize(int descriptor) {
  ARIL_TRY(result_of(host_call(HostCall::kFdatasync, descriptor)));
  return {};
}

bool host_is_ready(int descriptor, short events) {
  PollEntry entry{descriptor, events, 0};
  const HostTime now{};
  return host_call(HostCall::kPpoll, &entry, 1, &now, 0, 0) != 0;
}

void host_wait_ready(int descriptor, short events) {
  PollEntry entry{descriptor, events, 0};
  static_cast<void>(host_wait(HostCall::kPpoll, &entry, 1, 0, 0, 0));
}

void host_exit(int status) {
  for (;;) static_cast<void>(host_call(HostCall::kExitGroup, status));
}

}  // namespace aril::arch
