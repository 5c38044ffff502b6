#include "page_tree.hpp"

#include <algorithm>
#include <bit>
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

PageTree::Slot* PageTree::next_dirty(uint64_t from, uint64_t& index) {
  if (!covers(from) || root_.value_ == 0) return nullptr;
  return next_dirty_in(root_, height_, 0, from, index);
}

PageTree::Slot* PageTree::next_dirty_in(Slot& slot, unsigned height, uint64_t base, uint64_t from,
                                        uint64_t& index) {
  if (height == 0) {
    if (!slot.is_dirty() || base < from) return nullptr;
    index = base;
    return &slot;
  }
  Node* node = node_of(slot);
  unsigned shift = kBits * (height - 1);
  uint64_t first = from > base ? (from - base) >> shift : 0;
  if (first >= kFanOut) return nullptr;
  for (uint64_t dirty = node->dirty & ~uint64_t{0} << first; dirty != 0; dirty &= dirty - 1) {
    auto i = static_cast<unsigned>(std::countr_zero(dirty));
    uint64_t child_base = base + (uint64_t{i} << shift);
    if (Slot* found = next_dirty_in(node->slots[i], height - 1, child_base, from, index))
      return found;
  }
  return nullptr;
}

bool PageTree::set_dirty(uint64_t index, bool dirty) {
  Slot* slots[64 / kBits + 2];
  slots[height_] = &root_;
  for (unsigned level = height_; level > 0; --level)
    slots[level - 1] = &node_of(*slots[level])->slots[place(index, level - 1)];
  if (slots[0]->is_dirty() == dirty) return false;
  slots[0]->value_ ^= 1;
  for (unsigned level = 1; level <= height_; ++level) {
    Node* node = node_of(*slots[level]);
    uint64_t bit = uint64_t{1} << place(index, level - 1);
    node->dirty = dirty ? node->dirty | bit : node->dirty & ~bit;
    // Above, nothing changes while something else below is dirty.
    if (!dirty && node->dirty != 0) break;
  }
  return true;
}

Result<void> PageTree::grow(uint64_t index) {
  while (!covers(index)) {
    if (root_.value_ != 0) {
      Node* node = new (std::nothrow) Node;
      if (node == nullptr) return fail(Errno::kNoMem);
      node->slots[0] = root_;
      node->used = 1;
      node->dirty = has_dirty(root_, height_) ? 1 : 0;
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
  Slot* slot = find(index);
  if (slot == nullptr) return {};
  if (slot->is_dirty()) set_dirty(index, false);
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
