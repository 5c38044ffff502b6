// States and segment arrival, by section of [RFC 9293].
#include "scripted_peer.hpp"

namespace aril::net::test {
namespace {

using TcpListen = ScriptedStack;
using TcpClose = ScriptedStack;
using TcpConnect = ScriptedStack;
using TcpReset = ScriptedStack;
using TcpTimeWait = ScriptedStack;

TEST_F(TcpListen, ResetsSegmentsForClosedPort) {  // 3.10.7.1
  port = 81;
  send({.flags = kSyn, .sequence = 100});
  expect({.flags = kRst | kAck, .sequence = 0, .acknowledgment = 101});
  send({.flags = kAck, .sequence = 100, .acknowledgment = 900, .payload = 5});
  expect({.flags = kRst, .sequence = 900});
  send({.flags = kRst, .sequence = 100});
  expect_silence();
}

TEST_F(TcpListen, ResetsAckForUnknownConnection) {  // 3.10.7.2
  auto socket = listen(80);
  send({.flags = kAck, .sequence = 100, .acknowledgment = 900});
  expect({.flags = kRst, .sequence = 900});
  EXPECT_EQ(socket->state(), TcpState::kListen);
}

TEST_F(TcpListen, IgnoresResetAndFin) {
  auto socket = listen(80);
  send({.flags = kRst, .sequence = 100});
  send({.flags = kFin, .sequence = 100});
  send({.flags = kSyn | kFin, .sequence = 100});
  expect_silence();
  EXPECT_EQ(dropped(DropReason::kTcpBadSynFlags), 2u);
}

TEST_F(TcpListen, OffersNoMoreThanItWasOffered) {
  auto socket = listen(80);
  send({.flags = kSyn, .sequence = 1000, .options = {.max_segment = 1000}});
  TcpSegment plain = expect({.flags = kSyn | kAck});
  EXPECT_EQ(plain.options.max_segment, 1460);
  EXPECT_FALSE(plain.options.window_scale || plain.options.sack_permitted ||
               plain.options.timestamps);
  send({.flags = kSyn,
        .sequence = 1000,
        .options = {.max_segment = 1000,
                    .window_scale = 3,
                    .sack_permitted = true,
                    .timestamps = TcpTimestamps{77, 0}},
        .source_port = 40001});
  TcpSegment full = expect({.flags = kSyn | kAck});
  EXPECT_TRUE(full.options.window_scale && full.options.sack_permitted);
  ASSERT_TRUE(full.options.timestamps);
  EXPECT_EQ(full.options.timestamps->echo, 77u);
}

TEST_F(TcpListen, RetransmitsSynAckAndGivesUp) {
  auto socket = listen(80);
  send({.flags = kSyn, .sequence = 1000});
  TcpSegment first = expect({.flags = kSyn | kAck});
  send({.flags = kSyn, .sequence = 1000});  // the SYN again: the same answer
  expect({.flags = kSyn | kAck, .sequence = first.sequence});
  elapse(Duration::seconds(70));
  EXPECT_EQ(sink.frames.size(), 5u);
  EXPECT_EQ(stack->tcp().connection_count(), 0u);
}

TEST_F(TcpListen, BoundsTheAcceptQueue) {
  auto socket = listen(80, 1);
  for (uint16_t i = 0; i < 4; ++i) {
    auto source = static_cast<uint16_t>(40000 + i);
    send({.flags = kSyn, .sequence = 1000, .source_port = source});
    auto answer = take();
    if (!answer) continue;
    send({.flags = kAck,
          .sequence = 1001,
          .acknowledgment = answer->sequence + 1,
          .source_port = source});
  }
  EXPECT_EQ(stack->counters().get(Counter::kTcpExtListenOverflows), 2u);
  EXPECT_TRUE(socket->accept().has_value());
  EXPECT_TRUE(socket->accept().has_value());
  EXPECT_EQ(socket->accept().error(), Errno::kAgain);
}

TEST_F(TcpListen, SendsCookiesWhenTheSynQueueIsFull) {  // [RFC 4987] 3.6
  auto socket = listen(80);
  for (uint16_t i = 0; i < 300; ++i)
    send({.flags = kSyn, .sequence = 1000, .source_port = static_cast<uint16_t>(20000 + i)});
  EXPECT_GT(stack->counters().get(Counter::kTcpExtSyncookiesSent), 100u);
  sink.frames.clear();
  send({.flags = kSyn,
        .sequence = 5000,
        .options = {.max_segment = 1460,
                    .window_scale = 7,
                    .sack_permitted = true,
                    .timestamps = TcpTimestamps{9, 0}}});
  TcpSegment answer = expect({.flags = kSyn | kAck, .acknowledgment = 5001});
  size_t flows = stack->tcp().connection_count();
  // A wrong cookie is refused, the right one makes a connection.
  send({.flags = kAck, .sequence = 5001, .acknowledgment = answer.sequence + 2});
  expect({.flags = kRst});
  send({.flags = kAck,
        .sequence = 5001,
        .acknowledgment = answer.sequence + 1,
        .options = {.timestamps = TcpTimestamps{10, answer.options.timestamps->value}}});
  EXPECT_EQ(stack->tcp().connection_count(), flows + 1);
  auto accepted = socket->accept().value();
  TcpInfo info = accepted->info();
  EXPECT_TRUE(info.sack && info.timestamps);
  EXPECT_EQ(info.send_scale, 7);
  EXPECT_EQ(accepted->max_segment(), 1460 - 12);
}

TEST_F(TcpListen, CookiesStampNothingOfTheFuture) {  // [RFC 7323] 5: it would end what follows
  auto socket = listen(80);
  for (uint16_t i = 0; i < 200; ++i)
    send({.flags = kSyn, .sequence = 1000, .source_port = static_cast<uint16_t>(20000 + i)});
  for (uint16_t i = 0; i < 40; ++i) {
    auto source = static_cast<uint16_t>(40000 + i);
    elapse(Duration::milliseconds(3));
    sink.frames.clear();
    send({.flags = kSyn,
          .sequence = 5000,
          .options = {.max_segment = 1460,
                      .window_scale = 9,
                      .sack_permitted = true,
                      .timestamps = TcpTimestamps{9, 0}},
          .source_port = source});
    TcpSegment answer = expect({.flags = kSyn | kAck, .acknowledgment = 5001});
    uint32_t stamp = answer.options.timestamps->value;
    send({.flags = kAck,
          .sequence = 5001,
          .acknowledgment = answer.sequence + 1,
          .options = {.timestamps = TcpTimestamps{10, stamp}},
          .source_port = source});
    auto accepted = socket->accept().value();
    const std::byte text[4] = {};
    ASSERT_TRUE(accepted->send(text).has_value());
    auto data = take();
    ASSERT_TRUE(data && data->options.timestamps);
    EXPECT_TRUE(sequence_at_most(stamp, data->options.timestamps->value));
    accepted->abort();
  }
}

TEST_F(TcpListen, DefersAcceptUntilDataComes) {
  auto socket = listen(80, 8, {.defer_accept = Duration::seconds(10)});
  send({.flags = kSyn, .sequence = 1000});
  TcpSegment answer = expect({.flags = kSyn | kAck});
  send({.flags = kAck, .sequence = 1001, .acknowledgment = answer.sequence + 1});
  EXPECT_EQ(socket->accept().error(), Errno::kAgain);
  send({.flags = kAck, .sequence = 1001, .acknowledgment = answer.sequence + 1, .payload = 10});
  auto accepted = socket->accept().value();
  EXPECT_EQ(accepted->readable_bytes(), 10u);
}

TEST_F(TcpListen, DeferringEndsForOneConnectionOnly) {
  std::vector<RefPtr<TcpSocket>> accepted;
  auto socket = listen(80, 8, {.defer_accept = Duration::seconds(3)});
  for (uint16_t source : {uint16_t{40000}, uint16_t{40001}}) {
    send({.flags = kSyn, .sequence = 1000, .source_port = source});
    TcpSegment answer = expect({.flags = kSyn | kAck});
    Script ack{.flags = kAck,
               .sequence = 1001,
               .acknowledgment = answer.sequence + 1,
               .source_port = source};
    send(ack);
    EXPECT_EQ(socket->accept().error(), Errno::kAgain);
    elapse(Duration::milliseconds(3500));
    expect({.flags = kSyn | kAck});  // the last call
    send(ack);
    accepted.push_back(socket->accept().value());
    sink.frames.clear();
  }
}

TEST_F(TcpConnect, CompletesTheHandshake) {  // 3.10.7.3
  auto socket = stack->create_tcp_socket().value();
  EXPECT_EQ(socket->connect({kPeer, 40000}).error(), Errno::kInProgress);
  EXPECT_EQ(socket->connect({kPeer, 40000}).error(), Errno::kAlready);
  EXPECT_EQ(socket->events(), PollEvents::kNone);
  TcpSegment syn = expect({.flags = kSyn});
  port = syn.source.port;
  send({.flags = kSyn | kAck, .sequence = 500, .acknowledgment = syn.sequence + 1});
  expect({.flags = kAck, .sequence = syn.sequence + 1, .acknowledgment = 501});
  EXPECT_EQ(socket->state(), TcpState::kEstablished);
  EXPECT_TRUE(has(socket->events(), PollEvents::kOut));
  EXPECT_EQ(socket->connect({kPeer, 40000}).error(), Errno::kIsConn);
}

TEST_F(TcpConnect, IsRefusedByReset) {
  auto socket = stack->create_tcp_socket().value();
  (void)socket->connect({kPeer, 40000});
  TcpSegment syn = expect({.flags = kSyn});
  port = syn.source.port;
  send({.flags = kRst, .sequence = 0});  // without ACK: forged
  EXPECT_EQ(socket->state(), TcpState::kSynSent);
  send({.flags = kRst | kAck, .sequence = 0, .acknowledgment = syn.sequence + 1});
  EXPECT_EQ(socket->state(), TcpState::kClosed);
  EXPECT_TRUE(has(socket->events(), PollEvents::kErr | PollEvents::kHup));
  EXPECT_EQ(socket->take_error().error(), Errno::kConnRefused);
  EXPECT_EQ(socket->connect({kPeer, 40000}).error(), Errno::kInProgress);
}

TEST_F(TcpConnect, ResetsWrongAcknowledgment) {
  auto socket = stack->create_tcp_socket().value();
  (void)socket->connect({kPeer, 40000});
  TcpSegment syn = expect({.flags = kSyn});
  port = syn.source.port;
  send({.flags = kSyn | kAck, .sequence = 500, .acknowledgment = syn.sequence + 9});
  expect({.flags = kRst, .sequence = syn.sequence + 9});
  EXPECT_EQ(socket->state(), TcpState::kSynSent);
}

TEST_F(TcpConnect, OpensSimultaneously) {  // 3.5, figure 8
  auto socket = stack->create_tcp_socket().value();
  (void)socket->connect({kPeer, 40000});
  TcpSegment syn = expect({.flags = kSyn});
  port = syn.source.port;
  send({.flags = kSyn, .sequence = 500});
  expect({.flags = kSyn | kAck, .sequence = syn.sequence, .acknowledgment = 501});
  EXPECT_EQ(socket->state(), TcpState::kSynReceived);
  send({.flags = kSyn | kAck, .sequence = 500, .acknowledgment = syn.sequence + 1});
  EXPECT_EQ(socket->state(), TcpState::kEstablished);
}

TEST_F(TcpConnect, TimesOut) {
  auto socket = stack->create_tcp_socket().value();
  EXPECT_TRUE(socket->set_options({.syn_retries = 2}).has_value());
  (void)socket->connect({kPeer, 40000});
  elapse(Duration::seconds(8));
  EXPECT_EQ(sink.frames.size(), 3u);
  EXPECT_EQ(socket->take_error().error(), Errno::kTimedOut);
}

TEST_F(TcpReset, NeedsTheExactSequenceNumber) {  // [RFC 5961] 3.2
  auto socket = establish();
  send({.flags = kRst, .sequence = 1002});
  expect({.flags = kAck, .sequence = iss + 1, .acknowledgment = 1001});  // challenge
  send({.flags = kRst, .sequence = 1001 + 1'000'000});
  expect_silence();
  EXPECT_EQ(socket->state(), TcpState::kEstablished);
  send({.flags = kRst, .sequence = 1001});
  EXPECT_EQ(socket->state(), TcpState::kClosed);
  EXPECT_EQ(socket->receive(std::span<std::byte>(last_frame)).error(), Errno::kConnReset);
  EXPECT_EQ(socket->receive(std::span<std::byte>(last_frame)).value(), 0u);
  EXPECT_EQ(socket->send(data(1)).error(), Errno::kPipe);
}

TEST_F(TcpReset, ChallengesSynInWindow) {  // [RFC 5961] 4.2
  auto socket = establish();
  send({.flags = kSyn, .sequence = 1500});
  expect({.flags = kAck, .acknowledgment = 1001});
  EXPECT_EQ(socket->state(), TcpState::kEstablished);
}

TEST_F(TcpReset, ChallengesAckOutsideRange) {  // [RFC 5961] 5.2
  auto socket = establish();
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1 - 70'000, .payload = 4});
  expect({.flags = kAck, .acknowledgment = 1001});
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 100, .payload = 4});
  expect({.flags = kAck, .acknowledgment = 1001});
  EXPECT_EQ(socket->readable_bytes(), 0u);
}

TEST_F(TcpReset, DataBeforeResetIsRead) {
  auto socket = establish();
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1, .payload = 10});
  send({.flags = kRst, .sequence = 1011});
  std::byte buffer[100];
  EXPECT_EQ(socket->receive(buffer).value(), 10u);
  EXPECT_EQ(socket->receive(buffer).error(), Errno::kConnReset);
}

TEST_F(TcpClose, ActiveCloseEndsInTimeWait) {  // 3.6, case 1
  auto socket = establish();
  socket->close();
  expect({.flags = kFin | kAck, .sequence = iss + 1});
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 2});
  send({.flags = kFin | kAck, .sequence = 1001, .acknowledgment = iss + 2});
  expect({.flags = kAck, .sequence = iss + 2, .acknowledgment = 1002});
  EXPECT_EQ(stack->tcp().time_wait_count(), 1u);
  elapse(Duration::seconds(61));
  EXPECT_EQ(stack->tcp().connection_count(), 0u);
}

TEST_F(TcpClose, PassiveClose) {  // 3.6, case 2
  auto socket = establish();
  send({.flags = kFin | kAck, .sequence = 1001, .acknowledgment = iss + 1});
  expect({.flags = kAck, .acknowledgment = 1002});
  EXPECT_EQ(socket->state(), TcpState::kCloseWait);
  EXPECT_TRUE(has(socket->events(), PollEvents::kRdHup));
  EXPECT_FALSE(has(socket->events(), PollEvents::kHup));
  std::byte buffer[1];
  EXPECT_EQ(socket->receive(buffer).value(), 0u);
  EXPECT_EQ(socket->send(data(5)).value(), 5u);
  expect({.flags = kAck, .sequence = iss + 1, .payload = 5});
  socket->close();
  expect({.flags = kFin | kAck, .sequence = iss + 6});
  send({.flags = kAck, .sequence = 1002, .acknowledgment = iss + 7});
  EXPECT_EQ(stack->tcp().connection_count(), 0u);
}

TEST_F(TcpClose, SimultaneousClose) {  // 3.6, case 3
  auto socket = establish();
  socket->close();
  expect({.flags = kFin | kAck, .sequence = iss + 1});
  send({.flags = kFin | kAck, .sequence = 1001, .acknowledgment = iss + 1});
  expect({.flags = kAck, .acknowledgment = 1002});
  send({.flags = kAck, .sequence = 1002, .acknowledgment = iss + 2});
  EXPECT_EQ(stack->tcp().time_wait_count(), 1u);
}

TEST_F(TcpClose, HalfCloseStillReceives) {
  auto socket = establish();
  EXPECT_TRUE(socket->shutdown(Shutdown::kWrite).has_value());
  expect({.flags = kFin | kAck});
  EXPECT_EQ(socket->send(data(1)).error(), Errno::kPipe);
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 2, .payload = 10});
  EXPECT_EQ(socket->state(), TcpState::kFinWait2);
  EXPECT_EQ(socket->readable_bytes(), 10u);
}

TEST_F(TcpClose, UnreadDataResets) {  // [RFC 2525] 2.17
  auto socket = establish();
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1, .payload = 10});
  socket->close();
  expect({.flags = kRst | kAck, .sequence = iss + 1});
  EXPECT_EQ(stack->tcp().connection_count(), 0u);
}

TEST_F(TcpClose, ZeroLingerResets) {
  auto socket = establish({.max_segment = 1000}, {.linger = true});
  socket->close();
  expect({.flags = kRst | kAck});
}

TEST_F(TcpClose, DataAfterCloseResets) {  // [RFC 1122] 4.2.2.13
  auto socket = establish();
  socket->close();
  expect({.flags = kFin | kAck});
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 2, .payload = 10});
  expect({.flags = kRst | kAck});
  EXPECT_EQ(stack->tcp().connection_count(), 0u);
}

TEST_F(TcpClose, FinWait2IsBounded) {
  auto socket = establish();
  socket->close();
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 2});
  EXPECT_EQ(stack->tcp().connection_count(), 1u);
  elapse(Duration::seconds(61));
  EXPECT_EQ(stack->tcp().connection_count(), 0u);
}

TEST_F(TcpClose, FinOutOfOrderWaits) {
  auto socket = establish();
  send({.flags = kFin | kAck, .sequence = 1011, .acknowledgment = iss + 1});
  EXPECT_EQ(socket->state(), TcpState::kEstablished);
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1, .payload = 10});
  EXPECT_EQ(socket->state(), TcpState::kCloseWait);
  EXPECT_EQ(socket->readable_bytes(), 10u);
}

TEST_F(TcpTimeWait, AcknowledgesRepeatedFinAndIgnoresReset) {  // 3.10.7.4, [RFC 1337]
  auto socket = establish();
  socket->close();
  send({.flags = kFin | kAck, .sequence = 1001, .acknowledgment = iss + 2});
  sink.frames.clear();
  send({.flags = kRst, .sequence = 1002});
  EXPECT_EQ(stack->tcp().time_wait_count(), 1u);
  send({.flags = kFin | kAck, .sequence = 1001, .acknowledgment = iss + 2});
  expect({.flags = kAck, .sequence = iss + 2, .acknowledgment = 1002});
}

TEST_F(TcpTimeWait, AcceptsNewerConnection) {  // [RFC 6191]
  auto socket = establish();
  socket->close();
  send({.flags = kFin | kAck, .sequence = 1001, .acknowledgment = iss + 2});
  sink.frames.clear();
  auto listener = stack->create_tcp_socket().value();
  TcpOptions options;
  options.reuse_address = true;
  ASSERT_TRUE(listener->set_options(options).has_value());
  // Made without SO_REUSEADDR, the old connection keeps the port.
  EXPECT_EQ(listener->bind({IpAddress(), 80}).error(), Errno::kAddrInUse);
}

TEST_F(TcpTimeWait, ReusesTheTupleForAHigherSequence) {
  auto listener = listen(80, 8, {.reuse_address = true});
  send({.flags = kSyn, .sequence = 1000});
  iss = expect({.flags = kSyn | kAck}).sequence;
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1});
  auto socket = listener->accept().value();
  socket->close();
  send({.flags = kFin | kAck, .sequence = 1001, .acknowledgment = iss + 2});
  ASSERT_EQ(stack->tcp().time_wait_count(), 1u);
  sink.frames.clear();
  send({.flags = kSyn, .sequence = 900});  // older: no new connection
  expect({.flags = kAck});
  send({.flags = kSyn, .sequence = 90'000});
  TcpSegment answer = expect({.flags = kSyn | kAck, .acknowledgment = 90'001});
  EXPECT_TRUE(sequence_after(answer.sequence, iss + 2));
  EXPECT_EQ(stack->tcp().time_wait_count(), 0u);
}

TEST_F(TcpTimeWait, DoesNotKeepAListenerFromItsPort) {
  auto listener = listen(80, 8, {.reuse_address = true});
  send({.flags = kSyn, .sequence = 1000});
  iss = expect({.flags = kSyn | kAck}).sequence;
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1});
  auto socket = listener->accept().value();
  socket->close();
  send({.flags = kFin | kAck, .sequence = 1001, .acknowledgment = iss + 2});
  listener->close();
  auto plain = stack->create_tcp_socket().value();
  EXPECT_EQ(plain->bind({IpAddress(), 80}).error(), Errno::kAddrInUse);
  listen(80, 8, {.reuse_address = true})->close();
}

TEST_F(TcpListen, SharesPortsAsLinuxDoes) {  // [socket(7)] SO_REUSEADDR, SO_REUSEPORT
  auto first = listen(80, 8, {.reuse_address = true});
  auto second = stack->create_tcp_socket().value();
  EXPECT_TRUE(second->set_options({.reuse_address = true}).has_value());
  EXPECT_EQ(second->bind({IpAddress(), 80}).error(), Errno::kAddrInUse);
  EXPECT_EQ(second->bind({kOurs, 80}).error(), Errno::kAddrInUse);
  EXPECT_EQ(second->bind({IpAddress::v4(9, 9, 9, 9), 80}).error(), Errno::kAddrNotAvail);
  auto third = listen(81, 8, {.reuse_port = true});
  auto fourth = listen(81, 8, {.reuse_port = true});
  auto fifth = stack->create_tcp_socket().value();
  EXPECT_TRUE(fifth->bind({IpAddress(), 0}).has_value());
  EXPECT_GE(fifth->local().port, 32768);
}

}  // namespace
}  // namespace aril::net::test
