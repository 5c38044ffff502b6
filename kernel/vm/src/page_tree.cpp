#include "page_tree.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "base/assert.hpp"

namespace aril {

PageTree::~PageTree() { drop(root_, height_); }

void PageTree::drop(Slot& slot, unsigned height) {
  if (slot.value_ == 0) return;
  if (height == 0) {
    PageRef::adopt(slot.page()).reset();
  } else {
    Node* node = node_of(slot);
    for (Slot& child : node->slots) drop(child, height - 1);
    delete node;
  }
  slot.value_ = 0;
}

PageTree::Slot* PageTree::find(uint64_t index) {
  if (!covers(index)) return nullptr;
  Slot* slot = &root_;
  for (unsigned level = height_; level > 0; --level) {
    if (slot->value_ == 0) return nullptr;
    slot = &node_of(*slot)->slots[place(index, level - 1)];
  }
  return slot->value_ != 0 ? slot : nullptr;
}

PageTree::Slot* PageTree::next(uint64_t from, uint64_t& index) {
  return covers(from) ? next_in(root_, height_, 0, from, index) : nullptr;
}

PageTree::Slot* PageTree::next_in(Slot& slot, unsigned height, uint64_t base, uint64_t from,
                                  uint64_t& index) {
  if (slot.value_ == 0) return nullptr;
  if (height == 0) {
    index = base;
    return &slot;
  }
  unsigned shift = kBits * (height - 1);
  size_t first = from > base ? (from - base) >> shift : 0;
  for (size_t i = first; i < kFanOut; ++i) {
    uint64_t child_base = base + (uint64_t{i} << shift);
    Slot& child = node_of(slot)->slots[i];
    if (Slot* found = next_in(child, height - 1, child_base, std::max(from, child_base), index))
      return found;
  }
  return nullptr;
}

Result<void> PageTree::grow(uint64_t index) {
  while (!covers(index)) {
    if (root_.value_ != 0) {
      Node* node = new (std::nothrow) Node;
      if (node == nullptr) return fail(Errno::kNoMem);
      node->slots[0] = root_;
      node->used = 1;
      // A node's address in the slot above it.
      root_.value_ = reinterpret_cast<uintptr_t>(node);
    }
    ++height_;
  }
  return {};
}

Result<PageTree::Slot*> PageTree::insert(uint64_t index, PageRef page) {
  ARIL_TRY(grow(index));
  Slot* slot = &root_;
  Node* parent = nullptr;
  for (unsigned level = height_; level > 0; --level) {
    if (slot->value_ == 0) {
      Node* node = new (std::nothrow) Node;
      // Empty nodes made on the way stay: they are dropped with the tree, or filled later.
      if (node == nullptr) return fail(Errno::kNoMem);
      slot->value_ = reinterpret_cast<uintptr_t>(node);
      if (parent != nullptr) ++parent->used;
    }
    parent = node_of(*slot);
    slot = &parent->slots[place(index, level - 1)];
  }
  ARIL_ASSERT(slot->value_ == 0);
  slot->value_ = reinterpret_cast<uintptr_t>(page.leak());
  if (parent != nullptr) ++parent->used;
  ++count_;
  return slot;
}

PageRef PageTree::take(uint64_t index) {
  if (!covers(index)) return {};
  PageRef page = take_in(root_, height_, index);
  if (page) --count_;
  if (root_.value_ == 0) height_ = 0;
  return page;
}

PageRef PageTree::take_in(Slot& slot, unsigned height, uint64_t index) {
  if (slot.value_ == 0) return {};
  if (height == 0) {
    PageRef page = PageRef::adopt(slot.page());
    slot.value_ = 0;
    return page;
  }
  Node* node = node_of(slot);
  Slot& child = node->slots[place(index, height - 1)];
  PageRef page = take_in(child, height - 1, index);
  if (page && child.value_ == 0 && --node->used == 0) {
    delete node;
    slot.value_ = 0;
  }
  return page;
}

}  // namespace aril
