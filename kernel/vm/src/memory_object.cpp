#include "kernel/vm/memory_object.hpp"

#include "kernel/vm/address_space.hpp"

namespace aril {

void ObjectMapping::attach(MemoryObject& object, Use use) {
  use_ = use;
  {
    LockGuard hold(object.mappings_lock_);
    id_ = object.next_mapping_id_++;
    object.mappings_.push_back(*this);
  }
  object.region_attached();
}

void ObjectMapping::detach(MemoryObject& object) {
  {
    LockGuard hold(object.mappings_lock_);
    object.mappings_.remove(*this);
  }
  object.region_detached();
}

/// Visits every address space that maps the object, without a lock. Spaces that begin or end to map
/// it meanwhile may or may not be visited.
template <typename Visit>
void MemoryObject::for_each_space(Visit visit) {
  uint64_t seen = 0;
  const AddressSpace* last = nullptr;
  for (;;) {
    RefPtr<AddressSpace> space;
    {
      LockGuard hold(mappings_lock_);
      for (ObjectMapping& mapping : mappings_) {
        if (mapping.id_ <= seen) continue;
        seen = mapping.id_;
        // One visit covers all regions of a space; a space at its end unmaps everything itself.
        if (mapping.space_ == last || !mapping.space_->try_add_ref()) continue;
        space = RefPtr<AddressSpace>::adopt(mapping.space_);
        break;
      }
    }
    if (!space) return;
    last = space.get();
    visit(*space);
  }
}

void MemoryObject::unmap_everywhere(uint64_t first, uint64_t count) {
  for_each_space([&](AddressSpace& space) { space.unmap_object(*this, first, count); });
}

void MemoryObject::try_unmap_everywhere(uint64_t first, uint64_t count) {
  for_each_space([&](AddressSpace& space) { space.try_unmap_object(*this, first, count); });
}

void MemoryObject::write_protect_everywhere(uint64_t first, uint64_t count) {
  for_each_space([&](AddressSpace& space) { space.write_protect_object(*this, first, count); });
}

bool MemoryObject::is_mapped_for_writing() {
  LockGuard hold(mappings_lock_);
  for (const ObjectMapping& mapping : mappings_)
    if (mapping.use_ == ObjectMapping::Use::kSharedWriting) return true;
  return false;
}

bool MemoryObject::is_mapped() const {
  LockGuard hold(mappings_lock_);
  return !mappings_.empty();
}

}  // namespace aril
