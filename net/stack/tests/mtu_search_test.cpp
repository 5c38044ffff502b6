// After a black hole has made segments small: larger ones are found again, one try at a time.
#include "transfer.hpp"

namespace aril::net::test {
namespace {

class MtuSearch : public testing::Test {
 protected:
  ~MtuSearch() override {
    pair.client->abort();
    pair.server->abort();
  }

  uint32_t path_mtu() { return pair.client->info().path_mtu; }
  uint64_t count(Counter counter) { return net.stack(1).counters().get(counter); }
  /// Keeps the client sending, and the server reading, until `done` or the time is over.
  bool send_until(const std::function<bool()>& done, Duration limit = Duration::seconds(30)) {
    return net.run(
        [&] {
          Bytes bytes(20'000);
          for (;;) {
            for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = pattern(sent + i);
            auto taken = pair.client->send(bytes);
            if (!taken) break;
            sent += *taken;
          }
          std::byte buffer[30'000];
          while (auto taken = pair.server->receive(buffer)) {
            for (size_t i = 0; i < *taken; ++i)
              if (buffer[i] != pattern(received + i)) ADD_FAILURE() << "byte " << received + i;
            received += *taken;
          }
          return done();
        },
        limit);
  }
  bool send_more(uint64_t bytes) {
    uint64_t end = received + bytes;
    return send_until([&] { return received >= end; });
  }

  TwoStacks net{{.rate = 500'000, .mtu = 1300}};
  Pair pair = connect(net);
  uint64_t sent = 0, received = 0;
};

TEST_F(MtuSearch, FindsWhatGetsThrough) {  // [RFC 8899] 5.3
  ASSERT_TRUE(send_more(2 << 20));
  EXPECT_LE(path_mtu(), 1300u);
  EXPECT_GT(path_mtu(), 1300u - 8);
  EXPECT_GE(count(Counter::kTcpExtTCPMTUPSuccess), 1u);
  // The fall-back, and the tries that were too large: no more than halving needs.
  EXPECT_LE(count(Counter::kTcpExtTCPMTUPFail), 10u);
  // And then there is peace, for ten minutes.
  uint64_t tries = count(Counter::kTcpExtTCPMTUPFail);
  ASSERT_TRUE(send_more(2 << 20));
  EXPECT_EQ(count(Counter::kTcpExtTCPMTUPFail), tries);
}

TEST_F(MtuSearch, ALostTrySaysNothingOfCongestion) {  // [RFC 4821] 7
  ASSERT_TRUE(send_until([&] { return count(Counter::kTcpExtTCPMTUPSuccess) != 0; }));
  uint64_t timeouts = count(Counter::kTcpExtTCPTimeouts);
  uint64_t recoveries = count(Counter::kTcpExtTCPSackRecovery);
  uint64_t failures = count(Counter::kTcpExtTCPMTUPFail);
  ASSERT_TRUE(send_until([&] { return count(Counter::kTcpExtTCPMTUPFail) > failures; }));
  ASSERT_TRUE(send_more(20'000));
  EXPECT_EQ(count(Counter::kTcpExtTCPTimeouts), timeouts);
  EXPECT_EQ(count(Counter::kTcpExtTCPSackRecovery), recoveries);
}

TEST_F(MtuSearch, TheLargestIsTriedFirst) {
  ASSERT_TRUE(send_until([&] { return path_mtu() < 1500; }));
  net.faults().mtu = 0;
  ASSERT_TRUE(send_until([&] { return path_mtu() == 1500; }));
  EXPECT_EQ(count(Counter::kTcpExtTCPMTUPSuccess), 1u);
}

TEST_F(MtuSearch, LooksAgainWhenThePathMayHaveChanged) {
  ASSERT_TRUE(send_more(2 << 20));
  uint32_t found = path_mtu();
  EXPECT_LE(found, 1300u);
  net.faults().mtu = 0;
  ASSERT_TRUE(send_more(200'000));
  EXPECT_EQ(path_mtu(), found);
  net.run_for(Duration::seconds(601));
  ASSERT_TRUE(send_until([&] { return path_mtu() == 1500; }));
}

TEST_F(MtuSearch, Ipv6IsTheSame) {
  net.enable_ipv6();
  net.run_for(Duration::seconds(3));
  auto listener = net.stack(0).create_tcp_socket(IpAddress::v6(0, 0)).value();
  ASSERT_TRUE(listener->bind({IpAddress::v6(0, 0), 81}).has_value());
  ASSERT_TRUE(listener->listen(1).has_value());
  pair.client->abort();
  pair.server->abort();
  pair.client = net.stack(1).create_tcp_socket(IpAddress::v6(0, 0)).value();
  (void)pair.client->connect({TwoStacks::address6(0), 81});
  ASSERT_TRUE(net.run([&] { return listener->events() == kReadable; }));
  pair.server = listener->accept().value();
  listener->close();
  net.faults().mtu = 1400;
  ASSERT_TRUE(send_until([&] { return path_mtu() == 1280; }));
  ASSERT_TRUE(send_until([&] { return path_mtu() > 1400 - 8; }));
  EXPECT_LE(path_mtu(), 1400u);
}

}  // namespace
}  // namespace aril::net::test
