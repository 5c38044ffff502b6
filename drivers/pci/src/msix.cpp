#include "base/units.hpp"
#include "drivers/pci/pci.hpp"
#include "kernel/memory/heap.hpp"
#include "registers.hpp"

namespace aril::pci {
namespace {

// One table entry is four words [PCI 3.0 6.8.2].
constexpr unsigned kEntryWords = 4;
constexpr unsigned kAddressLow = 0, kAddressHigh = 1, kData = 2, kControl = 3;
constexpr uint32_t kControlMasked = 1;

}  // namespace

Result<MsixTable> MsixTable::enable(const Device& device) {
  std::optional<uint8_t> capability = device.find_capability(kCapabilityMsix);
  if (!capability) return fail(Errno::kNoDev);
  uint32_t control = device.read(*capability);
  unsigned size = ((control >> 16) & 0x7ff) + 1;
  uint32_t location = device.read(static_cast<uint16_t>(*capability + 4));
  uint64_t offset = location & ~uint32_t{7};
  uint64_t bytes = uint64_t{size} * kEntryWords * sizeof(uint32_t);
  PhysicalAddress bar = ARIL_TRY(device.memory_bar(location & 7, offset + bytes));
  PhysicalAddress first = align_down(bar + offset, kPageSize);
  size_t lead = bar + offset - first;
  std::byte* mapped = heap::map_device(first, align_up(lead + bytes, kPageSize));
  if (mapped == nullptr) return fail(Errno::kNoMem);
  // The table is an array of 32-bit device registers, aligned by its offset's low bits.
  auto* entries = reinterpret_cast<volatile uint32_t*>(mapped + lead);

  // The firmware may have left entries unmasked: mask all of them before the function's mask goes.
  device.write(*capability, control | kMsixEnable | kMsixFunctionMask);
  for (unsigned i = 0; i < size; ++i) entries[i * kEntryWords + kControl] = kControlMasked;
  device.write(kCommand, (device.read(kCommand) & kCommandMask) | kCommandInterruptDisable);
  device.write(*capability, (control | kMsixEnable) & ~kMsixFunctionMask);
  return MsixTable(entries, size);
}

Result<void> MsixTable::connect(unsigned index, unsigned cpu, arch::InterruptHandler handler,
                                void* argument) {
  if (index >= size_) return fail(Errno::kInval);
  arch::InterruptVector vector = ARIL_TRY(arch::allocate_vector(handler, argument));
  arch::MsiMessage message = arch::msi_message(vector, cpu);
  volatile uint32_t* entry = entries_ + index * kEntryWords;
  entry[kAddressLow] = static_cast<uint32_t>(message.address);
  entry[kAddressHigh] = static_cast<uint32_t>(message.address >> 32);
  entry[kData] = message.data;
  entry[kControl] = 0;
  return {};
}

}  // namespace aril::pci
