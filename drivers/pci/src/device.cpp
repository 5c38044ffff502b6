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

Result<Region> Device::memory_bar(unsigned index) const {
  if (index >= kBarCount) return fail(Errno::kNoDev);
  uint16_t offset = static_cast<uint16_t>(kFirstBar + index * 4);
  uint32_t low = read(offset);
  if ((low & kBarIo) != 0) return fail(Errno::kNoDev);
  bool wide = (low & kBarTypeMask) == kBarType64;
  if (wide && index + 1 >= kBarCount) return fail(Errno::kNoDev);
  uint16_t high_offset = offset + 4;
  uint32_t high = wide ? read(high_offset) : 0;

  // [PCI 3.0 6.2.5.1]: writing ones tells the size; nothing may be decoded meanwhile.
  uint32_t command = read(kCommand) & kCommandMask;
  write(kCommand, command & ~kCommandMemory);
  write(offset, ~uint32_t{0});
  uint64_t mask = read(offset) & kBarAddressMask;
  if (wide) {
    write(high_offset, ~uint32_t{0});
    mask |= uint64_t{read(high_offset)} << 32;
  } else if (mask != 0) {
    mask |= ~uint64_t{0} << 32;
  }
  uint64_t size = ~mask + 1;
  uint64_t address = (uint64_t{high} << 32) | (low & kBarAddressMask);

  Result<Region> region = fail(Errno::kNoDev);
  if (mask != 0 && (size & (size - 1)) == 0) {
    region = Region{address, size};
    if (address == 0) {
      Result<PhysicalAddress> given = host_->memory_window.allocate(size);
      if (!given || (!wide && *given + size > (uint64_t{1} << 32))) {
        region = fail(Errno::kNoSpc);
      } else {
        region->address = *given;
      }
    } else if (address + size < address || page_allocator::page_of(address) != nullptr) {
      region = fail(Errno::kInval);
    }
  }
  uint64_t final_address = region ? region->address : address;
  write(offset, static_cast<uint32_t>(final_address) | (low & ~kBarAddressMask));
  if (wide) write(high_offset, static_cast<uint32_t>(final_address >> 32));
  write(kCommand, command);
  return region;
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
