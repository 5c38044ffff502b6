// TCP and UDP over IPv6, and sockets that take both families.
#include <gtest/gtest.h>

#include <algorithm>

#include "simulated_link.hpp"

namespace aril::net::test {
namespace {

constexpr IpAddress kAny6 = IpAddress::v6(0, 0);

Bytes data(size_t size) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = pattern(i);
  return bytes;
}

/// Sends `size` bytes from a client on side 0 to a listener on side 1; what arrived.
Bytes transfer(TwoStacks& net, TcpSocket& listener, const Endpoint& to, size_t size,
               Endpoint* peer = nullptr) {
  auto client = net.stack(0).create_tcp_socket(to.address.is_v4() ? IpAddress() : kAny6).value();
  EXPECT_EQ(client->connect(to).error(), Errno::kInProgress);
  EXPECT_TRUE(net.run([&] { return has(listener.events(), PollEvents::kIn); }));
  auto accepted = listener.accept();
  EXPECT_TRUE(accepted.has_value());
  if (!accepted) return {};
  auto server = *accepted;
  if (peer != nullptr) *peer = server->remote().value();
  Bytes received, bytes = data(size);
  size_t sent = 0;
  net.run([&] {
    if (sent < size) {
      auto count = client->send(std::span(bytes).subspan(sent));
      if (count) sent += *count;
    }
    std::byte buffer[16384];
    while (auto count = server->receive(buffer)) {
      if (*count == 0) break;
      received.insert(received.end(), buffer, buffer + *count);
    }
    return received.size() == size;
  });
  EXPECT_TRUE(received == bytes);
  client->close();
  server->close();
  net.run_for(Duration::seconds(1));
  return received;
}

class Ipv6Transfer : public testing::TestWithParam<LinkFeatures> {};

TEST_P(Ipv6Transfer, ArrivesOverAFaultyLink) {
  TwoStacks net({.loss = 0.02, .duplication = 0.01, .reorder = 0.02, .corruption = 0.01}, 5,
                GetParam());
  net.enable_ipv6();
  net.run_for(Duration::seconds(2));
  auto listener = net.stack(1).create_tcp_socket(kAny6).value();
  ASSERT_TRUE(listener->bind({kAny6, 80}).has_value());
  ASSERT_TRUE(listener->listen(8).has_value());
  Endpoint peer;
  transfer(net, *listener, {TwoStacks::address6(1), 80}, 300'000, &peer);
  EXPECT_EQ(peer.address, TwoStacks::address6(0));
  listener->close();
}
INSTANTIATE_TEST_SUITE_P(Features, Ipv6Transfer,
                         testing::Values(LinkFeatures::kNone,
                                         LinkFeatures::kChecksum | LinkFeatures::kTso6));

TEST(Ipv6Sockets, LinkLocalPeersHaveAScope) {
  TwoStacks net;
  net.enable_ipv6();
  auto listener = net.stack(1).create_tcp_socket(kAny6).value();
  ASSERT_TRUE(listener->bind({kAny6, 80}).has_value());
  ASSERT_TRUE(listener->listen(8).has_value());
  IpAddress local = net.interface(1).ipv6_addresses()[0].address;
  ASSERT_TRUE(local.is_link_local());
  auto lost = net.stack(0).create_tcp_socket(kAny6).value();
  EXPECT_EQ(lost->connect({local, 80}).error(), Errno::kInval);
  auto scope = static_cast<uint16_t>(net.interface(0).index());
  Endpoint peer;
  transfer(net, *listener, {local, 80, scope}, 1000, &peer);
  EXPECT_EQ(peer.scope, net.interface(1).index());
  listener->close();
}

TEST(Ipv6Sockets, TakeBothFamiliesUnlessToldOtherwise) {
  TwoStacks net;
  net.enable_ipv6();
  auto listener = net.stack(1).create_tcp_socket(kAny6).value();
  ASSERT_TRUE(listener->bind({kAny6, 80}).has_value());
  ASSERT_TRUE(listener->listen(8).has_value());
  Endpoint peer;
  transfer(net, *listener, {TwoStacks::address(1), 80}, 1000, &peer);
  EXPECT_EQ(peer.address, TwoStacks::address(0));
  transfer(net, *listener, {TwoStacks::address6(1), 80}, 1000, &peer);
  EXPECT_EQ(peer.address, TwoStacks::address6(0));
  // Its port is taken in IPv4 too.
  auto ipv4 = net.stack(1).create_tcp_socket().value();
  EXPECT_EQ(ipv4->bind({IpAddress(), 80}).error(), Errno::kAddrInUse);
  listener->close();
  // One of IPv6 alone and one of IPv4 go together.
  auto ipv6 = net.stack(1).create_tcp_socket(kAny6).value();
  TcpOptions options = ipv6->options();
  options.v6_only = true;
  ASSERT_TRUE(ipv6->set_options(options).has_value());
  TcpOptions shared;
  shared.reuse_address = true;
  ASSERT_TRUE(ipv4->set_options(shared).has_value());
  options.reuse_address = true;
  ASSERT_TRUE(ipv6->set_options(options).has_value());
  ASSERT_TRUE(ipv6->bind({kAny6, 81}).has_value());
  ASSERT_TRUE(ipv6->listen(8).has_value());
  ASSERT_TRUE(ipv4->bind({IpAddress(), 81}).has_value());
  ASSERT_TRUE(ipv4->listen(8).has_value());
  transfer(net, *ipv6, {TwoStacks::address6(1), 81}, 1000);
  transfer(net, *ipv4, {TwoStacks::address(1), 81}, 1000);
  EXPECT_EQ(ipv6->connect({TwoStacks::address(0), 9}).error(), Errno::kIsConn);
  ipv6->close();
  ipv4->close();
}

TEST(Ipv6Sockets, DatagramsFragmentAndJoin) {
  TwoStacks net;
  net.enable_ipv6();
  auto from = net.stack(0).create_udp_socket(kAny6).value();
  auto to = net.stack(1).create_udp_socket(kAny6).value();
  ASSERT_TRUE(to->bind({kAny6, 5000}).has_value());
  for (size_t size : {size_t{0}, size_t{1452}, size_t{1453}, size_t{20'000}, size_t{65'527}}) {
    Bytes big = data(size);
    EXPECT_EQ(from->send(big, Endpoint{TwoStacks::address6(1), 5000}).value(), size);
    ASSERT_TRUE(net.run([&] { return has(to->events(), PollEvents::kIn); })) << size;
    EXPECT_TRUE(std::ranges::equal(to->receive().value().payload(), big)) << size;
  }
  EXPECT_EQ(from->send(data(65'528), Endpoint{TwoStacks::address6(1), 5000}).error(),
            Errno::kMsgSize);
  DatagramOptions options = from->options();
  options.ipv6_dont_fragment = true;
  ASSERT_TRUE(from->set_options(options).has_value());
  EXPECT_EQ(from->send(data(1453), Endpoint{TwoStacks::address6(1), 5000}).error(),
            Errno::kMsgSize);
  from->close();
  to->close();
}

TEST(Ipv6Sockets, GroupsReachTheirMembers) {
  TwoStacks net;
  net.enable_ipv6();
  IpAddress group = IpAddress::v6(0xff02ull << 48, 0x1234);
  auto from = net.stack(0).create_udp_socket(kAny6).value();
  auto to = net.stack(1).create_udp_socket(kAny6).value();
  auto scope = static_cast<uint16_t>(net.interface(0).index());
  ASSERT_TRUE(to->bind({kAny6, 5000}).has_value());
  EXPECT_TRUE(from->send(data(5), Endpoint{group, 5000, scope}).has_value());
  net.run_for(Duration::seconds(1));
  EXPECT_EQ(to->receive().error(), Errno::kAgain);
  ASSERT_TRUE(to->join_group(group, 0).has_value());
  EXPECT_EQ(to->join_group(group, 0).error(), Errno::kAddrInUse);
  EXPECT_TRUE(from->send(data(5), Endpoint{group, 5000, scope}).has_value());
  net.run_for(Duration::seconds(1));
  auto datagram = to->receive().value();
  EXPECT_EQ(datagram.to, group);
  EXPECT_TRUE(datagram.from.address.is_link_local());
  ASSERT_TRUE(to->leave_group(group, 0).has_value());
  EXPECT_FALSE(net.interface(1).is_member(group));
  from->close();
  to->close();
}

TEST(Ipv6Sockets, LoopbackNeedsNoLink) {
  TwoStacks net;
  Stack& stack = net.stack(0);
  auto listener = stack.create_tcp_socket(kAny6).value();
  ASSERT_TRUE(listener->bind({IpAddress::v6(0, 1), 80}).has_value());
  ASSERT_TRUE(listener->listen(8).has_value());
  auto client = stack.create_tcp_socket(kAny6).value();
  EXPECT_EQ(client->connect({kAny6, 80}).error(), Errno::kInProgress);
  while (stack.run_loopback()) {}
  auto server = listener->accept().value();
  EXPECT_EQ(server->remote()->address, IpAddress::v6(0, 1));
  auto unreachable = stack.create_tcp_socket(kAny6).value();
  EXPECT_EQ(unreachable->connect({IpAddress::v6(0x20010db800000000, 1), 80}).error(),
            Errno::kNetUnreach);
  auto refused = stack.create_tcp_socket(kAny6).value();
  EXPECT_EQ(refused->connect({IpAddress::v6(0, 1), 81}).error(), Errno::kInProgress);
  while (stack.run_loopback()) {}
  EXPECT_EQ(refused->take_error().error(), Errno::kConnRefused);
  for (auto* socket : {&listener, &client, &server, &unreachable, &refused}) (*socket)->close();
}

}  // namespace
}  // namespace aril::net::test
