#include "region.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "base/assert.hpp"

namespace aril {

void Region::copy_attributes(const Region& other) {
  protection = other.protection;
  sharing = other.sharing;
  grows_down = other.grows_down;
  no_reserve = other.no_reserve;
  may_write = other.may_write;
  at_fork = other.at_fork;
  large_pages = other.large_pages;
  label = other.label;
  object = other.object;
  offset = other.offset;
}

bool Region::can_absorb(const Region& next) const {
  return end == next.start && protection == next.protection && sharing == next.sharing &&
         !grows_down && !next.grows_down && no_reserve == next.no_reserve &&
         large_pages == next.large_pages && may_write == next.may_write &&
         at_fork == next.at_fork && label == next.label && object == next.object &&
         (!object || offset + length() == next.offset);
}

void Region::attach() {
  if (!object) return;
  mapping.attach(*object, sharing == Sharing::kShared && may_write
                              ? ObjectMapping::Use::kSharedWriting
                              : ObjectMapping::Use::kOther);
  is_attached = true;
}

void Region::detach() {
  if (std::exchange(is_attached, false)) mapping.detach(*object);
}

DeadRegions::~DeadRegions() {
  while (first_ != nullptr) delete std::exchange(first_, first_->next_dead);
}

void DeadRegions::add(Region* region) {
  region->detach();
  region->next_dead = first_;
  first_ = region;
}

RegionList::~RegionList() {
  for (Region* region : all()) {
    region->detach();
    delete region;
  }
  delete[] regions_;
}

size_t RegionList::first_above(uint64_t address) const {
  auto found = std::ranges::upper_bound(all(), address, {}, &Region::end);
  return static_cast<size_t>(found - all().begin());
}

Region* RegionList::find(uint64_t address) const {
  size_t index = first_above(address);
  return index < size_ && regions_[index]->start <= address ? regions_[index] : nullptr;
}

Result<void> RegionList::reserve(size_t more) {
  if (size_ + more > kMaxRegions) return fail(Errno::kNoMem);
  if (size_ + more <= capacity_) return {};
  size_t capacity = std::max({size_t{16}, capacity_ * 2, size_ + more});
  auto** larger = new (std::nothrow) Region*[capacity];
  if (larger == nullptr) return fail(Errno::kNoMem);
  std::copy_n(regions_, size_, larger);
  delete[] std::exchange(regions_, larger);
  capacity_ = capacity;
  return {};
}

void RegionList::insert(Region* region) {
  ARIL_ASSERT(size_ < capacity_);
  size_t index = first_above(region->start);
  std::copy_backward(regions_ + index, regions_ + size_, regions_ + size_ + 1);
  regions_[index] = region;
  ++size_;
}

Region* RegionList::remove(size_t index) {
  Region* region = regions_[index];
  std::copy(regions_ + index + 1, regions_ + size_, regions_ + index);
  --size_;
  return region;
}

}  // namespace aril
