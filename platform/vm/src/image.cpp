#include "image.hpp"

#include "base/image_abi.hpp"
#include "linux/stdio/console_terminal.hpp"

// An absolute symbol of kernel.ld, whose address is the value.
extern "C" const std::byte aril_image_end_physical[];

/// In a section of its own, where the builder finds it. Volatile: the compiler must not use the
/// values that stand here, since the builder changes them.
[[gnu::section(".aril.image"), gnu::used,
  gnu::retain]] volatile aril::ImageDescriptor aril_image_descriptor = {
    .magic = aril::kImageMagic,
    .version = aril::kImageAbiVersion,
    .size = sizeof(aril::ImageDescriptor),
    .root_load_address = reinterpret_cast<uint64_t>(aril_image_end_physical),
    .root_address = 0,
    .root_size = 0,
    .has_terminals = reinterpret_cast<uint64_t>(&aril_console_terminal),
};

namespace aril::platform {

std::optional<PhysicalRange> appended_root() {
  uint64_t start = aril_image_descriptor.root_address;
  uint64_t size = aril_image_descriptor.root_size;
  if (start == 0 || size == 0 || start + size < start) return std::nullopt;
  return PhysicalRange{start, start + size};
}

}  // namespace aril::platform
