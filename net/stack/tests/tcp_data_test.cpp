// Data transfer: windows, acknowledgments, retransmission, congestion, options.
#include "scripted_peer.hpp"

namespace aril::net::test {
namespace {

using TcpReceive = ScriptedStack;
using TcpSend = ScriptedStack;
using TcpRecovery = ScriptedStack;
using TcpTimers = ScriptedStack;
using TcpOption = ScriptedStack;

constexpr TcpSegmentOptions kWithSack{.max_segment = 1000, .sack_permitted = true};

TEST_F(TcpReceive, DelaysOneAcknowledgment) {  // [RFC 9293] 3.8.6.3
  auto socket = establish();
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1, .payload = 100});
  expect_silence();
  elapse(Duration::milliseconds(50));
  expect({.flags = kAck, .acknowledgment = 1101});
}

TEST_F(TcpReceive, AcknowledgesEverySecondSegment) {
  auto socket = establish();
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1, .payload = 1000});
  expect_silence();
  send({.flags = kAck, .sequence = 2001, .acknowledgment = iss + 1, .payload = 1000});
  expect({.flags = kAck, .acknowledgment = 3001});
}

TEST_F(TcpReceive, ReplyCarriesTheAcknowledgment) {
  auto socket = establish();
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1, .payload = 100});
  EXPECT_EQ(socket->send(data(200)).value(), 200u);
  expect({.flags = kAck, .acknowledgment = 1101, .payload = 200});
  send({.flags = kAck, .sequence = 1101, .acknowledgment = iss + 201});
  elapse(Duration::seconds(3));
  expect_silence();
}

TEST_F(TcpReceive, PutsSegmentsInOrderAndReportsThem) {  // [RFC 2018]
  auto socket = establish(kWithSack);
  send({.flags = kAck, .sequence = 2001, .acknowledgment = iss + 1, .payload = 1000});
  TcpSegment first = expect({.flags = kAck, .acknowledgment = 1001});
  ASSERT_EQ(first.options.sack_count, 1);
  EXPECT_EQ(first.options.sack[0].start, 2001u);
  EXPECT_EQ(first.options.sack[0].end, 3001u);
  send({.flags = kAck, .sequence = 4001, .acknowledgment = iss + 1, .payload = 1000});
  TcpSegment second = expect({.flags = kAck, .acknowledgment = 1001});
  ASSERT_EQ(second.options.sack_count, 2);
  EXPECT_EQ(second.options.sack[0].start, 4001u);  // the newest first
  EXPECT_EQ(second.options.sack[1].start, 2001u);
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1, .payload = 1500});
  expect({.flags = kAck, .acknowledgment = 3001});
  send({.flags = kAck, .sequence = 2501, .acknowledgment = iss + 1, .payload = 2000});
  TcpSegment last = expect({.flags = kAck, .acknowledgment = 5001});
  ASSERT_EQ(last.options.sack_count, 1);  // what came twice [RFC 2883]
  EXPECT_EQ(last.options.sack[0].start, 2501u);
  EXPECT_EQ(last.options.sack[0].end, 3001u);
  std::vector<std::byte> out(5000);
  ASSERT_EQ(socket->receive(out).value(), 4000u);
  for (size_t i = 0; i < 4000; ++i) ASSERT_EQ(out[i], pattern(1001 + i)) << i;
}

TEST_F(TcpReceive, OldDataIsAcknowledgedAgain) {
  auto socket = establish();
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1, .payload = 10});
  elapse(Duration::milliseconds(50));
  expect({.flags = kAck, .acknowledgment = 1011});
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1, .payload = 10});
  expect({.flags = kAck, .acknowledgment = 1011});
  EXPECT_EQ(socket->readable_bytes(), 10u);
}

TEST_F(TcpReceive, NeverTakesMoreThanTheWindow) {
  TcpOptions options;
  options.receive_buffer = 4000;
  auto socket = establish({.max_segment = 1000}, options);
  for (uint32_t i = 0; i < 8; ++i)
    send({.flags = kAck, .sequence = 1001 + i * 1000, .acknowledgment = iss + 1, .payload = 1000});
  EXPECT_EQ(socket->readable_bytes(), 4000u);
  std::optional<TcpSegment> last;
  while (auto next = take()) last = next;
  ASSERT_TRUE(last);
  EXPECT_EQ(last->window, 0);
  // [RFC 9293] 3.8.6.2.2: a little room is not worth telling of, a lot is.
  std::byte buffer[4000];
  EXPECT_EQ(socket->receive(std::span(buffer).first(100)).value(), 100u);
  expect_silence();
  EXPECT_EQ(socket->receive(buffer).value(), 3900u);
  expect({.flags = kAck, .acknowledgment = 5001, .window = 4000});
}

TEST_F(TcpReceive, PeekSharesAndConsumeFrees) {
  auto socket = establish();
  for (uint32_t i = 0; i < 10; ++i)
    send({.flags = kAck, .sequence = 1001 + i * 1000, .acknowledgment = iss + 1, .payload = 1000});
  auto chain = socket->peek(100'000).value();
  EXPECT_EQ(chain.size(), 10'000u);
  auto part = socket->peek(100, 5000).value();
  std::byte buffer[100];
  EXPECT_EQ(part.copy_to(buffer), 100u);
  EXPECT_EQ(buffer[0], pattern(1001 + 5000));
  socket->consume(10'000);
  EXPECT_EQ(socket->peek(1).error(), Errno::kAgain);
  // The shared bytes outlive the queue and the connection.
  socket->abort();
  EXPECT_EQ(chain.piece(0).data[0], pattern(1001));
}

TEST_F(TcpReceive, RefusesTooManyGaps) {
  auto socket = establish(kWithSack);
  for (uint32_t i = 1; i <= 100; ++i)
    send({.flags = kAck, .sequence = 1001 + i * 10, .acknowledgment = iss + 1, .payload = 1});
  EXPECT_GT(dropped(DropReason::kTcpTooManyGaps), 0u);
  EXPECT_EQ(socket->state(), TcpState::kEstablished);
}

TEST_F(TcpSend, CutsIntoSegmentsAndStartsSlowly) {  // [RFC 6928]
  auto socket = establish();
  EXPECT_EQ(socket->send(data(20'000)).value(), 20'000u);
  EXPECT_EQ(sink.frames.size(), 10u);
  for (uint32_t i = 0; i < 10; ++i)
    expect({.flags = kAck, .sequence = iss + 1 + i * 1000, .payload = 1000});
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 2001});
  EXPECT_EQ(sink.frames.size(), 4u);  // two acknowledged: two replaced, two more
}

TEST_F(TcpSend, RespectsThePeersWindow) {
  auto socket = establish({.max_segment = 1000}, {}, 2500);
  EXPECT_EQ(socket->send(data(5000)).value(), 5000u);
  expect({.payload = 1000});
  expect({.payload = 1000});
  expect_silence();  // 500 more would be a silly window [RFC 9293] 3.8.6.2.1
}

TEST_F(TcpSend, NagleHoldsTheSecondSmallSegment) {  // [RFC 9293] 3.7.4
  auto socket = establish();
  EXPECT_EQ(socket->send(data(100)).value(), 100u);
  expect({.payload = 100});
  EXPECT_EQ(socket->send(data(100)).value(), 100u);
  EXPECT_EQ(socket->send(data(100)).value(), 100u);
  expect_silence();
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 101});
  expect({.payload = 200});
}

TEST_F(TcpSend, NoDelaySendsAtOnce) {
  auto socket = establish({.max_segment = 1000}, {.no_delay = true});
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(socket->send(data(100)).value(), 100u);
    expect({.payload = 100});
  }
}

TEST_F(TcpSend, CorkHoldsPartialSegments) {  // [tcp(7)] TCP_CORK
  auto socket = establish({.max_segment = 1000}, {.cork = true});
  EXPECT_EQ(socket->send(data(300)).value(), 300u);
  expect_silence();
  EXPECT_EQ(socket->send(data(900)).value(), 900u);
  expect({.payload = 1000});
  expect_silence();
  TcpOptions options = socket->options();
  options.cork = false;
  EXPECT_TRUE(socket->set_options(options).has_value());
  expect({.payload = 200});
}

// Each acknowledgment let as many bytes go as it had acknowledged, a segment or not.
TEST_F(TcpSend, WithoutTheCorkOnlyTheEndOfTheQueueIsPartial) {
  auto socket = establish({.max_segment = 1000}, {.cork = true});
  EXPECT_EQ(socket->send(data(12'300)).value(), 12'300u);
  for (int i = 0; i < 10; ++i) expect({.payload = 1000});  // the initial window
  TcpOptions options = socket->options();
  options.cork = false;
  EXPECT_TRUE(socket->set_options(options).has_value());
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 301});
  expect_silence();  // the window has room for 600
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 2001});
  expect({.payload = 1000});
  expect({.payload = 1000});
  expect({.payload = 300});
}

TEST_F(TcpSend, OfAClosedConnectionOnlyTheEndIsPartial) {
  auto socket = establish({.max_segment = 1000});
  EXPECT_EQ(socket->send(data(12'300)).value(), 12'300u);
  for (int i = 0; i < 10; ++i) expect({.payload = 1000});
  EXPECT_TRUE(socket->shutdown(Shutdown::kWrite).has_value());
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 301});
  expect_silence();
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 2001});
  expect({.payload = 1000});
  expect({.payload = 1000});
  expect({.flags = kAck | kFin, .payload = 300});
}

TEST_F(TcpSend, CorkGivesWayAfter200Milliseconds) {
  auto socket = establish({.max_segment = 1000}, {.cork = true});
  EXPECT_EQ(socket->send(data(300)).value(), 300u);
  elapse(Duration::milliseconds(190));
  expect_silence();
  elapse(Duration::milliseconds(20));
  expect({.payload = 300});
}

TEST_F(TcpSend, MoreFlagActsLikeCork) {
  auto socket = establish();
  EXPECT_EQ(socket->send(data(300), SendFlags::kMore).value(), 300u);
  expect_silence();
  EXPECT_EQ(socket->send(data(100)).value(), 100u);
  expect({.payload = 400});
}

TEST_F(TcpSend, BlocksWhenTheBufferIsFull) {
  TcpOptions options;
  options.send_buffer = 4000;
  auto socket = establish({.max_segment = 1000}, options);
  EXPECT_EQ(socket->send(data(10'000)).value(), 4000u);
  EXPECT_EQ(socket->send(data(1)).error(), Errno::kAgain);
  EXPECT_FALSE(has(socket->events(), PollEvents::kOut));
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 4001});
  EXPECT_TRUE(has(socket->events(), PollEvents::kOut));
}

TEST_F(TcpSend, SharesBlocksWithoutCopying) {
  auto socket = establish();
  static int released = 0;
  released = 0;
  static Bytes page = data(4096);
  auto block = Block::wrap(page, [](void*, auto) { ++released; }, nullptr).value();
  std::byte* start = block->data();
  BlockChain chain;
  ASSERT_TRUE(chain.append({std::move(block), start, 4096}).has_value());
  EXPECT_EQ(socket->send(chain).value(), 4096u);
  EXPECT_TRUE(chain.empty());
  EXPECT_EQ(released, 0);
  for (int i = 0; i < 4; ++i) {
    TcpSegment segment = expect({.payload = 1000});
    EXPECT_EQ(segment.payload[0], pattern(static_cast<uint64_t>(i) * 1000));
  }
  expect({.payload = 96});
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 4001});
  EXPECT_EQ(released, 0);
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 4097});
  EXPECT_EQ(released, 1);
}

TEST_F(TcpTimers, RetransmitsWithBackoff) {  // [RFC 6298] 5
  auto socket = establish();
  EXPECT_EQ(socket->send(data(100)).value(), 100u);
  expect({.sequence = iss + 1, .payload = 100});
  elapse(Duration::milliseconds(900));
  expect_silence();
  elapse(Duration::milliseconds(200));
  expect({.sequence = iss + 1, .payload = 100});
  elapse(Duration::milliseconds(1800));
  expect_silence();
  elapse(Duration::milliseconds(300));
  expect({.sequence = iss + 1, .payload = 100});
}

TEST_F(TcpTimers, GivesUpInTheEnd) {
  auto socket = establish({.max_segment = 1000}, {.user_timeout = Duration::seconds(20)});
  EXPECT_EQ(socket->send(data(100)).value(), 100u);
  elapse(Duration::seconds(40));
  EXPECT_EQ(socket->state(), TcpState::kClosed);
  EXPECT_EQ(socket->take_error().error(), Errno::kTimedOut);
}

TEST_F(TcpTimers, ProbesAClosedWindow) {  // [RFC 9293] 3.8.6.1
  auto socket = establish({.max_segment = 1000}, {}, 0);
  EXPECT_EQ(socket->send(data(100)).value(), 100u);
  expect_silence();
  elapse(Duration::milliseconds(1100));
  expect({.flags = kAck, .sequence = iss, .payload = 0});
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1, .window = 1000});
  expect({.sequence = iss + 1, .payload = 100});
}

TEST_F(TcpTimers, SendsFinBehindAClosedWindow) {
  auto socket = establish({.max_segment = 1000}, {}, 0);
  EXPECT_EQ(socket->send(data(100)).value(), 100u);
  socket->close();
  elapse(Duration::milliseconds(1100));
  expect({.flags = kAck, .sequence = iss});
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1, .window = 1000});
  expect({.flags = kFin | kAck, .sequence = iss + 1, .payload = 100});
}

TEST_F(TcpTimers, KeepsAlive) {  // [RFC 9293] 3.8.4
  TcpOptions options;
  options.keep_alive = true;
  options.keep_idle = Duration::seconds(10);
  options.keep_interval = Duration::seconds(2);
  options.keep_count = 3;
  auto socket = establish({.max_segment = 1000}, options);
  elapse(Duration::seconds(11));
  expect({.flags = kAck, .sequence = iss, .payload = 0});
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1});
  elapse(Duration::seconds(9));
  expect_silence();
  elapse(Duration::seconds(20));
  EXPECT_EQ(socket->state(), TcpState::kClosed);
  EXPECT_EQ(socket->take_error().error(), Errno::kTimedOut);
}

TEST_F(TcpRecovery, FastRetransmitsAfterThreeDuplicates) {  // [RFC 5681] 3.2, [RFC 6582]
  auto socket = establish();
  EXPECT_EQ(socket->send(data(10'000)).value(), 10'000u);
  sink.frames.clear();
  for (int i = 0; i < 2; ++i) send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1});
  expect_silence();
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1});
  expect({.sequence = iss + 1, .payload = 1000});
  expect_silence();
  // A partial acknowledgment brings the next hole.
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 3001});
  expect({.sequence = iss + 3001, .payload = 1000});
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 10'001});
  EXPECT_EQ(socket->info().congestion_state, 0);
  EXPECT_LT(socket->info().congestion_window, 10u);
}

TEST_F(TcpRecovery, RetransmitsOnlyHoles) {  // [RFC 6675]
  auto socket = establish(kWithSack);
  EXPECT_EQ(socket->send(data(10'000)).value(), 10'000u);
  sink.frames.clear();
  TcpSegmentOptions sack;
  sack.sack[0] = {iss + 1001, iss + 2001};
  sack.sack[1] = {iss + 3001, iss + 10'001};
  sack.sack_count = 2;
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1, .options = sack});
  expect({.sequence = iss + 1, .payload = 1000});
  expect({.sequence = iss + 2001, .payload = 1000});
  expect_silence();
  EXPECT_EQ(socket->info().congestion_state, 3);
}

TEST_F(TcpRecovery, TimeoutSkipsWhatWasReported) {
  auto socket = establish(kWithSack);
  EXPECT_EQ(socket->send(data(3000)).value(), 3000u);
  sink.frames.clear();
  TcpSegmentOptions sack;
  sack.sack[0] = {iss + 1001, iss + 2001};
  sack.sack_count = 1;
  elapse(Duration::milliseconds(10));
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1, .options = sack});
  expect_silence();
  elapse(Duration::milliseconds(5));
  expect({.sequence = iss + 1, .payload = 1000});
  elapse(Duration::milliseconds(1200));
  expect({.sequence = iss + 1, .payload = 1000});
  expect_silence();  // one segment after a timeout
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 2001});
  expect({.sequence = iss + 2001, .payload = 1000});
}

TEST_F(TcpRecovery, IgnoresForgedSackBlocks) {
  auto socket = establish(kWithSack);
  EXPECT_EQ(socket->send(data(3000)).value(), 3000u);
  sink.frames.clear();
  TcpSegmentOptions sack;
  sack.sack[0] = {iss + 2001, iss + 90'001};
  sack.sack[1] = {iss - 5000, iss + 2001};
  sack.sack[2] = {iss + 2001, iss + 1001};
  sack.sack_count = 3;
  send({.flags = kAck, .sequence = 1001, .acknowledgment = iss + 1, .options = sack});
  EXPECT_EQ(socket->info().sacked, 0u);
}

TEST_F(TcpOption, DropsOldTimestamps) {  // [RFC 7323] 5
  auto socket = establish({.max_segment = 1000, .timestamps = TcpTimestamps{1000, 0}});
  auto stamped = [&](uint32_t value) {
    TcpSegmentOptions options;
    options.timestamps = TcpTimestamps{value, 0};
    return options;
  };
  send({.flags = kAck,
        .sequence = 1001,
        .acknowledgment = iss + 1,
        .payload = 10,
        .options = stamped(2000)});
  EXPECT_EQ(socket->readable_bytes(), 10u);
  send({.flags = kAck,
        .sequence = 1011,
        .acknowledgment = iss + 1,
        .payload = 10,
        .options = stamped(1500)});
  EXPECT_EQ(socket->readable_bytes(), 10u);
  EXPECT_EQ(dropped(DropReason::kTcpPaws), 1u);
  TcpSegment answer = expect({.flags = kAck, .acknowledgment = 1011});
  ASSERT_TRUE(answer.options.timestamps);
  EXPECT_EQ(answer.options.timestamps->echo, 2000u);
  EXPECT_EQ(socket->max_segment(), 988);
}

TEST_F(TcpOption, ScalesWindows) {  // [RFC 7323] 2
  auto socket = establish({.max_segment = 1000, .window_scale = 2}, {}, 1000);
  // The handshake's last ACK is scaled already: 1000 << 2.
  EXPECT_EQ(socket->send(data(10'000)).value(), 10'000u);
  EXPECT_EQ(sink.frames.size(), 4u);
}

TEST_F(TcpOption, FollowsThePathMtu) {  // [RFC 1191]
  auto socket = establish({.max_segment = 1460});
  EXPECT_EQ(socket->send(data(1460)).value(), 1460u);
  auto frame = take_frame().value();
  // The router quotes the header and eight bytes.
  Bytes message(8 + 28);
  IcmpHeader icmp{
      .type = IcmpHeader::kUnreachable, .code = IcmpHeader::kFragmentationNeeded, .rest = 1000};
  std::memcpy(message.data() + 8, frame.data() + 14, 28);
  std::memcpy(message.data(), &icmp, sizeof icmp);
  Checksum sum;
  sum.add(message);
  icmp.checksum = sum.finish();
  std::memcpy(message.data(), &icmp, sizeof icmp);
  send_ip({.source = kPeer, .destination = kOurs, .protocol = IpProtocol::kIcmp}, message);
  expect({.sequence = iss + 1, .payload = 960});
  EXPECT_EQ(socket->max_segment(), 960);
}

}  // namespace
}  // namespace aril::net::test
