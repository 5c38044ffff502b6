#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "net/dhcpv6/dhcpv6_client.hpp"
#include "net/dhcpv6/dhcpv6_link.hpp"
#include "net/stack/stack.hpp"

namespace aril::net {
namespace {

constexpr EthernetAddress kHardware = {2, 0, 0, 0, 0, 1};
constexpr IpAddress kAddress = IpAddress::v6(0x20010db8ull << 32, 0x77);
constexpr IpAddress kNameServer = IpAddress::v6(0x20010db8ull << 32, 0x53);
using Type = Dhcpv6MessageType;
using Bytes = std::vector<uint8_t>;

Bytes option(uint16_t code, const Bytes& body) {
  Bytes out = {static_cast<uint8_t>(code >> 8), static_cast<uint8_t>(code),
               static_cast<uint8_t>(body.size() >> 8), static_cast<uint8_t>(body.size())};
  out.insert(out.end(), body.begin(), body.end());
  return out;
}
Bytes number(uint32_t value) {
  return {static_cast<uint8_t>(value >> 24), static_cast<uint8_t>(value >> 16),
          static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
}
Bytes address_bytes(IpAddress address) {
  Bytes out;
  for (uint64_t half : {address.high(), address.low()})
    for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<uint8_t>(half >> shift));
  return out;
}
void append(Bytes& to, const Bytes& from) { to.insert(to.end(), from.begin(), from.end()); }

/// What a server says; its options in the order of [RFC 8415] 21.
struct Answer {
  Type type = Type::kReply;
  Bytes server = {0, 3, 0, 1, 2, 0, 0, 0, 0, 9};
  std::optional<IpAddress> address = kAddress;
  uint32_t preferred = 1000, valid = 2000, renew = 0, rebind = 0;
  uint16_t status = 0;
  std::optional<uint8_t> preference;
  bool is_rapid = false;

  [[nodiscard]] Bytes write(std::span<const uint8_t, 3> transaction) const {
    Bytes out = {static_cast<uint8_t>(type), transaction[0], transaction[1], transaction[2]};
    append(out, option(1, {0, 3, 0, 1, 2, 0, 0, 0, 0, 1}));
    append(out, option(2, server));
    if (preference) append(out, option(7, {*preference}));
    if (is_rapid) append(out, option(14, {}));
    if (status != 0) append(out, option(13, {0, static_cast<uint8_t>(status), 'n', 'o'}));
    if (address) {
      Bytes inner = address_bytes(*address);
      append(inner, number(preferred));
      append(inner, number(valid));
      Bytes association = number(1);
      append(association, number(renew));
      append(association, number(rebind));
      append(association, option(5, inner));
      append(out, option(3, association));
    }
    append(out, option(23, address_bytes(kNameServer)));
    return out;
  }
};

class Dhcpv6Exchange : public testing::Test, public Dhcpv6Host {
 protected:
  void send_dhcpv6(std::span<const std::byte> message) override {
    const auto* bytes = reinterpret_cast<const uint8_t*>(message.data());
    sent.emplace_back(bytes, bytes + message.size());
  }
  void address_granted(IpAddress granted, uint32_t, uint32_t valid) override {
    address = granted;
    valid_seconds = valid;
  }
  void address_lost(IpAddress lost) override {
    EXPECT_EQ(address, lost);
    address.reset();
  }
  void name_servers_told(std::span<const IpAddress> told, uint32_t) override {
    servers.assign(told.begin(), told.end());
  }

  [[nodiscard]] Type last() const { return static_cast<Type>(sent.back()[0]); }
  [[nodiscard]] bool says(uint16_t code) const {
    const Bytes& message = sent.back();
    for (size_t at = 4; at + 4 <= message.size();
         at += 4u + (message[at + 2] << 8 | message[at + 3]))
      if ((message[at] << 8 | message[at + 1]) == code) return true;
    return false;
  }
  void reply(const Answer& answer) {
    auto bytes = answer.write(std::span(sent.back()).subspan<1, 3>());
    client.receive(std::as_bytes(std::span(bytes)), now);
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
    client.start(true, now);
    reply({.is_rapid = true});
    ASSERT_EQ(client.state(), Dhcpv6Client::State::kBound);
  }

  std::vector<Bytes> sent;
  std::optional<IpAddress> address;
  std::vector<IpAddress> servers;
  uint32_t valid_seconds = 0;
  Instant now{5'000'000'000};
  Dhcpv6Client client{*this, kHardware, 42};
};

TEST_F(Dhcpv6Exchange, TakesARapidReply) {  // [RFC 8415] 18.2.1
  client.start(true, now);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(last(), Type::kSolicit);
  for (uint16_t code : {1, 3, 6, 8, 14}) EXPECT_TRUE(says(code)) << code;
  EXPECT_FALSE(says(2));
  reply({});  // not marked as rapid: nothing that was asked for
  EXPECT_FALSE(address);
  reply({.is_rapid = true});
  EXPECT_EQ(address, kAddress);
  EXPECT_EQ(valid_seconds, 2000u);
  ASSERT_EQ(servers.size(), 1u);
  EXPECT_EQ(servers[0], kNameServer);
}

TEST_F(Dhcpv6Exchange, AsksTheBestOfThoseThatAdvertise) {  // 18.2.9
  client.start(true, now);
  reply({.type = Type::kAdvertise, .server = {1}, .preference = 1});
  reply({.type = Type::kAdvertise, .server = {2}, .preference = 7});
  reply({.type = Type::kAdvertise, .server = {3}, .address = {}, .preference = 9});
  EXPECT_EQ(sent.size(), 1u);
  pass(Duration::milliseconds(1200));
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(last(), Type::kRequest);
  EXPECT_TRUE(says(2));
  reply({.server = {1}});
  EXPECT_FALSE(address);
  reply({.server = {2}});
  EXPECT_EQ(address, kAddress);
}

TEST_F(Dhcpv6Exchange, AsksThePreferredOneAtOnce) {
  client.start(true, now);
  reply({.type = Type::kAdvertise, .preference = 255});
  EXPECT_EQ(last(), Type::kRequest);
}

TEST_F(Dhcpv6Exchange, AsksEverMoreSeldom) {  // 15
  client.start(true, now);
  pass(Duration::seconds(10));
  EXPECT_GE(sent.size(), 4u);
  EXPECT_LE(sent.size(), 5u);
  pass(Duration::seconds(24 * 3600));
  EXPECT_LE(sent.size(), 45u);
}

TEST_F(Dhcpv6Exchange, RenewsRebindsAndLosesItsAddress) {
  bind();
  pass(Duration::seconds(501));  // half of the preferred lifetime
  EXPECT_EQ(last(), Type::kRenew);
  EXPECT_TRUE(says(2));
  reply({});
  EXPECT_EQ(client.state(), Dhcpv6Client::State::kBound);
  pass(Duration::seconds(801));
  EXPECT_EQ(last(), Type::kRebind);
  EXPECT_FALSE(says(2));
  EXPECT_TRUE(address);
  pass(Duration::seconds(1200));
  EXPECT_EQ(last(), Type::kSolicit);
  EXPECT_FALSE(address);
}

TEST_F(Dhcpv6Exchange, AnotherAddressReplacesTheFirst) {
  bind();
  pass(Duration::seconds(501));
  IpAddress other = IpAddress::v6(kAddress.high(), 0x78);
  reply({.address = other});
  EXPECT_EQ(address, other);
}

TEST_F(Dhcpv6Exchange, AsksAgainWhenTheServerHasForgotten) {  // 18.2.10.1
  bind();
  pass(Duration::seconds(501));
  reply({.address = {}, .status = 3});
  EXPECT_EQ(last(), Type::kRequest);
  EXPECT_TRUE(address);
  // Saying so again is a refusal, not asked again at once.
  size_t before = sent.size();
  reply({.address = {}, .status = 3});
  EXPECT_EQ(sent.size(), before);
  EXPECT_FALSE(address);
}

TEST_F(Dhcpv6Exchange, ARefusalIsNotAskedAgainAtOnce) {
  client.start(true, now);
  reply({.type = Type::kAdvertise, .preference = 255});
  size_t before = sent.size();
  reply({.address = {}, .status = 2});
  EXPECT_EQ(sent.size(), before);
  pass(Duration::seconds(3));
  EXPECT_EQ(last(), Type::kSolicit);
}

TEST_F(Dhcpv6Exchange, DeclinesWhatSomebodyElseHas) {  // 18.2.8
  bind();
  client.decline(kAddress, now);
  EXPECT_EQ(last(), Type::kDecline);
  pass(Duration::seconds(60));
  EXPECT_EQ(last(), Type::kSolicit);
}

TEST_F(Dhcpv6Exchange, AsksForOtherConfigurationOnly) {  // 18.2.6
  client.start(false, now);
  EXPECT_EQ(last(), Type::kInformationRequest);
  EXPECT_FALSE(says(3));
  reply({.address = {}});
  EXPECT_EQ(servers.size(), 1u);
  client.start(false, now);
  EXPECT_EQ(sent.size(), 1u);
  client.start(true, now);  // a router changed its mind
  EXPECT_EQ(last(), Type::kSolicit);
}

TEST_F(Dhcpv6Exchange, AddressesForEverAreNotRenewed) {
  client.start(true, now);
  reply({.preferred = ~0u, .valid = ~0u, .is_rapid = true});
  EXPECT_EQ(client.deadline(), Instant::never());
}

TEST_F(Dhcpv6Exchange, IgnoresWhatIsNotForIt) {
  client.start(true, now);
  Bytes good = Answer{.is_rapid = true}.write(std::span(sent.back()).subspan<1, 3>());
  auto take = [&](Bytes bytes) { client.receive(std::as_bytes(std::span(bytes)), now); };
  Bytes wrong = good;
  wrong[1] ^= 1;  // transaction
  take(wrong);
  wrong = good;
  wrong[17] ^= 1;  // client identifier
  take(wrong);
  for (size_t length = 0; length < good.size() - 20; ++length)
    take(Bytes(good.begin(), good.begin() + static_cast<long>(length)));
  reply({.address = IpAddress::v6(0xff02ull << 48, 1), .is_rapid = true});
  reply({.preferred = 3000, .is_rapid = true});  // above the valid lifetime
  EXPECT_FALSE(address);
  take(good);
  EXPECT_TRUE(address);
}

}  // namespace
}  // namespace aril::net
