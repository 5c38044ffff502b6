#include "platform/common/network_option.hpp"

#include <gtest/gtest.h>

namespace aril::platform {
namespace {

using Kind = NetworkOption::Kind;

TEST(NetworkOption, Words) {
  EXPECT_EQ(parse_network_option("")->kind, Kind::kDhcp);
  EXPECT_EQ(parse_network_option("dhcp")->kind, Kind::kDhcp);
  EXPECT_EQ(parse_network_option("none")->kind, Kind::kNone);
}

TEST(NetworkOption, StaticAddresses) {
  auto option = parse_network_option("10.0.2.15/24,10.0.2.2,10.0.2.3");
  ASSERT_TRUE(option.has_value());
  EXPECT_EQ(option->kind, Kind::kStatic);
  EXPECT_EQ(option->address, net::IpAddress::v4(10, 0, 2, 15));
  EXPECT_EQ(option->prefix_length, 24);
  EXPECT_EQ(option->gateway, net::IpAddress::v4(10, 0, 2, 2));
  ASSERT_EQ(option->nameservers.size(), 1u);
  EXPECT_EQ(option->nameservers[0], net::IpAddress::v4(10, 0, 2, 3));

  option = parse_network_option("192.168.1.2/16");
  ASSERT_TRUE(option.has_value());
  EXPECT_TRUE(option->gateway.is_unspecified());
  option = parse_network_option("192.168.1.2/16,,8.8.8.8");
  ASSERT_TRUE(option.has_value());
  EXPECT_EQ(option->nameservers.size(), 1u);
}

TEST(NetworkOption, Ipv6) {
  auto option = parse_network_option("10.0.2.15/24,,10.0.2.3,ip6=fd00::2/64,gateway6=fe80::1");
  ASSERT_TRUE(option.has_value());
  EXPECT_EQ(option->kind, Kind::kStatic);
  EXPECT_EQ(option->nameservers.size(), 1u);
  EXPECT_EQ(option->address6, net::IpAddress::v6(0xfd00ull << 48, 2));
  EXPECT_EQ(option->prefix_length6, 64);
  EXPECT_EQ(option->gateway6, net::IpAddress::v6(0xfe80ull << 48, 1));
  option = parse_network_option("dhcp,ip6=fd00::2/128");
  ASSERT_TRUE(option.has_value());
  EXPECT_EQ(option->kind, Kind::kDhcp);
  EXPECT_EQ(option->prefix_length6, 128);
  option = parse_network_option("ip6=fd00::2/64");
  ASSERT_TRUE(option.has_value());
  EXPECT_EQ(option->kind, Kind::kDhcp);
  for (const char* text : {"dhcp,ip6=1.2.3.4/8", "dhcp,ip6=fd00::2", "dhcp,ip6=fd00::2/129",
                           "dhcp,gateway6=fd00::1", "dhcp,ip6=fd00::2/64,gateway6=1.2.3.4",
                           "dhcp,ip6=fd00::2/64,x", "dhcp,ip7=fd00::2/64", "fd00::2/64", "="})
    EXPECT_FALSE(parse_network_option(text).has_value()) << text;
}

TEST(NetworkOption, BadText) {
  for (const char* text : {"x", "1.2.3/8", "1.2.3.4", "1.2.3.4/33", "1.2.3.256/8", "1.2.3.4/8,x",
                           "1.2.3.4.5/8", "1..3.4/8", "/8", "1.2.3.4/", "1.2.3.4/8,,y"})
    EXPECT_FALSE(parse_network_option(text).has_value()) << text;
}

}  // namespace
}  // namespace aril::platform
