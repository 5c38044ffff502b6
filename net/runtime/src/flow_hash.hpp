#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace aril::net {

/// A number that is the same for all frames of a flow, and spread evenly over flows: of addresses
/// and, with TCP and UDP, ports. Fragments of one packet have one too. 0 for what is no IP.
/// `frame`: from the Ethernet header on, at least as far as the transport's ports.
[[nodiscard]] uint32_t flow_hash(std::span<const std::byte> frame, uint32_t seed);

}  // namespace aril::net
