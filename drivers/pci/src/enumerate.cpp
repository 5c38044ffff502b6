#include <bitset>

#include "drivers/pci/pci.hpp"
#include "registers.hpp"

namespace aril::pci {
namespace {

struct Walk {
  Host& host;
  void (*visit)(void* context, const Device& device);
  void* context;
  std::bitset<256> seen;  // a bridge may claim a bus that was walked already

  void function(Address address, uint32_t identity) {
    visit(context, Device(host, address, identity));
    if (host.config.read(address, kClass) >> 16 != kClassBridgePciToPci) return;
    uint8_t secondary = host.config.read8(address, kBusNumbers + 1);
    if (secondary > address.bus) bus(secondary);
  }

  void bus(uint8_t number) {
    if (number > host.config.last_bus() || seen.test(number)) return;
    seen.set(number);
    for (uint8_t device = 0; device < 32; ++device) {
      Address address{number, device, 0};
      uint32_t identity = host.config.read(address, kIdentity);
      // [PCI 3.0 6.2.1]: an absent function reads as vendor 0xffff; function 0 always exists.
      if ((identity & 0xffff) == 0xffff) continue;
      bool many = (host.config.read8(address, kHeaderType) & kHeaderMultifunction) != 0;
      function(address, identity);
      for (address.function = 1; many && address.function < 8; ++address.function) {
        identity = host.config.read(address, kIdentity);
        if ((identity & 0xffff) != 0xffff) function(address, identity);
      }
    }
  }
};

}  // namespace

void enumerate(Host& host, void (*visit)(void* context, const Device& device), void* context) {
  Walk{host, visit, context, {}}.bus(0);
}

}  // namespace aril::pci
