#pragma once
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "../../memory/tests/host_memory.hpp"
#include "../src/address_space_state.hpp"
#include "kernel/vm/address_space.hpp"
#include "kernel/vm/io_buffer.hpp"
#include "kernel/vm/page_cache.hpp"

namespace aril {

/// Contents of a file: byte i of page p is a function of both, and reads are counted.
class FakeBacking final : public PageBacking {
 public:
  Result<void> read_pages(uint64_t index, std::span<PageRef> pages) override {
    ++reads;
    for (size_t i = 0; i < pages.size(); ++i) {
      if (index + i == bad_page) return fail(Errno::kIo);
      std::memset(pages[i]->data(), static_cast<int>(index + i + 1), kPageSize);
      ++pages_read;
    }
    return {};
  }
  Result<void> write_page(uint64_t index, std::span<const std::byte, kPageSize> bytes) override {
    written.push_back({index, bytes[0]});
    return {};
  }
  [[nodiscard]] unsigned read_ahead_pages() const override { return read_ahead; }

  unsigned read_ahead = 4;
  uint64_t bad_page = ~uint64_t{0};
  unsigned reads = 0, pages_read = 0;
  std::vector<std::pair<uint64_t, std::byte>> written;
};

/// The CPU's view: what the page table says, without a fault.
struct AddressSpaceProbe {
  static std::optional<arch::Translation> translate(AddressSpace& space, uint64_t address) {
    return space.implementation_->table.query(address);
  }
  static bool is_large(AddressSpace& space, uint64_t address) {
    return space.implementation_->table.is_large(address);
  }
  static void set_fault_order(AddressSpace& space, unsigned order) {
    space.implementation_->fault_order = order;
  }
  static std::byte* byte_at(AddressSpace& space, uint64_t address) {
    return arch::physical_to_virtual(translate(space, address)->physical) + address % kPageSize;
  }
};

class VmTest : public ::testing::Test {
 protected:
  void SetUp() override {
    initialize_host_memory();
    // Page-table roots are kept for the next space: make as many as any test uses.
    std::vector<RefPtr<AddressSpace>> spaces;
    for (int i = 0; i < 6; ++i) spaces.push_back(*AddressSpace::create());
    spaces.clear();
    free_before_ = page_allocator::statistics().free_pages;
  }
  void TearDown() override {
    EXPECT_EQ(page_allocator::statistics().free_pages, free_before_) << "pages leaked";
  }

  static FaultOutcome touch(AddressSpace& space, uint64_t address, bool write) {
    // No fault where the page table allows the access.
    std::optional<arch::Translation> entry = AddressSpaceProbe::translate(space, address);
    if (entry && has(entry->flags, write ? arch::PageFlags::kWrite : arch::PageFlags::kRead))
      return FaultOutcome::kResolved;
    return space.handle_fault({.address = address, .present = false, .write = write});
  }
  /// What the application does with a byte, or why it cannot.
  static FaultOutcome store(AddressSpace& space, uint64_t address, uint8_t value) {
    FaultOutcome outcome = touch(space, address, true);
    if (outcome != FaultOutcome::kResolved) return outcome;
    EXPECT_TRUE(has(AddressSpaceProbe::translate(space, address)->flags, arch::PageFlags::kWrite));
    *AddressSpaceProbe::byte_at(space, address) = std::byte{value};
    return outcome;
  }
  static int load(AddressSpace& space, uint64_t address) {
    FaultOutcome outcome = touch(space, address, false);
    if (outcome != FaultOutcome::kResolved) return -static_cast<int>(outcome);
    EXPECT_TRUE(has(AddressSpaceProbe::translate(space, address)->flags, arch::PageFlags::kRead));
    return std::to_integer<int>(*AddressSpaceProbe::byte_at(space, address));
  }

 private:
  size_t free_before_ = 0;
};

inline constexpr Protection kReadWrite = Protection::kRead | Protection::kWrite;

}  // namespace aril
