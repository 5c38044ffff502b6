#include <array>
#include <new>

#include "base/units.hpp"
#include "drivers/pci/pci.hpp"
#include "kernel/memory/heap.hpp"

namespace aril::pci {
namespace {

constexpr size_t kBytesPerBus = kMiB;
constexpr size_t kBytesPerFunction = kPageSize;
constexpr size_t kBytesPerDevice = 8 * kBytesPerFunction;

/// Maps one device's eight functions at a time: most buses hold a handful of devices, and mapping
/// a whole bus costs 256 table entries. An absent device costs a mapping too, as there is no other
/// way to ask.
class EcamConfigSpace final : public ConfigSpace {
 public:
  EcamConfigSpace(PhysicalAddress base, uint8_t first_bus, uint8_t last_bus)
      : base_(base), first_bus_(first_bus), last_bus_(last_bus) {}

  uint32_t read(Address address, uint16_t offset) override {
    volatile uint32_t* word = find(address, offset);
    return word != nullptr ? *word : ~uint32_t{0};
  }
  void write(Address address, uint16_t offset, uint32_t value) override {
    if (volatile uint32_t* word = find(address, offset); word != nullptr) *word = value;
  }
  uint8_t last_bus() const override { return last_bus_; }

 private:
  using Bus = std::array<std::byte*, 32>;

  volatile uint32_t* find(Address address, uint16_t offset) {
    if (address.bus < first_bus_ || address.bus > last_bus_ || offset >= kBytesPerFunction)
      return nullptr;
    std::unique_ptr<Bus>& bus = buses_[address.bus];
    if (bus == nullptr) bus.reset(new (std::nothrow) Bus{});
    if (bus == nullptr) return nullptr;
    std::byte*& device = (*bus)[address.device & 31];
    if (device == nullptr) {
      // [PCIe 7.2.2]: the base is that of bus 0, whichever bus the range begins with.
      device = heap::map_device(
          base_ + address.bus * kBytesPerBus + (address.device & 31) * kBytesPerDevice,
          kBytesPerDevice);
    }
    if (device == nullptr) return nullptr;
    // Device registers, aligned: `offset` is a multiple of 4 by contract.
    return reinterpret_cast<volatile uint32_t*>(
        device + (address.function & 7) * kBytesPerFunction + (offset & ~3u));
  }

  PhysicalAddress base_;
  uint8_t first_bus_, last_bus_;
  std::array<std::unique_ptr<Bus>, 256> buses_;
};

}  // namespace

Result<std::unique_ptr<ConfigSpace>> ecam_config_space(PhysicalAddress base, uint8_t first_bus,
                                                       uint8_t last_bus) {
  if (base == 0 || !is_aligned(base, kPageSize) || first_bus > last_bus) return fail(Errno::kInval);
  auto* space = new (std::nothrow) EcamConfigSpace(base, first_bus, last_bus);
  if (space == nullptr) return fail(Errno::kNoMem);
  return std::unique_ptr<ConfigSpace>(space);
}

}  // namespace aril::pci
