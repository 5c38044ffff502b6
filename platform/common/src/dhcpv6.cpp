#include "net/dhcpv6/dhcpv6_link.hpp"
#include "net/runtime/runtime.hpp"
#include "platform/common/boot_part.hpp"

namespace aril::platform {
namespace {

void offer_dhcpv6(Boot& boot) {
  if (boot.network != nullptr) boot.network->set_configurator(net::make_dhcpv6_link);
}
ARIL_MACHINE_PART(301, dhcpv6, offer_dhcpv6);

}  // namespace
}  // namespace aril::platform
