#include <gtest/gtest.h>

#include "transfer.hpp"

namespace aril::net::test {
namespace {

TEST(Transfer, PerfectLink) {
  TwoStacks net;
  Pair pair = connect(net);
  double seconds = transfer(net, *pair.client, *pair.server, 8 << 20);
  EXPECT_LT(seconds, 3);
  EXPECT_EQ(net.stack(1).counters().get(Counter::kTcpRetransSegs), 0u);
  pair.client->close();
  pair.server->close();
  EXPECT_TRUE(net.run([&] { return net.stack(0).tcp().connection_count() == 0; }));
}

TEST(Transfer, PerfectLinkWithOffloads) {
  TwoStacks net({}, 1, LinkFeatures::kChecksum | LinkFeatures::kTso);
  Pair pair = connect(net);
  transfer(net, *pair.server, *pair.client, 8 << 20);
  EXPECT_EQ(net.stack(0).counters().get(Counter::kTcpRetransSegs), 0u);
  pair.client->close();
  pair.server->close();
}

class FaultyLink : public testing::TestWithParam<uint32_t> {};

TEST_P(FaultyLink, LossReorderDuplicationCorruption) {
  uint32_t seed = GetParam();
  LinkFaults faults{
      .loss = 0.01 * (seed % 4), .duplication = 0.02, .reorder = 0.05, .corruption = 0.005};
  TwoStacks net(faults, seed,
                seed % 2 ? LinkFeatures::kNone : LinkFeatures::kChecksum | LinkFeatures::kTso);
  Pair pair = connect(net);
  double seconds = transfer(net, *pair.client, *pair.server, 2 << 20);
  transfer(net, *pair.server, *pair.client, 1 << 20);
  RecordProperty("seconds", std::to_string(seconds));
  pair.client->close();
  pair.server->close();
  net.run_for(Duration::seconds(1000));
  EXPECT_EQ(net.stack(0).tcp().connection_count(), 0u);
  EXPECT_EQ(net.stack(1).tcp().connection_count(), 0u);
}
INSTANTIATE_TEST_SUITE_P(Seeds, FaultyLink, testing::Range(1u, 13u));

TEST(Transfer, Loopback) {
  TwoStacks net;
  Stack& stack = net.stack(0);
  auto listener = stack.create_tcp_socket().value();
  ASSERT_TRUE(listener->bind({IpAddress::v4(127, 0, 0, 1), 0}).has_value());
  ASSERT_TRUE(listener->listen(1).has_value());
  auto client = stack.create_tcp_socket().value();
  ASSERT_EQ(client->connect(listener->local()).error(), Errno::kInProgress);
  while (stack.run_loopback()) {}
  auto server = listener->accept().value();
  uint64_t sent = 0, received = 0;
  constexpr uint64_t kTotal = 4 << 20;
  while (received < kTotal) {
    std::vector<std::byte> data(50'000);
    for (size_t i = 0; i < data.size(); ++i) data[i] = pattern(sent + i);
    if (auto count = client->send(data)) sent += *count;
    while (stack.run_loopback()) {}
    std::byte buffer[40'000];
    auto count = server->receive(buffer);
    if (!count) {
      net.run_for(Duration::milliseconds(1));
      continue;
    }
    for (size_t i = 0; i < *count; ++i) ASSERT_EQ(buffer[i], pattern(received + i));
    received += *count;
  }
  client->close();
  server->close();
  listener->close();
  while (stack.run_loopback()) {}
}

}  // namespace
}  // namespace aril::net::test
