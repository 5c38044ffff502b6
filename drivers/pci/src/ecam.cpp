#include <array>
#include <new>

#include "base/units.hpp"
#include "drivers/pci/pci.hpp"
#include "kernel/memory/heap.hpp"

namespace aril::pci {
namespace {

constexpr size_t kBytesPerBus = kMiB;
constexpr size_t kBytesPerFunction = kPageSize;
constexpr size_t kFunctionsPerBus = 256;

/// Maps a function when it is first touched: most buses hold a handful, and a whole bus would cost
/// 256 table entries.
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
  using Bus = std::array<std::byte*, kFunctionsPerBus>;

  volatile uint32_t* find(Address address, uint16_t offset) {
    if (address.bus < first_bus_ || address.bus > last_bus_ || offset >= kBytesPerFunction)
      return nullptr;
    std::unique_ptr<Bus>& bus = buses_[address.bus];
    if (bus == nullptr) bus.reset(new (std::nothrow) Bus{});
    if (bus == nullptr) return nullptr;
    size_t index = (address.device & 31) * size_t{8} + (address.function & 7);
    std::byte*& function = (*bus)[index];
    if (function == nullptr) {
      // [PCIe 7.2.2]: the base is that of bus 0, whichever bus the range begins with.
      function = heap::map_device(base_ + address.bus * kBytesPerBus + index * kBytesPerFunction,
                                  kBytesPerFunction);
    }
    if (function == nullptr) return nullptr;
    // Device registers, aligned: `offset` is a multiple of 4 by contract.
    return reinterpret_cast<volatile uint32_t*>(function + (offset & ~3u));
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
