#pragma once
#include <memory>

#include "base/time.hpp"
#include "net/wire/address.hpp"

namespace aril::net {

class Interface;
class Stack;

/// Gives an interface the addresses and name servers that its routers leave to somebody else:
/// DHCPv6, where it is linked. Made when the first router says so; everything is called under the
/// stack's lock.
class LinkConfigurator {
 public:
  virtual ~LinkConfigurator() = default;

  /// A router advertised that there is `addresses` or other configuration to be had
  /// [RFC 4861] 4.2. Called for every such advertisement.
  virtual void router_said(bool addresses) = 0;
  /// Another machine has `address`.
  virtual void address_is_duplicate(IpAddress address) = 0;
  /// Takes messages, does what is due.
  virtual void poll() = 0;
  [[nodiscard]] virtual Instant deadline() const = 0;
};

/// Null without memory.
using MakeLinkConfigurator = std::unique_ptr<LinkConfigurator> (*)(Stack&, Interface&);

}  // namespace aril::net
