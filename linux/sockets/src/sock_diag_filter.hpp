#pragma once
#include <array>
#include <cstdint>
#include <span>

#include "base/result.hpp"

namespace aril::linux_abi::netlink {

/// INET_DIAG_REQ_BYTECODE: which sockets a program wants to see, as a program of conditional jumps
/// forward (struct inet_diag_bc_op). A view of a request's bytes.
class SocketFilter {
 public:
  /// What is tested. Ports in this machine's byte order, addresses in the network's.
  struct Subject {
    uint8_t family;
    uint16_t source_port, destination_port;
    std::span<const std::byte, 16> source, destination;
    uint32_t interface;
  };

  /// kInval for what could leave the program, or an unknown operation.
  static Result<SocketFilter> create(std::span<const std::byte> program);
  [[nodiscard]] bool matches(const Subject& subject) const;

 private:
  explicit SocketFilter(std::span<const std::byte> program) : program_(program) {}
  std::span<const std::byte> program_;
};

}  // namespace aril::linux_abi::netlink
