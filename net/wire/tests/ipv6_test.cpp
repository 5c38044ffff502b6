#include "net/wire/ipv6.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "net/wire/address_text.hpp"
#include "net/wire/ndp.hpp"

namespace aril::net {
namespace {

constexpr IpAddress kFrom = IpAddress::v6(0x20010db800000000, 1);
constexpr IpAddress kTo = IpAddress::v6(0x20010db800000000, 2);

using Bytes = std::vector<std::byte>;

Bytes bytes_of(std::initializer_list<uint8_t> values) {
  Bytes bytes;
  for (uint8_t value : values) bytes.push_back(std::byte{value});
  return bytes;
}

Bytes packet(uint8_t next_header, const Bytes& rest) {
  Ipv6Header header = make_ipv6_header(kFrom, kTo, next_header, 64, 0x2e, rest.size());
  Bytes bytes(sizeof header);
  std::memcpy(bytes.data(), &header, sizeof header);
  bytes.insert(bytes.end(), rest.begin(), rest.end());
  return bytes;
}

TEST(Ipv6Address, PrefixesAndScopes) {
  EXPECT_EQ(network_of(IpAddress::v6(~0ull, ~0ull), 65), IpAddress::v6(~0ull, 1ull << 63));
  EXPECT_EQ(network_of(IpAddress::v6(~0ull, ~0ull), 0), IpAddress::v6(0, 0));
  EXPECT_EQ(network_of(IpAddress::v6(1, 2), 128), IpAddress::v6(1, 2));
  EXPECT_EQ(network_of(IpAddress::v4(10, 1, 2, 3), 8), IpAddress::v4(10, 0, 0, 0));
  EXPECT_TRUE(IpAddress::v6(0xfe80ull << 48, 1).needs_scope());
  EXPECT_TRUE(kAllNodes.needs_scope());
  EXPECT_FALSE(kFrom.needs_scope());
  EXPECT_FALSE(IpAddress::v4(224, 0, 0, 1).needs_scope());
  EXPECT_EQ(solicited_node(IpAddress::v6(0, 0x1234567890abcdef)).low(), 0x1ffabcdefull);
  // [RFC 2464] 4's example.
  EXPECT_EQ(interface_identifier({0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde}), 0x365678fffe9abcdeull);
}

TEST(AddressText, ReadsAndWrites) {
  for (const char* text : {"::", "::1", "1::", "2001:db8::1", "fe80::1:0:0:1", "1:2:3:4:5:6:7:8",
                           "1:0:3:4:5:6:7:8", "ff02::1:ff00:1", "a::b:0:0:c", "10.0.2.15"}) {
    auto parsed = parse_address(text);
    ASSERT_TRUE(parsed.has_value()) << text;
    EXPECT_EQ(AddressText(*parsed).view(), text);
  }
  EXPECT_EQ(parse_address("::ffff:1.2.3.4"), IpAddress::v4(1, 2, 3, 4));
  EXPECT_EQ(parse_address("64:ff9b::1.2.3.4"), IpAddress::v6(0x64ff9b00000000, 0x01020304));
  EXPECT_EQ(parse_address("0:0:0:0:0:0:0:1"), IpAddress::v6(0, 1));
  for (const char* text :
       {"", ":", ":::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3",
        "12345::", "g::", "1:2:", ":1", "::1.2.3", "1.2.3.4::", "1:2:3:4:5:6:7:1.2.3.4",
        "1::2:3:4:5:6:7:8", "::1 ", "1.2.3", "1.2.3.4.5", "fe80::1%eth0"})
    EXPECT_FALSE(parse_address(text).has_value()) << text;
}

TEST(Ipv6View, ReadsAPlainPacket) {
  Bytes bytes = packet(17, bytes_of({1, 2, 3, 4}));
  bytes.resize(bytes.size() + 6);  // Ethernet padding
  auto view = Ipv6View::parse(bytes);
  ASSERT_TRUE(view.has_value());
  EXPECT_EQ(view->source(), kFrom);
  EXPECT_EQ(view->destination(), kTo);
  EXPECT_EQ(view->protocol(), 17);
  EXPECT_EQ(view->traffic_class(), 0x2e);
  EXPECT_EQ(view->payload().size(), 4u);
  EXPECT_FALSE(view->is_fragment());
}

TEST(Ipv6View, WalksExtensionHeaders) {
  // Hop-by-hop (PadN), routing without segments left, destination options, an atomic fragment, UDP.
  Bytes rest = bytes_of({43, 0, 1, 4, 0, 0, 0, 0,  //
                         60, 0, 0, 0, 0, 0, 0, 0,  //
                         44, 0, 0, 0, 0, 0, 0, 0,  //
                         17, 0, 0, 0, 0, 0, 0, 9, 7});
  auto bytes = packet(0, rest);
  auto view = Ipv6View::parse(bytes);
  ASSERT_TRUE(view.has_value());
  EXPECT_EQ(view->protocol(), 17);
  EXPECT_EQ(view->payload().size(), 1u);
  EXPECT_EQ(view->next_header_offset(), 40u + 24);
  EXPECT_FALSE(view->is_fragment());
}

TEST(Ipv6View, RefusesWhatIsWrong) {
  auto error_of = [](uint8_t next, std::initializer_list<uint8_t> rest) {
    Bytes bytes = packet(next, bytes_of(rest));
    auto view = Ipv6View::parse(bytes);
    return view ? std::optional<Ipv6Problem>() : view.error();
  };
  EXPECT_EQ(error_of(0, {17, 1, 1, 4, 0, 0, 0, 0})->error, Ipv6Error::kExtension);  // cut off
  EXPECT_EQ(error_of(0, {17, 0, 1, 9, 0, 0, 0, 0})->error, Ipv6Error::kExtension);  // option too
  EXPECT_EQ(error_of(60, {0, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0})->error,
            Ipv6Error::kExtension);  // hop-by-hop not first
  auto routed = error_of(43, {17, 0, 0, 1, 0, 0, 0, 0});
  EXPECT_EQ(routed->error, Ipv6Error::kRoutingHeader);
  EXPECT_EQ(routed->pointer, 42u);
  EXPECT_FALSE(error_of(0, {17, 0, 0x1e, 4, 0, 0, 0, 0}));  // unknown option: skip
  EXPECT_EQ(error_of(0, {17, 0, 0x5e, 4, 0, 0, 0, 0})->pointer, 0u);
  auto loud = error_of(0, {17, 0, 0xde, 4, 0, 0, 0, 0});
  EXPECT_EQ(loud->pointer, 42u);
  EXPECT_EQ(loud->code, 2);
  EXPECT_FALSE(loud->answer_group);
  EXPECT_TRUE(error_of(0, {17, 0, 0x9e, 4, 0, 0, 0, 0})->answer_group);

  Bytes many;
  for (int i = 0; i < 9; ++i) {
    Bytes one = bytes_of({60, 0, 1, 4, 0, 0, 0, 0});
    many.insert(many.end(), one.begin(), one.end());
  }
  auto chain = packet(60, many);
  EXPECT_EQ(Ipv6View::parse(chain).error().error, Ipv6Error::kExtension);

  Ipv6Header mapped = make_ipv6_header(IpAddress::v4(1, 2, 3, 4), kTo, 59, 64, 0, 0);
  EXPECT_EQ(Ipv6View::parse(std::as_bytes(std::span(&mapped, 1))).error().error,
            Ipv6Error::kAddress);
  mapped.payload_length = 1;
  EXPECT_EQ(Ipv6View::parse(std::as_bytes(std::span(&mapped, 1))).error().error,
            Ipv6Error::kLength);
}

TEST(Ipv6View, ShowsAFragment) {
  auto bytes = packet(44, bytes_of({17, 0, 0x05, 0xa9, 1, 2, 3, 4, 5, 6}));
  auto view = Ipv6View::parse(bytes);
  ASSERT_TRUE(view.has_value());
  ASSERT_TRUE(view->is_fragment());
  EXPECT_EQ(view->fragment_offset(), 0x5a8u);
  EXPECT_TRUE(view->more_fragments());
  EXPECT_EQ(view->identification(), 0x01020304u);
  EXPECT_EQ(view->header_length(), 40u);
  EXPECT_EQ(view->next_header_offset(), 6u);
  EXPECT_EQ(view->payload().size(), 2u);
}

TEST(Ndp, RefusesMalformedOptions) {
  Bytes advert(16);
  EXPECT_TRUE(RouterAdvertisement::parse(advert).has_value());
  Bytes zero_length = advert;
  zero_length.resize(24);
  zero_length[16] = std::byte{1};
  EXPECT_FALSE(RouterAdvertisement::parse(zero_length).has_value());
  Bytes too_long = zero_length;
  too_long[17] = std::byte{2};
  EXPECT_FALSE(RouterAdvertisement::parse(too_long).has_value());
  Bytes mapped_prefix = advert;
  mapped_prefix.resize(48);
  mapped_prefix[16] = std::byte{3};
  mapped_prefix[17] = std::byte{4};
  mapped_prefix[18] = std::byte{96};
  mapped_prefix[42] = mapped_prefix[43] = std::byte{0xff};
  auto parsed = RouterAdvertisement::parse(mapped_prefix);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->prefix_count, 0u);
  Bytes group_target(24);
  group_target[8] = std::byte{0xff};
  EXPECT_FALSE(NeighbourInformation::parse(Icmpv6::kNeighbourAdvertisement, group_target));
}

}  // namespace
}  // namespace aril::net
