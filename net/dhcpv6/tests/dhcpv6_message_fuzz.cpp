#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "net/dhcpv6/dhcpv6_client.hpp"

// A client's whole life with a server that sends anything: each input is a list of datagrams, of
// which the transaction is made the client's so that they are looked at.
namespace {

using namespace aril;
using namespace aril::net;

constexpr EthernetAddress kHardware = {2, 0, 0, 0, 0, 1};

class Host final : public Dhcpv6Host {
 public:
  void send_dhcpv6(std::span<const std::byte> message) override {
    std::memcpy(transaction, message.data() + 1, sizeof transaction);
  }
  void address_granted(IpAddress granted, uint32_t preferred, uint32_t valid) override {
    if (granted.is_multicast() || granted.is_v4() || preferred > valid || valid == 0) std::abort();
    address = granted;
  }
  void address_lost(IpAddress lost) override {
    if (address != lost) std::abort();
    address.reset();
  }
  void name_servers_told(std::span<const IpAddress> servers, uint32_t) override {
    if (servers.size() > Dhcpv6Message::kMaxServers) std::abort();
  }
  std::byte transaction[3] = {};
  std::optional<IpAddress> address;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Host host;
  Dhcpv6Client client(host, kHardware, 7);
  Instant now{1'000'000'000};
  constexpr uint8_t kIdentifier[] = {0, 1, 0, 10, 0, 3, 0, 1, 2, 0, 0, 0, 0, 1};
  client.start(size % 2 == 0, now);
  while (size >= 4) {
    // Of each datagram: its length, how long before it, whether it names us, its type.
    size_t length = data[0];
    now = now + Duration::milliseconds(int64_t{data[1]} * data[1] * data[1]);
    bool names_us = data[2] % 4 != 0;
    std::vector<std::byte> message(4);
    message[0] = std::byte{data[3]};
    std::memcpy(&message[1], host.transaction, sizeof host.transaction);
    data += 4;
    size -= 4;
    length = length < size ? length : size;
    const auto* bytes = reinterpret_cast<const std::byte*>(data);
    const auto* identifier = reinterpret_cast<const std::byte*>(kIdentifier);
    if (names_us) message.insert(message.end(), identifier, identifier + sizeof kIdentifier);
    message.insert(message.end(), bytes, bytes + length);
    client.poll(now);
    client.receive(message, now);
    if (host.address && length % 16 == 3) client.decline(*host.address, now);
    data += length;
    size -= length;
  }
  return 0;
}
