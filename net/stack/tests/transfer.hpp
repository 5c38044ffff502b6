#pragma once
#include <gtest/gtest.h>

#include "simulated_link.hpp"

namespace aril::net::test {

struct Pair {
  RefPtr<TcpSocket> client, server;
};

inline Pair connect(TwoStacks& net) {
  auto listener = net.stack(0).create_tcp_socket().value();
  EXPECT_TRUE(listener->bind({IpAddress(), 80}).has_value());
  EXPECT_TRUE(listener->listen(16).has_value());
  Pair pair;
  pair.client = net.stack(1).create_tcp_socket().value();
  EXPECT_EQ(pair.client->connect({TwoStacks::address(0), 80}).error(), Errno::kInProgress);
  EXPECT_TRUE(net.run([&] { return listener->events() == kReadable; }))
      << "the client's error: " << static_cast<int>(pair.client->take_error().error_or(Errno{}));
  pair.server = listener->accept().value();
  EXPECT_TRUE(net.run([&] { return pair.client->state() == TcpState::kEstablished; }));
  listener->close();
  return pair;
}

/// Sends `total` bytes and a FIN one way, checks every byte; the seconds that it took.
inline double transfer(TwoStacks& net, TcpSocket& from, TcpSocket& to, uint64_t total) {
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

}  // namespace aril::net::test
