#include <new>

#include "arch/port_io.hpp"
#include "drivers/pci/pci.hpp"
#include "registers.hpp"

namespace aril::pci {
namespace {

constexpr uint16_t kAddressPort = 0xcf8;
constexpr uint16_t kDataPort = 0xcfc;
constexpr uint32_t kEnable = 1u << 31;

class PortConfigSpace final : public ConfigSpace {
 public:
  uint32_t read(Address address, uint16_t offset) override {
    if (offset >= 256) return ~uint32_t{0};
    arch::out32(kAddressPort, select(address, offset));
    return arch::in32(kDataPort);
  }
  void write(Address address, uint16_t offset, uint32_t value) override {
    if (offset >= 256) return;
    arch::out32(kAddressPort, select(address, offset));
    arch::out32(kDataPort, value);
  }
  uint8_t last_bus() const override { return 255; }

 private:
  static uint32_t select(Address address, uint16_t offset) {
    return kEnable | uint32_t{address.bus} << 16 | (address.device & 31u) << 11 |
           (address.function & 7u) << 8 | (offset & 0xfcu);
  }
};

}  // namespace

std::unique_ptr<ConfigSpace> port_config_space() {
  // The address register reads back what was written, where there is one [PCI 3.0 3.2.2.3.2].
  arch::out32(kAddressPort, kEnable);
  if (arch::in32(kAddressPort) != kEnable) return nullptr;
  std::unique_ptr<ConfigSpace> space(new (std::nothrow) PortConfigSpace);
  if (space != nullptr && (space->read({}, kIdentity) & 0xffff) == 0xffff) return nullptr;
  return space;
}

}  // namespace aril::pci
