#include "net/unix/unix_socket.hpp"

#include <gtest/gtest.h>

#include <string>

namespace aril::net {
namespace {

SocketAddress abstract(std::string_view name) {
  SocketAddress address;
  uint16_t family = 1;
  memcpy(address.bytes.data(), &family, 2);
  memcpy(address.bytes.data() + 3, name.data(), name.size());
  address.length = static_cast<uint32_t>(3 + name.size());
  return address;
}

Result<size_t> put(Socket& socket, std::string text, ControlData* control = nullptr,
                   const SocketAddress* to = nullptr) {
  IoBuffer::Segment segment;
  auto buffer = IoBuffer::kernel(segment, std::as_writable_bytes(std::span(text)));
  OutgoingMessage message{.data = buffer, .destination = to, .control = control};
  return socket.send(message);
}

struct Got {
  std::string text;
  ControlData control;
  SocketAddress source;
  MessageFlags flags;
};
Result<Got> get(Socket& socket, size_t room, MessageFlags flags = MessageFlags::kNone) {
  std::string text(room, '?');
  IoBuffer::Segment segment;
  auto buffer = IoBuffer::kernel(segment, std::as_writable_bytes(std::span(text)));
  IncomingMessage message{.data = buffer, .flags = flags};
  auto count = socket.receive(message);
  if (!count) return fail(count.error());
  text.resize(std::min(*count, room));
  return Got{text, std::move(message.control), message.source, message.result_flags};
}

auto pair(SocketType type) {
  return *UnixSocket::create_pair(type, 0, OpenFlags::kNonBlock, {10, 20, 30});
}

TEST(UnixStream, CarriesBytesBothWays) {
  auto [a, b] = pair(SocketType::kStream);
  EXPECT_EQ(get(*b, 5).error(), Errno::kAgain);
  EXPECT_EQ(put(*a, "hello"), 5u);
  EXPECT_EQ(put(*a, "world"), 5u);
  EXPECT_EQ(get(*b, 7, MessageFlags::kPeek)->text, "hellowo");
  EXPECT_EQ(get(*b, 7)->text, "hellowo");
  EXPECT_EQ(get(*b, 7)->text, "rld");
  EXPECT_EQ(put(*b, "back"), 4u);
  EXPECT_EQ(get(*a, 9)->text, "back");
}

TEST(UnixStream, EndsAndBreaks) {
  auto [a, b] = pair(SocketType::kStream);
  EXPECT_EQ(put(*a, "last"), 4u);
  ASSERT_TRUE(a->shutdown(ShutdownSide::kWrite));
  EXPECT_EQ(put(*a, "x").error(), Errno::kPipe);
  EXPECT_EQ(get(*b, 9)->text, "last");
  EXPECT_EQ(get(*b, 9)->text, "");
  EXPECT_TRUE(has(b->poll(nullptr), PollEvents::kRdHup));
  EXPECT_FALSE(has(b->poll(nullptr), PollEvents::kHup));
  a.reset();
  EXPECT_TRUE(has(b->poll(nullptr), PollEvents::kHup));
  EXPECT_EQ(put(*b, "x").error(), Errno::kPipe);
}

TEST(UnixStream, UnreadDataResets) {
  auto [a, b] = pair(SocketType::kStream);
  EXPECT_EQ(put(*b, "unread"), 6u);
  a.reset();
  EXPECT_EQ(get(*b, 1).error(), Errno::kConnReset);
  EXPECT_EQ(get(*b, 1)->text, "");
}

TEST(UnixStream, FillsUp) {
  auto [a, b] = pair(SocketType::kStream);
  EXPECT_EQ(put(*a, std::string(400'000, 'x')), UnixChannel::kDefaultLimit);
  EXPECT_EQ(put(*a, "y").error(), Errno::kAgain);
  EXPECT_FALSE(has(a->poll(nullptr), PollEvents::kOut));
  EXPECT_EQ(get(*b, 200'000)->text.size(), 200'000u);
  EXPECT_TRUE(has(a->poll(nullptr), PollEvents::kOut));
}

TEST(UnixStream, FilesAreABarrier) {
  auto [a, b] = pair(SocketType::kStream);
  auto [c, d] = pair(SocketType::kStream);
  EXPECT_EQ(put(*a, "one"), 3u);
  ControlData control;
  control.files.push_back(c);
  EXPECT_EQ(put(*a, "two", &control), 3u);
  EXPECT_EQ(put(*a, "three"), 5u);
  auto first = get(*b, 100);
  EXPECT_EQ(first->text, "one");
  EXPECT_TRUE(first->control.files.empty());
  auto second = get(*b, 100);
  EXPECT_EQ(second->text, "two");
  ASSERT_EQ(second->control.files.size(), 1u);
  EXPECT_EQ(second->control.files[0].get(), c.get());
  EXPECT_EQ(get(*b, 100)->text, "three");
}

TEST(UnixStream, ListensAndAccepts) {
  auto server = *UnixSocket::create(SocketType::kStream, 0, OpenFlags::kNonBlock);
  auto client = *UnixSocket::create(SocketType::kStream, 0, OpenFlags::kNonBlock);
  server->set_owner({1, 2, 3});
  EXPECT_EQ(client->connect(abstract("svc")).error(), Errno::kConnRefused);
  ASSERT_TRUE(server->bind(abstract("svc")));
  EXPECT_EQ(client->connect(abstract("svc")).error(), Errno::kConnRefused);
  ASSERT_TRUE(server->listen(5));
  EXPECT_EQ(server->accept({}, nullptr).error(), Errno::kAgain);
  ASSERT_TRUE(client->connect(abstract("svc")));
  EXPECT_EQ(server->poll(nullptr), kReadable);
  EXPECT_EQ(put(*client, "early"), 5u);
  SocketAddress peer;
  auto accepted = *server->accept({}, &peer);
  EXPECT_EQ(peer.length, 2u);
  EXPECT_EQ(get(*accepted, 9)->text, "early");
  EXPECT_EQ(client->connect(abstract("svc")).error(), Errno::kIsConn);
  EXPECT_EQ(client->peer_address()->length, 6u);
  auto credentials = client->get_option(1, 17, 100);
  PeerCredentials value;
  memcpy(&value, credentials->bytes.data(), sizeof(value));
  EXPECT_EQ(value.uid, 2u);
  server.reset();
  EXPECT_EQ(put(*client, "still"), 5u);
}

TEST(UnixStream, BacklogIsBounded) {
  auto server = *UnixSocket::create(SocketType::kStream, 0, OpenFlags::kNonBlock);
  ASSERT_TRUE(server->bind(abstract("full")));
  ASSERT_TRUE(server->listen(0));
  auto first = *UnixSocket::create(SocketType::kStream, 0, OpenFlags::kNonBlock);
  auto second = *UnixSocket::create(SocketType::kStream, 0, OpenFlags::kNonBlock);
  ASSERT_TRUE(first->connect(abstract("full")));
  EXPECT_EQ(second->connect(abstract("full")).error(), Errno::kAgain);
  auto accepted = server->accept({}, nullptr);
  ASSERT_TRUE(second->connect(abstract("full")));
  EXPECT_EQ(put(*second, "x"), 1u);
  server.reset();
  EXPECT_EQ(put(*second, "x").error(), Errno::kPipe);
}

TEST(UnixDatagram, KeepsBoundariesAndSources) {
  auto a = *UnixSocket::create(SocketType::kDatagram, 0, OpenFlags::kNonBlock);
  auto b = *UnixSocket::create(SocketType::kDatagram, 0, OpenFlags::kNonBlock);
  SocketAddress none;
  none.length = 2;
  none.bytes[0] = std::byte{1};
  ASSERT_TRUE(a->bind(none));
  EXPECT_EQ(a->local_address()->length, 2u + 6u);
  ASSERT_TRUE(b->bind(abstract("box")));
  auto to = abstract("box");
  EXPECT_EQ(put(*a, "x").error(), Errno::kNotConn);
  EXPECT_EQ(put(*a, "first", nullptr, &to), 5u);
  ASSERT_TRUE(a->connect(to));
  EXPECT_EQ(put(*a, ""), 0u);
  EXPECT_EQ(put(*a, "third"), 5u);
  auto first = get(*b, 3);
  EXPECT_EQ(first->text, "fir");
  EXPECT_TRUE(has(first->flags, MessageFlags::kTruncated));
  EXPECT_EQ(first->source.length, 8u);
  EXPECT_EQ(get(*b, 3)->text, "");
  EXPECT_EQ(get(*b, 9)->text, "third");
  b.reset();
  EXPECT_EQ(put(*a, "x").error(), Errno::kConnRefused);
}

TEST(UnixSocket, PassesCredentials) {
  auto [a, b] = pair(SocketType::kSeqPacket);
  int on = 1;
  ASSERT_TRUE(b->set_option(1, 16, std::as_bytes(std::span(&on, 1))));
  EXPECT_EQ(put(*a, "hi"), 2u);
  auto got = get(*b, 9);
  ASSERT_TRUE(got->control.credentials);
  EXPECT_EQ(got->control.credentials->uid, 20u);
}

}  // namespace
}  // namespace aril::net
