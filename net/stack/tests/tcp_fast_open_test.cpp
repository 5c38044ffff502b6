// Fast open [RFC 7413], by section.
#include "scripted_peer.hpp"
#include "transfer.hpp"

namespace aril::net::test {
namespace {

constexpr FastOpenMode kBoth = FastOpenMode::kClient | FastOpenMode::kServer;
constexpr FastOpenCookie kRequest;

class TcpFastOpen : public ScriptedStack {
 protected:
  TcpFastOpen() { fast_open().mode = kBoth; }
  FastOpen& fast_open() { return stack->tcp().fast_open(); }
  uint64_t count(Counter counter) { return stack->counters().get(counter); }

  RefPtr<TcpSocket> fast_listener(uint32_t queue = 4) {
    return listen(80, 16, {.fast_open_queue = queue});
  }
  static FastOpenCookie foreign_cookie(std::byte fill = std::byte{7}) {
    FastOpenCookie cookie{.length = 8};
    std::fill_n(cookie.bytes.begin(), 8, fill);
    return cookie;
  }
  FastOpenCookie own_cookie() { return fast_open().keys.cookie({{kOurs, 80}, {kPeer, 40000}}); }
  void send_syn(std::optional<FastOpenCookie> cookie, size_t payload = 0, uint16_t source = 40000) {
    send({.flags = kSyn,
          .sequence = 1000,
          .payload = payload,
          .options = {.max_segment = 1000, .fast_open = cookie},
          .source_port = source});
  }

  /// A client whose SYN is expected, and the peer's answer to it.
  TcpSegment begin(TcpSocket& client, size_t bytes, Errno outcome = {}) {
    auto begun = client.connect({kPeer, port}, data(bytes));
    if (outcome == Errno{}) {
      EXPECT_EQ(begun.value_or(0), bytes);
    } else {
      EXPECT_EQ(begun.error_or(Errno{}), outcome);
    }
    return expect({.flags = kSyn});
  }
  // The script's ports are those of a client; here the stack is.
  void answer_to(const TcpSegment& syn, uint32_t acknowledged, TcpSegmentOptions options = {}) {
    uint16_t saved = port;
    port = syn.source.port;
    options.max_segment = 1000;
    send({.flags = kSyn | kAck,
          .sequence = 9000,
          .acknowledgment = syn.sequence + 1 + acknowledged,
          .options = options,
          .source_port = saved});
    port = saved;
  }
  /// The peer gives us a cookie, in a connection of its own.
  void learn_cookie() {
    auto client = stack->create_tcp_socket().value();
    TcpSegment syn = begin(*client, 10, Errno::kInProgress);
    ASSERT_TRUE(syn.options.fast_open.has_value());
    EXPECT_EQ(syn.options.fast_open->length, 0);
    EXPECT_TRUE(syn.payload.empty());
    answer_to(syn, 0, {.fast_open = foreign_cookie()});
    expect({.flags = kAck});
    client->abort();
    sink.frames.clear();
  }
};

TEST_F(TcpFastOpen, GivesACookieToWhoAsks) {  // 4.2.2, 1
  auto listener = fast_listener();
  send_syn(kRequest);
  TcpSegment answer = expect({.flags = kSyn | kAck, .acknowledgment = 1001});
  ASSERT_TRUE(answer.options.fast_open.has_value());
  EXPECT_EQ(*answer.options.fast_open, own_cookie());
  EXPECT_FALSE(listener->accept().has_value());
  EXPECT_EQ(count(Counter::kTcpExtTCPFastOpenCookieReqd), 1u);
  elapse(Duration::milliseconds(1100));  // the answer again, plainly
  EXPECT_FALSE(expect({.flags = kSyn | kAck}).options.fast_open.has_value());
}

TEST_F(TcpFastOpen, IsOffForListenersThatDidNotAsk) {
  auto listener = listen(80);
  send_syn(kRequest);
  EXPECT_FALSE(expect({.flags = kSyn | kAck}).options.fast_open.has_value());
  send_syn(own_cookie(), 5, 40001);
  expect({.flags = kSyn | kAck, .acknowledgment = 1001});
  EXPECT_FALSE(listener->accept().has_value());
}

TEST_F(TcpFastOpen, IsOffWhereTheServersSideIs) {
  fast_open().mode = FastOpenMode::kClient;
  auto listener = fast_listener();
  send_syn(own_cookie(), 5);
  TcpSegment answer = expect({.flags = kSyn | kAck, .acknowledgment = 1001});
  EXPECT_FALSE(answer.options.fast_open.has_value());
}

TEST_F(TcpFastOpen, AcceptsAndAnswersBeforeTheHandshakeIsDone) {  // 4.2.2, 2
  auto listener = fast_listener();
  send_syn(own_cookie(), 100);
  TcpSegment answer = expect({.flags = kSyn | kAck, .acknowledgment = 1101});
  EXPECT_FALSE(answer.options.fast_open.has_value());
  auto server = listener->accept().value();
  EXPECT_EQ(server->state(), TcpState::kSynReceived);
  std::byte bytes[200];
  ASSERT_EQ(server->receive(bytes).value(), 100u);
  EXPECT_EQ(bytes[7], pattern(1000 + 7));
  EXPECT_TRUE(has(server->events(), kWritable));
  EXPECT_EQ(server->send(data(1500)).value(), 1500u);
  expect({.sequence = answer.sequence + 1, .acknowledgment = 1101, .payload = 1000});
  expect({.sequence = answer.sequence + 1001, .payload = 500});
  send({.flags = kAck, .sequence = 1101, .acknowledgment = answer.sequence + 1501});
  EXPECT_EQ(server->state(), TcpState::kEstablished);
  EXPECT_TRUE(server->info().syn_data);
  EXPECT_EQ(server->unacknowledged_bytes(), 0u);
  EXPECT_EQ(count(Counter::kTcpExtTCPFastOpenPassive), 1u);
  elapse(Duration::seconds(5));
  expect_silence();
}

TEST_F(TcpFastOpen, RepairsAnAnswerThatWasLostWithTheHandshake) {
  auto listener = fast_listener();
  send_syn(own_cookie(), 100);
  TcpSegment answer = expect({.flags = kSyn | kAck, .acknowledgment = 1101});
  auto server = listener->accept().value();
  EXPECT_TRUE(server->send(data(500)).has_value());
  expect({.payload = 500});
  send_syn(std::nullopt);  // the peer's SYN again, without fast open
  expect({.flags = kSyn | kAck, .sequence = answer.sequence, .acknowledgment = 1101});
  send({.flags = kAck, .sequence = 1101, .acknowledgment = answer.sequence + 1});
  EXPECT_EQ(server->state(), TcpState::kEstablished);
  elapse(Duration::seconds(3));
  expect({.sequence = answer.sequence + 1, .payload = 500});
}

TEST_F(TcpFastOpen, RepeatsItsSynAckAndGivesUp) {
  auto listener = fast_listener(1);
  send_syn(own_cookie(), 100);
  auto server = listener->accept().value();
  elapse(Duration::seconds(200));
  EXPECT_GT(sink.frames.size(), 4u);
  EXPECT_EQ(server->state(), TcpState::kClosed);
  EXPECT_EQ(server->take_error().error_or(Errno{}), Errno::kTimedOut);
  introduce_peer();
  sink.frames.clear();
  send_syn(own_cookie(), 100, 40001);  // its place is free
  expect({.flags = kSyn | kAck, .acknowledgment = 1101});
}

TEST_F(TcpFastOpen, FinishesBeforeTheHandshakeIsDone) {
  auto listener = fast_listener();
  send_syn(own_cookie(), 10);
  TcpSegment answer = expect({.flags = kSyn | kAck});
  auto server = listener->accept().value();
  std::byte bytes[20];
  EXPECT_EQ(server->receive(bytes).value(), 10u);
  EXPECT_TRUE(server->send(data(5)).has_value());
  server->close();
  expect({.flags = kAck, .payload = 5});
  expect({.flags = kFin | kAck, .sequence = answer.sequence + 6});
  send({.flags = kAck, .sequence = 1011, .acknowledgment = answer.sequence + 7});
  send({.flags = kFin | kAck, .sequence = 1011, .acknowledgment = answer.sequence + 7});
  expect({.flags = kAck, .acknowledgment = 1012});
  EXPECT_EQ(stack->tcp().time_wait_count(), 1u);
}

TEST_F(TcpFastOpen, RepeatsAFinThatWasLostWithTheHandshake) {
  auto listener = fast_listener();
  send_syn(own_cookie(), 10);
  TcpSegment answer = expect({.flags = kSyn | kAck});
  auto server = listener->accept().value();
  std::byte bytes[20];
  EXPECT_EQ(server->receive(bytes).value(), 10u);
  server->close();
  expect({.flags = kFin | kAck, .sequence = answer.sequence + 1});
  send({.flags = kAck, .sequence = 1011, .acknowledgment = answer.sequence + 1});
  elapse(Duration::milliseconds(1500));
  expect({.flags = kFin | kAck, .sequence = answer.sequence + 1});
}

TEST_F(TcpFastOpen, FallsBackForAWrongCookie) {  // 4.2.2, 2
  auto listener = fast_listener();
  send_syn(foreign_cookie(), 100);
  TcpSegment answer = expect({.flags = kSyn | kAck, .acknowledgment = 1001});
  ASSERT_TRUE(answer.options.fast_open.has_value());
  EXPECT_EQ(*answer.options.fast_open, own_cookie());
  EXPECT_EQ(count(Counter::kTcpExtTCPFastOpenPassiveFail), 1u);
  EXPECT_FALSE(listener->accept().has_value());
}

TEST_F(TcpFastOpen, TakesCookiesOfTheKeyBeforeAndRenewsThem) {
  auto listener = fast_listener();
  FastOpenCookie old = own_cookie();
  fast_open().keys = {.primary = {5, 6}, .backup = fast_open().keys.primary, .has_backup = true};
  send_syn(old, 100);
  TcpSegment answer = expect({.flags = kSyn | kAck, .acknowledgment = 1101});
  ASSERT_TRUE(answer.options.fast_open.has_value());
  EXPECT_EQ(*answer.options.fast_open, own_cookie());
  EXPECT_NE(old, own_cookie());
  EXPECT_EQ(count(Counter::kTcpExtTCPFastOpenPassiveAltKey), 1u);
}

TEST_F(TcpFastOpen, BoundsPendingConnectionsAndRemembersResets) {  // 5.1
  auto listener = fast_listener(2);
  send_syn(own_cookie(), 10, 40000);
  send_syn(own_cookie(), 10, 40001);
  sink.frames.clear();
  send_syn(own_cookie(), 10, 40002);
  expect({.flags = kSyn | kAck, .acknowledgment = 1001});  // as any other
  EXPECT_EQ(count(Counter::kTcpExtTCPFastOpenListenOverflow), 1u);
  for (uint16_t source : {40000, 40001})
    send({.flags = kRst, .sequence = 1011, .source_port = source});
  send_syn(own_cookie(), 10, 40003);
  expect({.flags = kSyn | kAck, .acknowledgment = 1001});
  EXPECT_EQ(count(Counter::kTcpExtTCPFastOpenListenOverflow), 2u);
  auto server = listener->accept().value();
  EXPECT_EQ(server->take_error().error_or(Errno{}), Errno::kConnReset);
  elapse(Duration::seconds(61));
  sink.frames.clear();
  send_syn(own_cookie(), 10, 40004);
  expect({.flags = kSyn | kAck, .acknowledgment = 1011});
}

TEST_F(TcpFastOpen, ListenersCloseWithPendingConnections) {
  auto listener = fast_listener();
  send_syn(own_cookie(), 10);
  expect({.flags = kSyn | kAck});
  listener->close();
  expect({.flags = kRst | kAck});
  EXPECT_EQ(stack->tcp().connection_count(), 0u);
}

TEST_F(TcpFastOpen, WithoutCookiesWhereThatIsWanted) {
  fast_open().mode = kBoth | FastOpenMode::kServerWithoutCookie | FastOpenMode::kEveryListener;
  auto listener = listen(80);
  send_syn(std::nullopt, 10);
  expect({.flags = kSyn | kAck, .acknowledgment = 1011});
  send_syn(std::nullopt, 0, 40001);  // without data there is nothing to be early with
  expect({.flags = kSyn | kAck, .acknowledgment = 1001});
}

TEST_F(TcpFastOpen, ClientSendsDataWithTheCookieThatItGot) {  // 4.2.1
  learn_cookie();
  auto client = stack->create_tcp_socket().value();
  TcpSegment syn = begin(*client, 300);
  ASSERT_TRUE(syn.options.fast_open.has_value());
  EXPECT_EQ(*syn.options.fast_open, foreign_cookie());
  EXPECT_EQ(syn.payload.size(), 300u);
  EXPECT_EQ(syn.payload[9], pattern(9));
  answer_to(syn, 300);
  expect({.flags = kAck, .sequence = syn.sequence + 301, .payload = 0});
  EXPECT_TRUE(client->info().syn_data);
  EXPECT_EQ(client->unacknowledged_bytes(), 0u);
  EXPECT_EQ(count(Counter::kTcpExtTCPFastOpenActive), 1u);
  elapse(Duration::seconds(5));
  expect_silence();
}

TEST_F(TcpFastOpen, ClientKeepsTheSynToWhatThePeerTakes) {
  learn_cookie();
  auto client = stack->create_tcp_socket().value();
  EXPECT_EQ(client->connect({kPeer, port}, data(3000)).value(), 1000u - 40);
  EXPECT_EQ(expect({.flags = kSyn}).payload.size(), 960u);
}

TEST_F(TcpFastOpen, ClientRepeatsDataThatWasNotTaken) {
  learn_cookie();
  auto client = stack->create_tcp_socket().value();
  TcpSegment syn = begin(*client, 300);
  answer_to(syn, 0, {.fast_open = foreign_cookie(std::byte{8})});
  expect({.flags = kAck, .payload = 0});
  EXPECT_EQ(expect({.sequence = syn.sequence + 1, .payload = 300}).payload[9], pattern(9));
  EXPECT_FALSE(client->info().syn_data);
  EXPECT_EQ(client->info().fast_open_failure, 2);
  EXPECT_EQ(count(Counter::kTcpExtTCPFastOpenActiveFail), 1u);
  auto next = stack->create_tcp_socket().value();
  EXPECT_EQ(*begin(*next, 10).options.fast_open, foreign_cookie(std::byte{8}));
}

TEST_F(TcpFastOpen, ClientRefusesAcknowledgmentsOfMoreThanItSent) {
  learn_cookie();
  auto client = stack->create_tcp_socket().value();
  TcpSegment syn = begin(*client, 300);
  answer_to(syn, 301);
  expect({.flags = kRst});
  EXPECT_EQ(client->state(), TcpState::kSynSent);
  answer_to(syn, 100);  // a part is believed
  expect({.flags = kAck});
  expect({.sequence = syn.sequence + 101, .payload = 200});
}

TEST_F(TcpFastOpen, ClientFallsBackWhenSynsAreLost) {  // 4.1.3.1
  learn_cookie();
  for (int i = 0; i < 2; ++i) {
    auto client = stack->create_tcp_socket().value();
    TcpSegment syn = begin(*client, 300);
    EXPECT_EQ(syn.payload.size(), 300u);
    elapse(Duration::milliseconds(1100));
    TcpSegment again = expect({.flags = kSyn, .sequence = syn.sequence});
    EXPECT_FALSE(again.options.fast_open.has_value());
    EXPECT_TRUE(again.payload.empty());
    answer_to(again, 0);
    expect({.flags = kAck});
    expect({.sequence = syn.sequence + 1, .payload = 300});
    EXPECT_EQ(client->info().fast_open_failure, 3);
    client->abort();
    sink.frames.clear();
  }
  auto careful = stack->create_tcp_socket().value();
  TcpSegment plain = begin(*careful, 300, Errno::kInProgress);
  EXPECT_FALSE(plain.options.fast_open.has_value());
  careful->abort();
  elapse(Duration::seconds(300));
  introduce_peer();
  sink.frames.clear();
  auto hopeful = stack->create_tcp_socket().value();
  EXPECT_EQ(begin(*hopeful, 300).payload.size(), 300u);
}

TEST_F(TcpFastOpen, DefersTheConnectionToItsFirstData) {  // TCP_FASTOPEN_CONNECT
  learn_cookie();
  auto client = stack->create_tcp_socket().value();
  ASSERT_TRUE(client->set_options({.fast_open_connect = true}).has_value());
  EXPECT_TRUE(client->connect({kPeer, port}).has_value());
  expect_silence();
  EXPECT_TRUE(has(client->events(), kWritable));
  EXPECT_EQ(client->connect({kPeer, port}).error(), Errno::kIsConn);
  EXPECT_EQ(client->send(data(50)).value(), 50u);
  EXPECT_EQ(expect({.flags = kSyn}).payload.size(), 50u);
  EXPECT_FALSE(has(client->events(), kWritable));
  EXPECT_EQ(client->send(data(50)).error(), Errno::kAgain);
}

TEST_F(TcpFastOpen, DoesNotDeferWithoutACookie) {
  auto client = stack->create_tcp_socket().value();
  ASSERT_TRUE(client->set_options({.fast_open_connect = true}).has_value());
  EXPECT_EQ(client->connect({kPeer, port}).error(), Errno::kInProgress);
  EXPECT_TRUE(expect({.flags = kSyn}).options.fast_open.has_value());
}

TEST_F(TcpFastOpen, AbandonsADeferredConnectionSilently) {
  learn_cookie();
  auto client = stack->create_tcp_socket().value();
  ASSERT_TRUE(client->set_options({.fast_open_connect = true}).has_value());
  EXPECT_TRUE(client->connect({kPeer, port}).has_value());
  client->close();
  expect_silence();
  EXPECT_EQ(stack->tcp().connection_count(), 0u);
}

TEST_F(TcpFastOpen, IsRefusedWhereTheClientsSideIsOff) {
  fast_open().mode = FastOpenMode::kServer;
  auto client = stack->create_tcp_socket().value();
  EXPECT_EQ(client->connect({kPeer, port}, data(5)).error(), Errno::kOpNotSupp);
}

TEST_F(TcpFastOpen, PlainConnectionsDoNotMentionIt) {
  learn_cookie();
  auto client = stack->create_tcp_socket().value();
  EXPECT_EQ(client->connect({kPeer, port}).error(), Errno::kInProgress);
  EXPECT_FALSE(expect({.flags = kSyn}).options.fast_open.has_value());
}

TEST(TcpFastOpenCache, IsBoundedAndForgetsTheOldest) {
  FastOpenCache cache;
  auto flow = [](unsigned i) {
    return FlowKey{
        {IpAddress::v4(10, 0, 0, 1), 1},
        {IpAddress::v4(10, 1, static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)), 80}};
  };
  for (unsigned i = 0; i < 3 * FastOpenCache::kCapacity; ++i)
    cache.note_cookie(flow(i), {.length = 8}, 1460, Instant{int64_t{i} + 1});
  Instant now{1'000'000};
  EXPECT_EQ(cache.find(flow(0), now), nullptr);
  EXPECT_EQ(cache.find(flow(2 * FastOpenCache::kCapacity - 1), now), nullptr);
  EXPECT_NE(cache.find(flow(2 * FastOpenCache::kCapacity), now), nullptr);
  EXPECT_NE(cache.find(flow(3 * FastOpenCache::kCapacity - 1), now), nullptr);
}

TEST(TcpFastOpenOptions, OddCookiesAreNone) {
  for (uint8_t length : {1, 2, 3, 5, 7, 17, 18}) {
    std::byte bytes[24] = {std::byte{34}, static_cast<std::byte>(length + 2)};
    EXPECT_FALSE(TcpSegmentOptions::parse(std::span(bytes).first(length + 2u)).fast_open)
        << +length;
  }
  for (uint8_t length : {0, 4, 8, 16}) {
    TcpSegmentOptions options{.max_segment = 1460,
                              .window_scale = 7,
                              .sack_permitted = true,
                              .timestamps = TcpTimestamps{1, 2},
                              .fast_open = FastOpenCookie{.length = length}};
    std::byte bytes[40];
    size_t size = options.write(bytes);
    EXPECT_EQ(size % 4, 0u);
    auto parsed = TcpSegmentOptions::parse(std::span(bytes).first(size));
    ASSERT_TRUE(parsed.fast_open) << +length;
    EXPECT_EQ(parsed.fast_open->length, length);
    EXPECT_EQ(parsed.window_scale, 7);
  }
}

// Two of our stacks, with a long path: the answer is there after one round trip.
TEST(TcpFastOpenPair, SavesARoundTrip) {
  TwoStacks net({.delay = Duration::milliseconds(50)});
  for (unsigned side : {0u, 1u}) net.stack(side).tcp().fast_open().mode = kBoth;
  auto listener = net.stack(0).create_tcp_socket().value();
  ASSERT_TRUE(listener->set_options({.fast_open_queue = 4}).has_value());
  ASSERT_TRUE(listener->bind({IpAddress(), 80}).has_value());
  ASSERT_TRUE(listener->listen(16).has_value());
  int64_t milliseconds[2];
  for (int64_t& time : milliseconds) {
    auto client = net.stack(1).create_tcp_socket().value();
    Instant start = net.now();
    const std::byte request[10] = {};
    bool sent = client->connect({TwoStacks::address(0), 80}, request).has_value();
    RefPtr<TcpSocket> server;
    std::byte bytes[20];
    EXPECT_TRUE(net.run([&] {
      if (!sent && client->send(request)) sent = true;
      if (!server) {
        if (auto accepted = listener->accept()) server = *accepted;
      }
      if (server && server->readable_bytes() == 10) {
        EXPECT_EQ(server->receive(bytes).value(), 10u);
        EXPECT_TRUE(server->send(request).has_value());
      }
      return client->readable_bytes() == 10;
    }));
    time = (net.now() - start).ns / 1'000'000;
    client->close();
    server->close();
  }
  EXPECT_GE(milliseconds[0], 200);
  EXPECT_LT(milliseconds[1], 150);
  listener->close();
}

}  // namespace
}  // namespace aril::net::test
