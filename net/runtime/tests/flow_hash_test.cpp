#include "../src/flow_hash.hpp"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "net/wire/ethernet.hpp"
#include "net/wire/ipv4.hpp"
#include "net/wire/ipv6.hpp"

namespace aril::net {
namespace {

using Bytes = std::vector<std::byte>;

template <typename Header>
void append(Bytes& bytes, const Header& header) {
  auto part = std::as_bytes(std::span(&header, 1));
  bytes.insert(bytes.end(), part.begin(), part.end());
}

struct Ports {
  Be<uint16_t> source, destination;
};

Bytes v4_frame(uint32_t source, uint16_t port, uint8_t protocol = 6, uint16_t fragment = 0) {
  Bytes bytes;
  append(bytes, EthernetHeader{.destination = {}, .source = {}, .type = kEtherTypeIpv4});
  Ipv4Header header{};
  header.version_and_length = 0x45;
  header.protocol = protocol;
  header.fragment = fragment;
  header.source = source;
  header.destination = 7;
  append(bytes, header);
  append(bytes, Ports{port, 80});
  return bytes;
}

Bytes v6_frame(uint64_t source, uint16_t port, uint8_t next_header = 6) {
  Bytes bytes;
  append(bytes, EthernetHeader{.destination = {}, .source = {}, .type = kEtherTypeIpv6});
  Ipv6Header header{};
  header.next_header = next_header;
  header.source = Ipv6Bytes{.high = 1, .low = source};
  append(bytes, header);
  append(bytes, Ports{port, 80});
  return bytes;
}

TEST(FlowHash, TellsFlowsApart) {
  std::set<uint32_t> hashes;
  for (uint16_t port = 0; port < 100; ++port) {
    hashes.insert(flow_hash(v4_frame(1, port), 5));
    hashes.insert(flow_hash(v4_frame(2, port), 5));
    hashes.insert(flow_hash(v6_frame(1, port), 5));
    hashes.insert(flow_hash(v6_frame(2, port), 5));
  }
  EXPECT_EQ(hashes.size(), 400u);
  EXPECT_EQ(flow_hash(v4_frame(1, 1), 5), flow_hash(v4_frame(1, 1), 5));
  EXPECT_NE(flow_hash(v4_frame(1, 1), 5), flow_hash(v4_frame(1, 1), 6));
}

TEST(FlowHash, FragmentsAndOtherProtocolsGoByAddresses) {
  EXPECT_EQ(flow_hash(v4_frame(1, 1, 17, Ipv4Header::kMoreFragments), 5),
            flow_hash(v4_frame(1, 2, 17, 100), 5));
  EXPECT_EQ(flow_hash(v4_frame(1, 1, 1), 5), flow_hash(v4_frame(1, 2, 1), 5));
  EXPECT_NE(flow_hash(v4_frame(1, 1, 1), 5), flow_hash(v4_frame(2, 1, 1), 5));
  constexpr uint8_t kFragmentHeader = 44;
  EXPECT_EQ(flow_hash(v6_frame(1, 1, kFragmentHeader), 5),
            flow_hash(v6_frame(1, 2, kFragmentHeader), 5));
}

TEST(FlowHash, TakesWhateverAProgramSends) {
  Bytes arp(60);
  arp[12] = std::byte{8};
  arp[13] = std::byte{6};
  EXPECT_EQ(flow_hash(arp, 5), 0u);
  for (const Bytes& whole : {v4_frame(1, 1), v6_frame(1, 1)}) {
    for (size_t length = 0; length <= whole.size(); ++length) {
      const Bytes cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length));
      (void)flow_hash(cut, 5);
    }
  }
  Bytes options = v4_frame(1, 1);
  options[14] = std::byte{0x4f};  // longer than the frame
  EXPECT_EQ(flow_hash(options, 5), flow_hash(v4_frame(1, 1, 1), 5));
}

}  // namespace
}  // namespace aril::net
