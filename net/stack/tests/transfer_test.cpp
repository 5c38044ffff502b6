#include <gtest/gtest.h>

#include "simulated_link.hpp"

namespace aril::net::test {
namespace {

struct Pair {
  RefPtr<TcpSocket> client, server;
};

Pair connect(TwoStacks& net) {
  auto listener = net.stack(0).create_tcp_socket().value();
  EXPECT_TRUE(listener->bind({IpAddress(), 80}).has_value());
  EXPECT_TRUE(listener->listen(16).has_value());
  Pair pair;
  pair.client = net.stack(1).create_tcp_socket().value();
  EXPECT_EQ(pair.client->connect({TwoStacks::address(0), 80}).error(), Errno::kInProgress);
  EXPECT_TRUE(net.run([&] { return listener->events() == kReadable; }));
  pair.server = listener->accept().value();
  EXPECT_TRUE(net.run([&] { return pair.client->state() == TcpState::kEstablished; }));
  listener->close();
  return pair;
}

/// Sends `total` bytes and a FIN one way, checks every byte; the seconds that it took.
double transfer(TwoStacks& net, TcpSocket& from, TcpSocket& to, uint64_t total) {
  uint64_t sent = 0, received = 0;
  bool ended = false;
  Instant start = net.now();
  auto step = [&] {
    while (sent < total) {
      auto chain = BlockChain::allocate(std::min<uint64_t>(20'000, total - sent)).value();
      for (size_t i = 0, at = 0; i < chain.piece_count(); ++i)
        for (std::byte& byte : chain.piece(i).bytes()) byte = pattern(sent + at++);
      auto count = from.send(chain);
      if (!count) {
        EXPECT_EQ(count.error(), Errno::kAgain);
        break;
      }
      sent += *count;
      if (sent == total) EXPECT_TRUE(from.shutdown(Shutdown::kWrite).has_value());
    }
    std::byte buffer[30'000];
    for (;;) {
      auto count = to.receive(buffer);
      if (!count) {
        EXPECT_EQ(count.error(), Errno::kAgain);
        break;
      }
      if (*count == 0) {
        ended = true;
        break;
      }
      for (size_t i = 0; i < *count; ++i)
        if (buffer[i] != pattern(received + i)) {
          ADD_FAILURE() << "wrong byte at " << received + i;
          return true;
        }
      received += *count;
    }
    return ended;
  };
  EXPECT_TRUE(net.run(step, Duration::seconds(3600)));
  EXPECT_EQ(received, total);
  return static_cast<double>((net.now() - start).ns) / 1e9;
}

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
