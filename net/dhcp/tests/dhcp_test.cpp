#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "net/dhcp/dhcp_client.hpp"

namespace aril::net {
namespace {

constexpr EthernetAddress kHardware = {2, 0, 0, 0, 0, 1};

/// The client's host and, as far as the tests need one, its server.
class DhcpExchange : public testing::Test, public DhcpHost {
 protected:
  void send_dhcp(std::span<const std::byte> message, IpAddress destination) override {
    sent.emplace_back(message.begin(), message.end());
    destinations.push_back(destination);
  }
  void lease_acquired(const DhcpLease& granted) override {
    lease = granted;
    ++acquired;
  }
  void lease_lost() override { ++lost; }

  static uint8_t option(const std::vector<std::byte>& message, uint8_t kind, size_t index = 0) {
    for (size_t at = 240; at + 1 < message.size() && message[at] != std::byte{255};
         at += 2 + static_cast<size_t>(message[at + 1]))
      if (message[at] == std::byte{kind}) return static_cast<uint8_t>(message[at + 2 + index]);
    return 0;
  }

  void reply(DhcpMessageType type, uint32_t lease_seconds = 1000, std::vector<uint8_t> more = {}) {
    DhcpHeader header{};
    std::memcpy(&header, sent.back().data(), sizeof header);
    header.operation = DhcpHeader::kReply;
    header.your = IpAddress::v4(192, 168, 7, 5).v4_value();
    std::vector<std::byte> bytes(sizeof header);
    std::memcpy(bytes.data(), &header, sizeof header);
    auto put = [&](std::initializer_list<uint8_t> values) {
      for (uint8_t value : values) bytes.push_back(std::byte{value});
    };
    put({53, 1, static_cast<uint8_t>(type)});
    put({54, 4, 192, 168, 7, 1});
    put({1, 4, 255, 255, 255, 0});
    put({3, 4, 192, 168, 7, 1});
    put({6, 8, 192, 168, 7, 2, 192, 168, 7, 3});
    put({51, 4, static_cast<uint8_t>(lease_seconds >> 24),
         static_cast<uint8_t>(lease_seconds >> 16), static_cast<uint8_t>(lease_seconds >> 8),
         static_cast<uint8_t>(lease_seconds)});
    for (uint8_t value : more) bytes.push_back(std::byte{value});
    put({255});
    client.receive(bytes, now);
  }
  void pass(Duration time) {
    Instant end = now + time;
    while (client.deadline() <= end) {
      now = std::max(now, client.deadline());
      client.poll(now);
    }
    now = end;
  }
  void bind() {
    client.start(now);
    reply(DhcpMessageType::kOffer);
    reply(DhcpMessageType::kAck);
  }

  std::vector<std::vector<std::byte>> sent;
  std::vector<IpAddress> destinations;
  DhcpLease lease;
  int acquired = 0, lost = 0;
  Instant now{5'000'000'000};
  DhcpClient client{*this, kHardware, "web", 42};
};

TEST_F(DhcpExchange, GetsALease) {  // [RFC 2131] 3.1
  client.start(now);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(option(sent[0], 53), 1);  // DISCOVER
  EXPECT_EQ(option(sent[0], 12), 'w');
  reply(DhcpMessageType::kOffer);
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(option(sent[1], 53), 3);  // REQUEST
  EXPECT_EQ(option(sent[1], 50, 3), 5);
  EXPECT_EQ(option(sent[1], 54, 3), 1);
  reply(DhcpMessageType::kAck);
  EXPECT_EQ(acquired, 1);
  EXPECT_EQ(lease.address, IpAddress::v4(192, 168, 7, 5));
  EXPECT_EQ(lease.prefix_length, 24);
  EXPECT_EQ(lease.gateway, IpAddress::v4(192, 168, 7, 1));
  EXPECT_EQ(lease.nameserver_count, 2);
}

TEST_F(DhcpExchange, AsksAgainEverMoreSeldom) {
  client.start(now);
  pass(Duration::seconds(10));
  EXPECT_GE(sent.size(), 4u);
  EXPECT_LE(sent.size(), 6u);
  pass(Duration::seconds(3600));
  EXPECT_LE(sent.size(), 80u);
}

TEST_F(DhcpExchange, StartsOverWhenTheServerFallsSilent) {
  client.start(now);
  reply(DhcpMessageType::kOffer);
  pass(Duration::seconds(60));
  EXPECT_EQ(client.state(), DhcpClient::State::kSelecting);
}

TEST_F(DhcpExchange, RenewsThenRebindsThenGivesUp) {  // [RFC 2131] 4.4.5
  bind();
  sent.clear();
  destinations.clear();
  pass(Duration::seconds(501));
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(destinations[0], IpAddress::v4(192, 168, 7, 1));
  EXPECT_EQ(option(sent[0], 54), 0);  // no server identifier when renewing
  reply(DhcpMessageType::kAck);
  EXPECT_EQ(acquired, 2);
  pass(Duration::seconds(950));
  EXPECT_EQ(client.state(), DhcpClient::State::kRebinding);
  EXPECT_TRUE(destinations.back().is_limited_broadcast());
  pass(Duration::seconds(60));
  EXPECT_EQ(lost, 1);
  EXPECT_EQ(client.state(), DhcpClient::State::kSelecting);
}

TEST_F(DhcpExchange, StartsOverWhenRefused) {
  client.start(now);
  reply(DhcpMessageType::kOffer);
  size_t before = sent.size();
  reply(DhcpMessageType::kNak);
  EXPECT_EQ(sent.size(), before);  // not in a tight loop
  pass(Duration::seconds(3));
  EXPECT_EQ(option(sent[before], 53), 1);
}

TEST_F(DhcpExchange, InfiniteLeaseHasNoDeadline) {
  client.start(now);
  reply(DhcpMessageType::kOffer, 0xffffffff);
  reply(DhcpMessageType::kAck, 0xffffffff);
  EXPECT_EQ(client.deadline(), Instant::never());
}

TEST_F(DhcpExchange, IgnoresWhatIsNotForIt) {
  client.start(now);
  auto saved = sent.back();
  sent.back()[4] ^= std::byte{1};  // another transaction
  reply(DhcpMessageType::kOffer);
  sent.back() = saved;
  sent.back()[28] ^= std::byte{1};  // another station
  reply(DhcpMessageType::kOffer);
  EXPECT_EQ(client.state(), DhcpClient::State::kSelecting);
  sent.back() = saved;
  reply(DhcpMessageType::kAck);  // without a request
  EXPECT_EQ(acquired, 0);
  client.receive({}, now);
}

}  // namespace
}  // namespace aril::net
