#include "sock_diag_filter.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "net/socket/socket.hpp"

namespace aril::linux_abi::netlink {
namespace {

/// INET_DIAG_BC_*
enum class Code : uint8_t {
  kNothing,
  kJump,
  kSourceAtLeast,
  kSourceAtMost,
  kDestinationAtLeast,
  kDestinationAtMost,
  kAutomatic,
  kSourceHost,
  kDestinationHost,
  kDevice,
  kMark,
  kSourceIs,
  kDestinationIs,
};

/// struct inet_diag_bc_op: how far to go on when it holds, and when not.
struct Operation {
  Code code;
  uint8_t yes;
  uint16_t no;
};
static_assert(sizeof(Operation) == 4);

/// struct inet_diag_hostcond, before its address.
struct HostCondition {
  uint8_t family, prefix_length;
  uint16_t padding;
  int32_t port;  ///< -1: any
};
static_assert(sizeof(HostCondition) == 8);

constexpr uint8_t kInet = std::to_underlying(net::Family::kInet),
                  kInet6 = std::to_underlying(net::Family::kInet6);

template <typename T>
T read(std::span<const std::byte> bytes) {
  T value;
  memcpy(&value, bytes.data(), sizeof(value));
  return value;
}

/// Bytes that the operation and its arguments take; 0 when they are not all there, or wrong.
size_t length_of(std::span<const std::byte> rest) {
  size_t length = sizeof(Operation);
  switch (read<Operation>(rest).code) {
    case Code::kNothing:
    case Code::kJump:
    case Code::kAutomatic:
      return length;
    case Code::kSourceAtLeast:
    case Code::kSourceAtMost:
    case Code::kDestinationAtLeast:
    case Code::kDestinationAtMost:
    case Code::kSourceIs:
    case Code::kDestinationIs:
    case Code::kDevice:
      length += sizeof(uint32_t);
      return length <= rest.size() ? length : 0;
    case Code::kSourceHost:
    case Code::kDestinationHost: {
      length += sizeof(HostCondition);
      if (length > rest.size()) return 0;
      auto condition = read<HostCondition>(rest.subspan(sizeof(Operation)));
      size_t address = condition.family == kInet ? 4 : condition.family == kInet6 ? 16 : 0;
      if (address == 0 && condition.family != 0) return 0;
      if (condition.prefix_length > 8 * address) return 0;
      length += address;
      return length <= rest.size() ? length : 0;
    }
    case Code::kMark:  // there are no marks
      return 0;
  }
  return 0;
}

/// An operation begins `at`, or the program ends there.
bool is_boundary(std::span<const std::byte> program, size_t at) {
  size_t here = 0;
  while (here < at && here + sizeof(Operation) <= program.size()) {
    uint8_t step = read<Operation>(program.subspan(here)).yes;
    if (step < sizeof(Operation) || step % 4 != 0) return false;
    here += step;
  }
  return here == at;
}

bool same_prefix(std::span<const std::byte> a, std::span<const std::byte> b, unsigned bits) {
  if (!std::ranges::equal(a.first(bits / 8), b.first(bits / 8))) return false;
  if (bits % 8 == 0) return true;
  auto mask = static_cast<uint8_t>(0xff << (8 - bits % 8));
  auto difference = std::to_integer<uint8_t>(a[bits / 8] ^ b[bits / 8]);
  return (difference & mask) == 0;
}

bool is_host(std::span<const std::byte> arguments, uint8_t family, uint16_t port,
             std::span<const std::byte> address) {
  auto condition = read<HostCondition>(arguments);
  if (condition.port != -1 && condition.port != port) return false;
  auto wanted = arguments.subspan(sizeof(HostCondition));
  if (condition.family == 0 || condition.family == family)
    return condition.prefix_length == 0 || same_prefix(address, wanted, condition.prefix_length);
  // A mapped address of a socket of the other family.
  static constexpr std::byte kMapped[12] = {
      {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, std::byte{0xff}, std::byte{0xff}};
  return family == kInet6 && condition.family == kInet &&
         std::ranges::equal(address.first(12), kMapped) &&
         same_prefix(address.subspan(12), wanted, condition.prefix_length);
}

bool holds(std::span<const std::byte> rest, const SocketFilter::Subject& subject) {
  auto arguments = rest.subspan(sizeof(Operation));
  // A port to compare with is where an operation has its second jump.
  auto port = [&] { return read<Operation>(arguments).no; };
  switch (read<Operation>(rest).code) {
    case Code::kNothing:
      return true;
    case Code::kJump:
    case Code::kAutomatic:  // who chose a port is not kept
    case Code::kMark:
      return false;
    case Code::kSourceAtLeast:
      return subject.source_port >= port();
    case Code::kSourceAtMost:
      return subject.source_port <= port();
    case Code::kSourceIs:
      return subject.source_port == port();
    case Code::kDestinationAtLeast:
      return subject.destination_port >= port();
    case Code::kDestinationAtMost:
      return subject.destination_port <= port();
    case Code::kDestinationIs:
      return subject.destination_port == port();
    case Code::kSourceHost:
      return is_host(arguments, subject.family, subject.source_port, subject.source);
    case Code::kDestinationHost:
      return is_host(arguments, subject.family, subject.destination_port, subject.destination);
    case Code::kDevice:
      return read<uint32_t>(arguments) == subject.interface;
  }
  return false;
}

}  // namespace

Result<SocketFilter> SocketFilter::create(std::span<const std::byte> program) {
  if (program.size() < sizeof(Operation)) return fail(Errno::kInval);
  for (size_t at = 0; at < program.size();) {
    auto rest = program.subspan(at);
    if (rest.size() < sizeof(Operation)) return fail(Errno::kInval);
    auto operation = read<Operation>(rest);
    size_t length = length_of(rest);
    // Four bytes past the end is where a program goes to say no.
    auto is_jump = [&](size_t distance) {
      return distance >= length && distance <= rest.size() + 4 && distance % 4 == 0;
    };
    if (length == 0 || !is_jump(operation.yes) || operation.yes > rest.size())
      return fail(Errno::kInval);
    if (operation.code != Code::kNothing) {
      if (!is_jump(operation.no)) return fail(Errno::kInval);
      if (operation.no < rest.size() && !is_boundary(program, at + operation.no))
        return fail(Errno::kInval);
    }
    at += operation.yes;
  }
  return SocketFilter(program);
}

bool SocketFilter::matches(const Subject& subject) const {
  size_t at = 0;
  while (at < program_.size()) {
    auto rest = program_.subspan(at);
    auto operation = read<Operation>(rest);
    at += holds(rest, subject) ? operation.yes : operation.no;
  }
  return at == program_.size();
}

}  // namespace aril::linux_abi::netlink
