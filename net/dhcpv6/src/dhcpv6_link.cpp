#include "net/dhcpv6/dhcpv6_link.hpp"

#include <new>

#include "net/dhcpv6/dhcpv6_client.hpp"
#include "net/stack/stack.hpp"

namespace aril::net {
namespace {

class Dhcpv6Link final : public LinkConfigurator, private Dhcpv6Host {
 public:
  Dhcpv6Link(Stack& stack, Interface& interface)
      : stack_(stack),
        interface_(interface),
        client_(*this, interface.hardware(), stack.random()) {}

  Result<void> open() {
    socket_ = ARIL_TRY(stack_.create_udp_socket(IpAddress::v6(0, 0)));
    DatagramOptions options;
    options.reuse_address = true;
    options.interface = interface_.index();
    ARIL_TRY(socket_->set_options(options));
    return socket_->bind({IpAddress::v6(0, 0), kDhcpv6ClientPort});
  }

  void router_said(bool addresses) override { client_.start(addresses, stack_.now()); }
  void address_is_duplicate(IpAddress address) override { client_.decline(address, stack_.now()); }

  void poll() override {
    while (auto datagram = socket_->receive()) client_.receive(datagram->payload(), stack_.now());
    client_.poll(stack_.now());
  }
  [[nodiscard]] Instant deadline() const override { return client_.deadline(); }

 private:
  void send_dhcpv6(std::span<const std::byte> message) override {
    // What cannot be sent now is sent again by the client's own timer.
    (void)socket_->send(message, Endpoint{kDhcpv6Servers, kDhcpv6ServerPort},
                        {.interface = interface_.index()});
  }
  void address_granted(IpAddress address, uint32_t preferred, uint32_t valid) override {
    // Which prefix is on the link is the router's to say [RFC 8415] 18.2.10.1.
    stack_.ip().learn_address(interface_, address, 128, preferred, valid);
  }
  void address_lost(IpAddress address) override { stack_.ip().forget_address(interface_, address); }
  void name_servers_told(std::span<const IpAddress> servers, uint32_t lifetime) override {
    stack_.ip().learn_name_servers(interface_, servers, lifetime);
  }

  Stack& stack_;
  Interface& interface_;
  Dhcpv6Client client_;
  RefPtr<UdpSocket> socket_;
};

}  // namespace

std::unique_ptr<LinkConfigurator> make_dhcpv6_link(Stack& stack, Interface& interface) {
  std::unique_ptr<Dhcpv6Link> link(new (std::nothrow) Dhcpv6Link(stack, interface));
  if (!link || !link->open()) return nullptr;
  return link;
}

}  // namespace aril::net
