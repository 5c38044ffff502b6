// Loss found by time, probes, duplicates and congestion marks.
#include "scripted_peer.hpp"

namespace aril::net::test {
namespace {

using TcpRack = ScriptedStack;
using TcpProbe = ScriptedStack;
using TcpUndo = ScriptedStack;
using TcpEcn = ScriptedStack;

constexpr TcpSegmentOptions kWithSack{.max_segment = 1000, .sack_permitted = true};
constexpr Duration kRtt = Duration::milliseconds(100);

TcpSegmentOptions sack_of(std::initializer_list<SackBlock> blocks) {
  TcpSegmentOptions options;
  for (const SackBlock& block : blocks) options.sack[options.sack_count++] = block;
  return options;
}

TEST_F(TcpRack, OneSackedSegmentIsEnoughAfterATime) {  // [RFC 8985] 3.3: no third needed
  auto socket = establish(kWithSack);
  EXPECT_EQ(socket->send(data(2000)).value(), 2000u);
  sink.frames.clear();
  elapse(kRtt);
  send({.flags = kAck,
        .sequence = 1001,
        .acknowledgment = iss + 1,
        .options = sack_of({{iss + 1001, iss + 2001}})});
  expect_silence();  // it may just be late, by a quarter of the round trip
  elapse(Duration::milliseconds(24));
  expect_silence();
  elapse(Duration::milliseconds(4));
  expect({.sequence = iss + 1, .payload = 1000});
}

TEST_F(TcpRack, FindsALostRetransmission) {
  auto socket = establish(kWithSack);
  EXPECT_EQ(socket->send(data(8000)).value(), 8000u);
  sink.frames.clear();
  elapse(kRtt);
  auto sack = sack_of({{iss + 1001, iss + 6001}});
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1, .options = sack});
  expect({.sequence = iss + 1, .payload = 1000});
  EXPECT_EQ(socket->send(data(2000)).value(), 2000u);
  sink.frames.clear();
  elapse(kRtt);
  // What was sent after the retransmission arrives, the retransmission does not.
  sack = sack_of({{iss + 1001, iss + 10'001}});
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1, .options = sack});
  elapse(Duration::milliseconds(60));
  expect({.sequence = iss + 1, .payload = 1000});
}

TEST_F(TcpProbe, ALostTailIsFoundWithoutATimeout) {  // [RFC 8985] 7
  auto socket = establish(kWithSack);
  EXPECT_EQ(socket->send(data(1000)).value(), 1000u);
  elapse(kRtt);
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1001});
  EXPECT_EQ(socket->send(data(4000)).value(), 4000u);
  sink.frames.clear();
  elapse(Duration::milliseconds(210));
  expect({.sequence = iss + 4001, .payload = 1000});
  expect_silence();
  EXPECT_EQ(stack->counters().get(Counter::kTcpExtTCPLossProbes), 1u);
  // The probe's SACK shows the hole.
  elapse(Duration::milliseconds(100));
  send({.flags = kAck,
        .sequence = 1001,
        .acknowledgment = iss + 1001,
        .options = sack_of({{iss + 4001, iss + 5001}})});
  elapse(Duration::milliseconds(30));
  expect({.sequence = iss + 1001, .payload = 1000});
  EXPECT_EQ(stack->counters().get(Counter::kTcpExtTCPTimeouts), 0u);
}

TEST_F(TcpProbe, PaysForALossThatItRepaired) {  // [RFC 8985] 7.4.2
  auto socket = establish(kWithSack);
  EXPECT_EQ(socket->send(data(1000)).value(), 1000u);
  elapse(kRtt);
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1001});
  uint32_t before = socket->info().congestion_window;
  EXPECT_EQ(socket->send(data(4000)).value(), 4000u);
  elapse(Duration::milliseconds(210));
  sink.frames.clear();
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 5001});
  EXPECT_EQ(socket->send(data(1000)).value(), 1000u);
  elapse(Duration::milliseconds(100));
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 6001});
  EXPECT_EQ(stack->counters().get(Counter::kTcpExtTCPLossProbeRecovery), 1u);
  EXPECT_LT(socket->info().congestion_window, before);
}

TEST_F(TcpUndo, TakesBackANeedlessTimeout) {  // [RFC 3522]
  TcpSegmentOptions offered = kWithSack;
  offered.timestamps = TcpTimestamps{1000, 0};
  auto socket = establish(offered);
  EXPECT_EQ(socket->send(data(4000)).value(), 4000u);
  TcpSegment first = expect({.sequence = iss + 1});
  uint32_t sent_at = first.options.timestamps->value;
  uint32_t before = socket->info().congestion_window;
  elapse(Duration::milliseconds(1500));
  EXPECT_EQ(socket->info().congestion_window, 1u);
  TcpSegmentOptions late;
  late.timestamps = TcpTimestamps{1002, sent_at};
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 4001, .options = late});
  EXPECT_GE(socket->info().congestion_window, before);
  EXPECT_EQ(stack->counters().get(Counter::kTcpExtTCPSpuriousRTOs), 1u);
}

TEST_F(TcpEcn, NegotiatesAndEchoes) {  // [RFC 3168] 6.1
  auto listener = listen(80);
  send({.flags = kSyn | TcpFlags::kEce | TcpFlags::kCwr, .sequence = 1000, .options = kWithSack});
  TcpSegment answer = expect({.flags = kSyn | kAck | TcpFlags::kEce});
  iss = answer.sequence;
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1});
  auto socket = listener->accept().value();
  EXPECT_EQ(socket->send(data(3000)).value(), 3000u);
  EXPECT_EQ(std::to_integer<int>(take_frame().value()[15]) & 3, 2);
  sink.frames.clear();
  uint32_t before = socket->info().congestion_window;
  send({.flags = kAck | TcpFlags::kEce, .sequence = 1001, .acknowledgment = iss + 2001});
  EXPECT_LT(socket->info().congestion_window, before);
  EXPECT_EQ(socket->send(data(1000)).value(), 1000u);
  expect({.flags = kAck | TcpFlags::kCwr, .sequence = iss + 3001});
  // Once in a window.
  uint32_t reduced = socket->info().congestion_window;
  send({.flags = kAck | TcpFlags::kEce, .sequence = 1001, .acknowledgment = iss + 2501});
  EXPECT_EQ(socket->info().congestion_window, reduced);
  listener->close();
}

TEST_F(TcpEcn, RefusesTheOfferWhenOff) {
  stack->tcp().set_ecn(Ecn::kOff);
  auto listener = listen(80);
  send({.flags = kSyn | TcpFlags::kEce | TcpFlags::kCwr, .sequence = 1000, .options = kWithSack});
  expect({.flags = kSyn | kAck});
  listener->close();
}

}  // namespace
}  // namespace aril::net::test
