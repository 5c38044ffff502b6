#pragma once
#include <cstdint>

#include "base/intrusive_list.hpp"
#include "base/ref_ptr.hpp"
#include "base/result.hpp"
#include "kernel/memory/page.hpp"
#include "kernel/sync/spin_lock.hpp"

namespace aril {

class AddressSpace;
class MemoryObject;

enum class PageAccess : uint8_t { kRead, kWrite };

/// One region of an address space over a memory object: how the object finds the page tables that
/// map its pages. A member of the region; attached by the region's owner, under that
/// AddressSpace's lock.
class ObjectMapping {
 public:
  explicit ObjectMapping(AddressSpace& space) : space_(&space) {}
  /// How the region may come to use the pages.
  enum class Use : uint8_t { kOther, kSharedWriting };
  void attach(MemoryObject& object, Use use);
  void detach(MemoryObject& object);

 private:
  friend class MemoryObject;
  AddressSpace* space_;
  Use use_ = Use::kOther;
  uint64_t id_ = 0;  // ascending along the list, so that a walk can go on after it let go the lock
  ListNode node_;
};

/// A source of pages that can be mapped and shared: a file's page cache, shared anonymous memory,
/// a device's memory.
class MemoryObject : public RefCounted {
 public:
  virtual ~MemoryObject() = default;
  /// The page that holds bytes [index*4096, +4096). With kWrite the caller will change it: a page
  /// cache marks it dirty. kFault past the end (SIGBUS), kIo, kNoMem (or kNoSpc) else. May sleep.
  virtual Result<PageRef> page(uint64_t index, PageAccess access) = 0;
  /// The page for reading if it is there without waiting; else empty. For mapping the neighbours
  /// of a page that faulted.
  virtual PageRef resident_page(uint64_t index) {
    (void)index;
    return {};
  }
  /// True when the object must learn of the first write to each page (page(index, kWrite)), so that
  /// shared mappings start out read-only.
  [[nodiscard]] virtual bool tracks_writes() const { return true; }
  /// Dirty pages are on their way to the backing when it returns (msync).
  virtual Result<void> write_back() { return {}; }
  /// A region that maps it is shared and may write, or may be allowed to.
  [[nodiscard]] bool is_mapped_for_writing();
  /// For /proc/self/maps and symbolising; empty when it has no path.
  [[nodiscard]] virtual const char* name() const { return ""; }

 protected:
  /// A region began or ended to map the object (also when one is split, joined or copied by fork).
  /// Perhaps under an AddressSpace's lock; the region still holds its reference.
  virtual void region_attached() {}
  virtual void region_detached() {}
  /// Removes the pages [first, first+count) from every page table. The caller has made sure that
  /// page() gives none of them any more (truncation), or gives the same ones again (reclaim), and
  /// holds no lock of rank kAddressSpace or above.
  void unmap_everywhere(uint64_t first, uint64_t count);
  /// As above, but skips spaces whose lock is taken: for reclaim, which may hold any lock.
  void try_unmap_everywhere(uint64_t first, uint64_t count);
  /// As above, but keeps them mapped for reading: the next write faults.
  void write_protect_everywhere(uint64_t first, uint64_t count);
  [[nodiscard]] bool is_mapped() const;

 private:
  friend class ObjectMapping;
  template <typename Visit>
  void for_each_space(Visit visit);

  mutable SpinLock mappings_lock_{LockRank::kSpinLeaf};
  uint64_t next_mapping_id_ = 1;
  IntrusiveList<ObjectMapping, &ObjectMapping::node_> mappings_;
};

}  // namespace aril
