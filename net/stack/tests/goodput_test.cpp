// Goodput against loss: what the congestion control makes of a path. The simulation is exact, so a
// change of these figures is a change of behaviour: better ones are to be written down here.
#include <gtest/gtest.h>

#include <cstdio>

#include "transfer.hpp"

namespace aril::net::test {
namespace {

struct Path {
  const char* name;
  LinkFaults faults;
  double golden;  // megabits per second, averaged over the seeds
};

constexpr uint64_t kTenMegabits = 10'000'000 / 8;
constexpr Duration kQuarter = Duration::milliseconds(25);  // 50 ms there and back

LinkFaults path(double loss, double reorder = 0, uint64_t rate = kTenMegabits, size_t mark = 0) {
  return {.loss = loss, .reorder = reorder, .delay = kQuarter, .rate = rate, .mark = mark};
}

const Path kPaths[] = {
    {"10 Mbit/s, no loss", path(0), 7.35},
    {"10 Mbit/s, 0.1 % loss", path(0.001), 7.2},
    {"10 Mbit/s, 1 % loss", path(0.01), 4.9},
    {"10 Mbit/s, 3 % loss", path(0.03), 2.8},
    {"10 Mbit/s, 10 % loss", path(0.10), 0.57},
    {"10 Mbit/s, 2 % reordered", path(0, 0.02), 7.8},
    {"10 Mbit/s, 1 % loss, 2 % reordered", path(0.01, 0.02), 7.5},
    {"10 Mbit/s, congestion marked", path(0, 0, kTenMegabits, 16 * 1024), 6.95},
    {"unlimited, 1 % loss", path(0.01, 0, 0), 5.5},
};

double goodput(const Path& path) {
  constexpr uint64_t kBytes = 1 << 20;
  constexpr unsigned kSeeds = 3;
  double seconds = 0;
  for (uint32_t seed = 1; seed <= kSeeds; ++seed) {
    // Losses begin with the transfer: ARP, and the handshake, are not what is measured.
    TwoStacks net({.delay = path.faults.delay}, seed);
    for (unsigned side : {0u, 1u}) net.stack(side).tcp().set_ecn(Ecn::kRequest);
    Pair pair = connect(net);
    net.faults() = path.faults;
    seconds += transfer(net, *pair.client, *pair.server, kBytes);
    pair.client->abort();
    pair.server->abort();
  }
  return kBytes * kSeeds * 8 / seconds / 1e6;
}

TEST(Goodput, AgainstLoss) {
  for (const Path& path : kPaths) {
    double megabits = goodput(path);
    std::printf("  %-36s %6.2f Mbit/s\n", path.name, megabits);
    EXPECT_GT(megabits, path.golden * 0.9) << path.name;
    EXPECT_LT(megabits, path.golden * 1.15) << path.name << ": better, so write it down";
  }
}

TEST(Goodput, MarksAvoidLoss) {  // [RFC 3168]
  LinkFaults faults = path(0, 0, kTenMegabits, 16 * 1024);
  TwoStacks net(faults);
  net.stack(1).tcp().set_ecn(Ecn::kRequest);
  Pair pair = connect(net);
  transfer(net, *pair.client, *pair.server, 4 << 20);
  EXPECT_EQ(net.stack(1).counters().get(Counter::kTcpRetransSegs), 0u);
  pair.client->abort();
  pair.server->abort();
}

TEST(Goodput, PassesABlackHole) {  // [RFC 8899] 1.1
  TwoStacks net({.mtu = 1300});
  Pair pair = connect(net);
  double seconds = transfer(net, *pair.client, *pair.server, 1 << 20);
  EXPECT_LT(seconds, 30);
  EXPECT_GE(net.stack(1).counters().get(Counter::kTcpExtTCPMTUPFail), 1u);
  pair.client->abort();
  pair.server->abort();
  // The next connection knows.
  Pair second = connect(net);
  EXPECT_LT(transfer(net, *second.client, *second.server, 1 << 20), 3);
  second.client->abort();
  second.server->abort();
}

}  // namespace
}  // namespace aril::net::test
