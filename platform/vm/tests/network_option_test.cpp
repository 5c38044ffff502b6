#include "network_option.hpp"

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

TEST(NetworkOption, BadText) {
  for (const char* text : {"x", "1.2.3/8", "1.2.3.4", "1.2.3.4/33", "1.2.3.256/8", "1.2.3.4/8,x",
                           "1.2.3.4.5/8", "1..3.4/8", "/8", "1.2.3.4/", "1.2.3.4/8,,y"})
    EXPECT_FALSE(parse_network_option(text).has_value()) << text;
}

}  // namespace
}  // namespace aril::platform
