#pragma once
#include <cstddef>
#include <cstdint>

#include "base/result.hpp"
#include "kernel/memory/page.hpp"

namespace aril {

/// A page cache's index: page number -> page, with a dirty mark. A radix tree of 64-way nodes, as
/// high as the largest index needs; a single page at index 0 takes no node at all. Holds one
/// reference to each page. Not synchronised.
class PageTree {
 public:
  /// An occupied place; valid until the next insert or take.
  class Slot {
   public:
    [[nodiscard]] Page* page() const {
      // The mark lives in bit 0 of the aligned pointer.
      return reinterpret_cast<Page*>(value_ & ~uintptr_t{1});
    }
    [[nodiscard]] bool is_dirty() const { return (value_ & 1) != 0; }

   private:
    friend class PageTree;
    uintptr_t value_ = 0;
  };

  PageTree() = default;
  PageTree(const PageTree&) = delete;
  PageTree& operator=(const PageTree&) = delete;
  /// Drops all pages.
  ~PageTree();

  /// Null when nothing is there.
  [[nodiscard]] Slot* find(uint64_t index);
  /// The first occupied place at or after `from`; its number in `index`. Null when there is none.
  [[nodiscard]] Slot* next(uint64_t from, uint64_t& index);
  /// Marks an occupied place; true when that changed something. Dirty places are found without a
  /// look at the others.
  bool set_dirty(uint64_t index, bool dirty);
  /// As next(), among the dirty ones.
  [[nodiscard]] Slot* next_dirty(uint64_t from, uint64_t& index);
  /// kNoMem. The place must be free.
  Result<Slot*> insert(uint64_t index, PageRef page);
  /// Takes the page out; empty when there was none.
  PageRef take(uint64_t index);
  [[nodiscard]] uint64_t count() const { return count_; }

 private:
  static constexpr unsigned kBits = 6;
  static constexpr size_t kFanOut = size_t{1} << kBits;
  struct Node {
    Slot slots[kFanOut];  // pages at the lowest level, else nodes
    unsigned used = 0;
    uint64_t dirty = 0;  // a bit for each slot that is dirty, or has something dirty below it
  };
  static_assert(kFanOut == 64);
  static Node* node_of(const Slot& slot) { return reinterpret_cast<Node*>(slot.value_); }
  static size_t place(uint64_t index, unsigned level) {
    return (index >> (kBits * level)) % kFanOut;
  }
  [[nodiscard]] bool covers(uint64_t index) const {
    return height_ * kBits >= 64 || index >> (height_ * kBits) == 0;
  }
  Result<void> grow(uint64_t index);
  Slot* next_in(Slot& slot, unsigned height, uint64_t base, uint64_t from, uint64_t& index);
  Slot* next_dirty_in(Slot& slot, unsigned height, uint64_t base, uint64_t from, uint64_t& index);
  PageRef take_in(Slot& slot, unsigned height, uint64_t index);
  static void drop(Slot& slot, unsigned height);
  [[nodiscard]] static bool has_dirty(const Slot& slot, unsigned height) {
    return height == 0 ? slot.is_dirty() : node_of(slot)->dirty != 0;
  }

  Slot root_;            // a page when height_ is 0, else a node
  unsigned height_ = 0;  // levels of nodes
  uint64_t count_ = 0;
};

}  // namespace aril
