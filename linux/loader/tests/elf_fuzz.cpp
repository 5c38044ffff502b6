#include <cstring>

#include "arch/layout.hpp"
#include "base/assert.hpp"
#include "linux/loader/elf.hpp"

// Whatever parse_elf accepts keeps its promises.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace aril;
  auto image = linux_abi::parse_elf(
      [&](uint64_t offset, std::span<std::byte> to) {
        ARIL_ASSERT(offset <= size && to.size() <= size - offset);
        std::memcpy(to.data(), data + offset, to.size());
        return true;
      },
      size);
  if (!image) return 0;
  uint64_t end = 0;
  for (const linux_abi::ElfSegment& segment : image->segments) {
    ARIL_ASSERT(segment.first_page() >= end);
    ARIL_ASSERT(segment.memory_size >= segment.file_size);
    ARIL_ASSERT(segment.offset <= size && segment.file_size <= size - segment.offset);
    end = segment.end_page();
    ARIL_ASSERT(end > segment.first_page() && end <= arch::kApplicationTop + 0x1000);
  }
  return 0;
}
