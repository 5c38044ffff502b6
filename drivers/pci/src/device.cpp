#include "drivers/pci/pci.hpp"
#include "registers.hpp"

namespace aril::pci {

std::optional<uint8_t> Device::find_capability(uint8_t id, uint8_t after) const {
  if ((read(kCommand) & kStatusCapabilities) == 0) return std::nullopt;
  uint8_t offset = after == 0 ? read8(kCapabilities) : read8(after + 1);
  // Each capability takes at least one word of the 192 bytes, so a longer walk is a loop.
  for (int steps = 0; steps < 48; ++steps) {
    offset &= 0xfc;  // [PCI 3.0 6.7]: the low bits are reserved
    if (offset < kFirstCapability) return std::nullopt;
    if (read8(offset) == id) return offset;
    offset = read8(offset + 1);
  }
  return std::nullopt;
}

Result<PhysicalAddress> Device::memory_bar(unsigned index, uint64_t needed) const {
  if (index >= kBarCount) return fail(Errno::kNoDev);
  Bar bar{static_cast<uint16_t>(kFirstBar + index * 4), read(kFirstBar + index * 4)};
  if ((bar.low & kBarIo) != 0) return fail(Errno::kNoDev);
  bar.is_wide = (bar.low & kBarTypeMask) == kBarType64;
  if (bar.is_wide && index + 1 >= kBarCount) return fail(Errno::kNoDev);
  uint64_t high = bar.is_wide ? read(bar.offset + 4) : 0;
  PhysicalAddress address = (high << 32) | (bar.low & kBarAddressMask);
  if (address == 0) address = ARIL_TRY(assign(bar, needed));
  if (address + needed < address || page_allocator::page_of(address) != nullptr ||
      page_allocator::page_of(address + needed) != nullptr)
    return fail(Errno::kInval);
  return address;
}

Result<PhysicalAddress> Device::assign(const Bar& bar, uint64_t needed) const {
  // [PCI 3.0 6.2.5.1]: writing ones tells the size; nothing may be decoded meanwhile.
  uint32_t command = read(kCommand) & kCommandMask;
  write(kCommand, command & ~kCommandMemory);
  write(bar.offset, ~uint32_t{0});
  uint64_t mask = read(bar.offset) & kBarAddressMask;
  if (bar.is_wide) {
    write(bar.offset + 4, ~uint32_t{0});
    mask |= uint64_t{read(bar.offset + 4)} << 32;
  } else if (mask != 0) {
    mask |= ~uint64_t{0} << 32;
  }
  uint64_t size = ~mask + 1;
  Result<PhysicalAddress> address = fail(Errno::kNoDev);
  if (mask != 0 && (size & (size - 1)) == 0 && size >= needed)
    address = host_->memory_window.allocate(size);
  if (address && !bar.is_wide && *address + size > (uint64_t{1} << 32))
    address = fail(Errno::kNoSpc);
  PhysicalAddress value = address.value_or(0);
  write(bar.offset, static_cast<uint32_t>(value) | (bar.low & ~kBarAddressMask));
  if (bar.is_wide) write(bar.offset + 4, static_cast<uint32_t>(value >> 32));
  write(kCommand, command);
  return address;
}

void Device::enable_bus_mastering() const {
  uint32_t command = read(kCommand) & kCommandMask;
  write(kCommand, command | kCommandMemory | kCommandBusMaster);
}

std::optional<uint8_t> Device::interrupt_line() const {
  uint8_t line = read8(kInterruptLine);
  // [PCI 3.0 6.2.4]: 255 is "unknown"; a pin of 0 means that the function has no INTx at all.
  if (read8(kInterruptPin) == 0 || line == 0 || line == 0xff) return std::nullopt;
  return line;
}

}  // namespace aril::pci
