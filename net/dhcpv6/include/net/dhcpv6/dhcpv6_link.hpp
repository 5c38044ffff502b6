#pragma once
#include "net/stack/link_configurator.hpp"

namespace aril::net {

/// A DHCPv6 client on `interface`: its address and name servers become the interface's.
std::unique_ptr<LinkConfigurator> make_dhcpv6_link(Stack& stack, Interface& interface);

}  // namespace aril::net
