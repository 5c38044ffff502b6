#include "kernel/vm/address_space.hpp"

#include <set>

#include "vm_fixture.hpp"

namespace aril {
namespace {

class AddressSpaceTest : public VmTest {
 protected:
  void SetUp() override {
    VmTest::SetUp();
    space = *AddressSpace::create();
  }
  void TearDown() override {
    space.reset();
    VmTest::TearDown();
  }
  uint64_t map_anonymous(uint64_t pages, Protection protection = kReadWrite) {
    return *space->map({.length = pages * kPageSize, .protection = protection});
  }
  RefPtr<AddressSpace> space;
};

TEST_F(AddressSpaceTest, DemandZeroPages) {
  uint64_t address = map_anonymous(10);
  EXPECT_EQ(space->usage().resident_pages, 0u);
  EXPECT_EQ(load(*space, address + 5 * kPageSize), 0);
  EXPECT_EQ(space->usage().resident_pages, 0u) << "a read needs no page of its own";
  EXPECT_EQ(store(*space, address + 5 * kPageSize, 7), FaultOutcome::kResolved);
  EXPECT_EQ(load(*space, address + 5 * kPageSize), 7);
  EXPECT_EQ(load(*space, address + 6 * kPageSize), 0);
  EXPECT_EQ(space->usage().resident_pages, 1u);
}

TEST_F(AddressSpaceTest, MemoryFilledInOrderGetsLargePages) {
  constexpr uint64_t kLarge = arch::kLargePageSize;
  uint64_t address = map_anonymous(4 * kLarge / kPageSize);
  uint64_t inside = align_up(address + 1, kLarge);
  ASSERT_EQ(store(*space, inside + kLarge, 1), FaultOutcome::kResolved);
  EXPECT_EQ(space->usage().resident_pages, 1u) << "a lonely write takes one page";
  ASSERT_EQ(store(*space, inside - kPageSize, 2), FaultOutcome::kResolved);
  ASSERT_EQ(store(*space, inside, 3), FaultOutcome::kResolved);
  EXPECT_EQ(space->usage().resident_pages, 2 + kLarge / kPageSize);
  EXPECT_EQ(load(*space, inside + kLarge - 1), 0);

  // Parts of it are pages like any other.
  ASSERT_EQ(store(*space, inside + 7 * kPageSize, 9), FaultOutcome::kResolved);
  ASSERT_TRUE(space->protect(inside + kPageSize, kPageSize, Protection::kRead));
  EXPECT_EQ(touch(*space, inside + kPageSize, true), FaultOutcome::kNotPermitted);
  ASSERT_TRUE(space->advise(inside + 2 * kPageSize, kPageSize, AddressSpace::Advice::kDontNeed));
  EXPECT_EQ(space->usage().resident_pages, 1 + kLarge / kPageSize);
  EXPECT_EQ(load(*space, inside), 3);
  EXPECT_EQ(load(*space, inside + 7 * kPageSize), 9);
}

TEST_F(AddressSpaceTest, LargePagesAreCopiedOnWriteAfterFork) {
  constexpr uint64_t kLarge = arch::kLargePageSize;
  uint64_t address = map_anonymous(2 * kLarge / kPageSize);
  ASSERT_TRUE(space->advise(address, 2 * kLarge, AddressSpace::Advice::kLargePages));
  uint64_t inside = align_up(address, kLarge);
  ASSERT_EQ(store(*space, inside + 5 * kPageSize, 5), FaultOutcome::kResolved);
  EXPECT_EQ(space->usage().resident_pages, kLarge / kPageSize);
  RefPtr<AddressSpace> child = *space->fork();
  ASSERT_EQ(store(*child, inside + 5 * kPageSize, 6), FaultOutcome::kResolved);
  EXPECT_EQ(load(*space, inside + 5 * kPageSize), 5);
  ASSERT_EQ(store(*space, inside + 6 * kPageSize, 7), FaultOutcome::kResolved);
  EXPECT_EQ(load(*child, inside + 6 * kPageSize), 0);
}

TEST_F(AddressSpaceTest, LargePagesFollowProtectionAsAWhole) {
  constexpr uint64_t kLarge = arch::kLargePageSize;
  uint64_t address = map_anonymous(2 * kLarge / kPageSize);
  ASSERT_TRUE(space->advise(address, 2 * kLarge, AddressSpace::Advice::kLargePages));
  uint64_t inside = align_up(address, kLarge);
  ASSERT_EQ(store(*space, inside, 5), FaultOutcome::kResolved);
  ASSERT_TRUE(space->protect(address, 2 * kLarge, Protection::kRead));
  EXPECT_EQ(touch(*space, inside + kPageSize, true), FaultOutcome::kNotPermitted);
  ASSERT_TRUE(space->protect(address, 2 * kLarge, kReadWrite));
  EXPECT_EQ(store(*space, inside + kPageSize, 1), FaultOutcome::kResolved);
  EXPECT_EQ(load(*space, inside), 5);
  ASSERT_TRUE(space->unmap(address, 2 * kLarge));
  EXPECT_EQ(space->usage().resident_pages, 0u);
}

TEST_F(AddressSpaceTest, OutcomesTellWhy) {
  uint64_t address = map_anonymous(2, Protection::kRead);
  EXPECT_EQ(touch(*space, address, true), FaultOutcome::kNotPermitted);
  EXPECT_EQ(touch(*space, address + 2 * kPageSize, false), FaultOutcome::kNotMapped);
  EXPECT_EQ(touch(*space, arch::kApplicationTop, false), FaultOutcome::kNotMapped);
  EXPECT_EQ(space->handle_fault({.address = address, .instruction_fetch = true}),
            FaultOutcome::kNotPermitted);
  uint64_t none = map_anonymous(1, Protection::kNone);
  EXPECT_EQ(touch(*space, none, false), FaultOutcome::kNotPermitted);
}

TEST_F(AddressSpaceTest, HugeReservationsAreFree) {
  size_t before = page_allocator::statistics().free_pages;
  uint64_t address = map_anonymous(100 * kGiB / kPageSize, Protection::kNone);
  EXPECT_GE(page_allocator::statistics().free_pages + 2, before);
  // A runtime commits pieces of it.
  ASSERT_TRUE(space->protect(address + 70 * kGiB, 4 * kPageSize, kReadWrite));
  EXPECT_EQ(store(*space, address + 70 * kGiB, 1), FaultOutcome::kResolved);
  EXPECT_EQ(touch(*space, address + 60 * kGiB, false), FaultOutcome::kNotPermitted);
  ASSERT_TRUE(space->unmap(address, 100 * kGiB));
  EXPECT_EQ(space->usage().mapped_pages, 0u);
  EXPECT_EQ(space->usage().resident_pages, 0u);
  EXPECT_EQ(space->map({.length = 100 * kGiB, .protection = kReadWrite}).error(), Errno::kNoMem);
  EXPECT_TRUE(space->map({.length = 100 * kGiB, .protection = kReadWrite, .no_reserve = true}));
}

TEST_F(AddressSpaceTest, AdjacentMappingsMergeAndSplit) {
  uint64_t base = map_anonymous(10);
  uint64_t below = *space->map({.address = base - 5 * kPageSize,
                                .length = 5 * kPageSize,
                                .protection = kReadWrite,
                                .placement = MapRequest::Placement::kFixedNoReplace});
  EXPECT_EQ(space->find_mapping(base)->start, below);
  ASSERT_TRUE(space->protect(base, 2 * kPageSize, Protection::kRead));
  EXPECT_EQ(space->find_mapping(base)->end, base + 2 * kPageSize);
  ASSERT_TRUE(space->protect(base, 2 * kPageSize, kReadWrite));
  EXPECT_EQ(space->find_mapping(base)->end, base + 10 * kPageSize);
  ASSERT_TRUE(space->unmap(base + kPageSize, kPageSize));
  EXPECT_FALSE(space->find_mapping(base + kPageSize));
  EXPECT_EQ(space->protect(base, 4 * kPageSize, kReadWrite).error(), Errno::kNoMem);
}

TEST_F(AddressSpaceTest, PlacementKinds) {
  using enum MapRequest::Placement;
  uint64_t address = map_anonymous(4);
  MapRequest request{.address = address, .length = kPageSize, .protection = kReadWrite};
  request.placement = kFixedNoReplace;
  EXPECT_EQ(space->map(request).error(), Errno::kExist);
  EXPECT_EQ(store(*space, address, 5), FaultOutcome::kResolved);
  request.placement = kFixed;
  EXPECT_EQ(*space->map(request), address);
  EXPECT_EQ(load(*space, address), 0);
  request.placement = kBelow4GiB;
  request.address = 0;
  EXPECT_LT(*space->map(request), 0x8000'0000u);
  request.placement = kFixed;
  request.address = 0x1000;
  EXPECT_EQ(space->map(request).error(), Errno::kPerm);
  request.address = arch::kApplicationTop;
  EXPECT_EQ(space->map(request).error(), Errno::kNoMem);
  request.address = 0x2000'0001;
  EXPECT_EQ(space->map(request).error(), Errno::kInval);
  request = {.address = 0x2000'0000, .length = kPageSize};
  EXPECT_EQ(*space->map(request), 0x2000'0000u) << "a free hint is taken";
  EXPECT_NE(*space->map(request), 0x2000'0000u);
  EXPECT_EQ(space->map({.length = 0}).error(), Errno::kInval);
  EXPECT_EQ(space->map({.length = ~uint64_t{0}}).error(), Errno::kNoMem);
}

TEST_F(AddressSpaceTest, FreedGapsAreFoundAgain) {
  // Two lengths in turn, and protections that keep neighbours from merging.
  auto map = [&](uint64_t pages, unsigned turn) {
    return *space->map({.length = pages * kPageSize,
                        .protection = turn % 2 == 0 ? Protection::kRead : kReadWrite});
  };
  std::vector<uint64_t> small, large;
  for (unsigned i = 0; i < 200; ++i) {
    small.push_back(map(1, i));
    large.push_back(map(3, i));
  }
  ASSERT_TRUE(space->unmap(large[20], 3 * kPageSize));
  ASSERT_TRUE(space->unmap(small[50], kPageSize));
  EXPECT_EQ(map(2, 0), large[20] + kPageSize) << "the highest gap that is large enough";
  EXPECT_EQ(map(1, 0), large[20]);
  EXPECT_EQ(map(1, 0), small[50]);
  EXPECT_LT(map(1, 1), large.back());
}

TEST_F(AddressSpaceTest, RandomizedPlacementDiffers) {
  std::set<uint64_t> seen;
  for (int i = 0; i < 8; ++i) {
    RefPtr<AddressSpace> other = *AddressSpace::create();
    seen.insert(*other->map({.length = kPageSize}));
  }
  EXPECT_GT(seen.size(), 4u);
  seen.clear();
  for (int i = 0; i < 4; ++i) {
    RefPtr<AddressSpace> other = *AddressSpace::create();
    other->set_randomized(false);
    seen.insert(*other->map({.length = kPageSize}));
  }
  EXPECT_EQ(seen.size(), 1u);
}

TEST_F(AddressSpaceTest, StackGrowsToItsLimit) {
  uint64_t top = space->stack_top();
  uint64_t start = top - 4 * kPageSize;
  ASSERT_TRUE(space->map({.address = start,
                          .length = 4 * kPageSize,
                          .protection = kReadWrite,
                          .placement = MapRequest::Placement::kFixed,
                          .grows_down = true}));
  EXPECT_EQ(store(*space, start - 100 * kPageSize, 1), FaultOutcome::kResolved);
  EXPECT_EQ(load(*space, top - 1 * kMiB), 0);
  EXPECT_EQ(touch(*space, top - 8 * kMiB - 1, true), FaultOutcome::kNotMapped);
  // Something mapped below: the gap stays.
  uint64_t below = top - 4 * kMiB;
  ASSERT_TRUE(space->map({.address = below,
                          .length = kPageSize,
                          .protection = kReadWrite,
                          .placement = MapRequest::Placement::kFixed}));
  EXPECT_EQ(touch(*space, below + 2 * kPageSize, true), FaultOutcome::kNotMapped);
  EXPECT_EQ(touch(*space, below + kPageSize + AddressSpace::kStackGuardGap, true),
            FaultOutcome::kResolved);
}

TEST_F(AddressSpaceTest, HeapBreak) {
  constexpr uint64_t kStart = 0x5555'0000'0123;
  space->set_heap_start(kStart);
  EXPECT_EQ(space->set_break(0), kStart);
  EXPECT_EQ(space->set_break(kStart + 10 * kPageSize), kStart + 10 * kPageSize);
  EXPECT_EQ(store(*space, 0x5555'0000'1000, 9), FaultOutcome::kResolved);
  EXPECT_EQ(space->set_break(kStart + 5), kStart + 5);
  EXPECT_EQ(touch(*space, 0x5555'0000'1000, true), FaultOutcome::kNotMapped);
  EXPECT_EQ(space->set_break(kStart + 3 * kPageSize), kStart + 3 * kPageSize);
  EXPECT_EQ(load(*space, 0x5555'0000'1000), 0) << "what was given back comes back as zeroes";
  EXPECT_EQ(space->set_break(kStart + 50 * kGiB), kStart + 3 * kPageSize);
}

TEST_F(AddressSpaceTest, PrivateFileMappingsCopyOnWrite) {
  FakeBacking backing;
  RefPtr<PageCache> cache = *PageCache::create(&backing, 40 * kPageSize, "file");
  uint64_t address = *space->map({.length = 20 * kPageSize,
                                  .protection = kReadWrite,
                                  .object = cache,
                                  .offset = 2 * kPageSize});
  EXPECT_EQ(load(*space, address), 3);
  EXPECT_EQ(store(*space, address, 100), FaultOutcome::kResolved);
  EXPECT_EQ(store(*space, address + 9 * kPageSize, 101), FaultOutcome::kResolved);
  EXPECT_EQ(load(*space, address), 100);
  EXPECT_EQ((*cache->page(2, PageAccess::kRead))->data()[0], std::byte{3});
  EXPECT_EQ((*cache->page(11, PageAccess::kRead))->data()[0], std::byte{12});
  ASSERT_TRUE(space->advise(address, kPageSize, AddressSpace::Advice::kDontNeed));
  EXPECT_EQ(load(*space, address), 3);
}

TEST_F(AddressSpaceTest, FaultsMapTheNeighbourhood) {
  FakeBacking backing;
  backing.read_ahead = 32;
  RefPtr<PageCache> cache = *PageCache::create(&backing, 64 * kPageSize, "file");
  ASSERT_TRUE(cache->page(0, PageAccess::kRead));
  uint64_t address = *space->map({.address = 0x4000'0000,
                                  .length = 64 * kPageSize,
                                  .protection = Protection::kRead,
                                  .object = cache});
  EXPECT_EQ(load(*space, address + 3 * kPageSize), 4);
  EXPECT_EQ(space->usage().resident_pages, 16u);
}

TEST_F(AddressSpaceTest, ForkSharesUntilWritten) {
  uint64_t address = map_anonymous(4);
  EXPECT_EQ(store(*space, address, 1), FaultOutcome::kResolved);
  uint64_t shared =
      *space->map({.length = kPageSize, .protection = kReadWrite, .sharing = Sharing::kShared});
  EXPECT_EQ(store(*space, shared, 10), FaultOutcome::kResolved);
  RefPtr<AddressSpace> child = *space->fork();
  EXPECT_NE(child->id(), space->id());
  EXPECT_EQ(load(*child, address), 1);
  EXPECT_EQ(store(*space, address, 2), FaultOutcome::kResolved);
  EXPECT_EQ(load(*child, address), 1);
  EXPECT_EQ(store(*child, address, 3), FaultOutcome::kResolved);
  EXPECT_EQ(load(*space, address), 2);
  EXPECT_EQ(store(*child, shared, 11), FaultOutcome::kResolved);
  EXPECT_EQ(load(*space, shared), 11);
  EXPECT_EQ(space->shared_backing(shared)->first, child->shared_backing(shared)->first);
  EXPECT_FALSE(space->shared_backing(address));
}

TEST_F(AddressSpaceTest, RemapGrowsMovesShrinks) {
  uint64_t address = map_anonymous(4);
  EXPECT_EQ(store(*space, address + 3 * kPageSize, 44), FaultOutcome::kResolved);
  uint64_t wall = *space->map({.address = address + 4 * kPageSize,
                               .length = kPageSize,
                               .placement = MapRequest::Placement::kFixed});
  EXPECT_EQ(space->remap(address, 4 * kPageSize, 8 * kPageSize, false, {}).error(), Errno::kNoMem);
  uint64_t moved = *space->remap(address, 4 * kPageSize, 8 * kPageSize, true, {});
  EXPECT_NE(moved, address);
  EXPECT_EQ(load(*space, moved + 3 * kPageSize), 44);
  EXPECT_EQ(load(*space, moved + 7 * kPageSize), 0);
  EXPECT_EQ(touch(*space, address, false), FaultOutcome::kNotMapped);
  EXPECT_EQ(*space->remap(moved, 8 * kPageSize, 2 * kPageSize, false, {}), moved);
  EXPECT_EQ(touch(*space, moved + 3 * kPageSize, false), FaultOutcome::kNotMapped);
  EXPECT_EQ(*space->remap(moved, 2 * kPageSize, 3 * kPageSize, true, wall), wall);
  EXPECT_EQ(space->remap(wall, 3 * kPageSize, kPageSize, true, wall + kPageSize).error(),
            Errno::kInval);
  EXPECT_EQ(space->remap(wall, 30 * kPageSize, kPageSize, true, {}).error(), Errno::kFault);
  EXPECT_EQ(space->remap(wall, 0, kPageSize, true, {}).error(), Errno::kInval);
}

TEST_F(AddressSpaceTest, RemapDuplicatesSharedMemory) {
  uint64_t shared =
      *space->map({.length = 2 * kPageSize, .protection = kReadWrite, .sharing = Sharing::kShared});
  uint64_t twin = *space->remap(shared, 0, 2 * kPageSize, true, {});
  EXPECT_EQ(store(*space, shared + kPageSize, 21), FaultOutcome::kResolved);
  EXPECT_EQ(load(*space, twin + kPageSize), 21);
}

TEST_F(AddressSpaceTest, ProtectNoneKeepsContents) {
  uint64_t address = map_anonymous(2);
  EXPECT_EQ(store(*space, address, 5), FaultOutcome::kResolved);
  ASSERT_TRUE(space->protect(address, kPageSize, Protection::kNone));
  EXPECT_EQ(touch(*space, address, false), FaultOutcome::kNotPermitted);
  ASSERT_TRUE(space->protect(address, kPageSize, kReadWrite));
  EXPECT_EQ(load(*space, address), 5);
  EXPECT_TRUE(space->protect(address, 0, Protection::kNone));
  EXPECT_EQ(space->protect(address + 1, 1, Protection::kNone).error(), Errno::kInval);
}

TEST_F(AddressSpaceTest, ForcedAccessesPassProtection) {
  FakeBacking backing;
  RefPtr<PageCache> cache = *PageCache::create(&backing, 4 * kPageSize, "code");
  uint64_t code = *space->map({.length = 2 * kPageSize,
                               .protection = Protection::kRead | Protection::kExecute,
                               .object = cache});
  const std::byte patch[] = {std::byte{0xe9}, std::byte{1}, std::byte{2}, std::byte{3}};
  ASSERT_TRUE(space->write_forced(code + kPageSize - 2, patch));
  EXPECT_EQ(load(*space, code + kPageSize - 2), 0xe9);
  EXPECT_EQ(load(*space, code + kPageSize + 1), 3);
  EXPECT_EQ(touch(*space, code, true), FaultOutcome::kNotPermitted);
  EXPECT_EQ((*cache->page(1, PageAccess::kRead))->data()[0], std::byte{2});
  EXPECT_EQ(space->write_forced(code + 2 * kPageSize - 1, patch).error(), Errno::kFault);
  std::byte out[2];
  EXPECT_EQ(space->read_forced(~uint64_t{0}, out).error(), Errno::kFault);
}

TEST_F(AddressSpaceTest, ResidencyAndAdvice) {
  using Advice = AddressSpace::Advice;
  uint64_t address = map_anonymous(4);
  ASSERT_TRUE(space->advise(address + kPageSize, 2 * kPageSize, Advice::kPopulateWrite));
  uint8_t resident[4] = {9, 9, 9, 9};
  ASSERT_TRUE(space->residency(address, 4 * kPageSize, resident));
  EXPECT_EQ(resident[0] << 3 | resident[1] << 2 | resident[2] << 1 | resident[3], 0b0110);
  ASSERT_TRUE(space->advise(address, 4 * kPageSize, Advice::kFree));
  EXPECT_EQ(space->usage().resident_pages, 0u);
  EXPECT_EQ(space->advise(address, 5 * kPageSize, Advice::kDontNeed).error(), Errno::kNoMem);
  EXPECT_EQ(space->residency(address, 5 * kPageSize, resident).error(), Errno::kInval);
}

TEST_F(AddressSpaceTest, OutOfMemoryIsAnOutcome) {
  uint64_t pages = page_allocator::statistics().free_pages;
  uint64_t address =
      *space->map({.length = 2 * pages * kPageSize, .protection = kReadWrite, .no_reserve = true});
  FaultOutcome outcome = FaultOutcome::kResolved;
  for (uint64_t i = 0; outcome == FaultOutcome::kResolved && i < 2 * pages; ++i)
    outcome = touch(*space, address + i * kPageSize, true);
  EXPECT_EQ(outcome, FaultOutcome::kOutOfMemory);
}

TEST_F(AddressSpaceTest, FaultsOfTheRunningThread) {
  set_current_address_space(space.get());
  uint64_t address = map_anonymous(1);
  arch::TrapFrame frame{};
  EXPECT_TRUE(arch::aril_on_page_fault(frame, {.address = address, .write = true}));
  EXPECT_FALSE(arch::aril_on_page_fault(frame, {.address = address + kPageSize, .write = true}));
  EXPECT_EQ(last_fault_outcome(), FaultOutcome::kNotMapped);
  space.reset();
  EXPECT_EQ(current_address_space(), nullptr);
  EXPECT_FALSE(arch::aril_on_page_fault(frame, {.address = address, .write = true}));
}

}  // namespace
}  // namespace aril
