#pragma once
#include <utility>

#include "base/assert.hpp"

namespace aril {

/// The links that an object embeds to be a member of one PairingHeap at a time.
template <typename T>
struct PairingHeapNode {
  T* child = nullptr;
  T* sibling = nullptr;
  T* previous = nullptr;  ///< the left sibling, or the parent of a first child
  bool linked = false;
};

/// A priority queue that never allocates and does not own its members: insert O(1), pop and remove
/// O(log n) amortised. `Before` orders: the top is before all others; equal keys come out in no
/// particular order. Not synchronised.
template <typename T, PairingHeapNode<T> T::* kNode, typename Before>
class PairingHeap {
 public:
  [[nodiscard]] bool empty() const { return root_ == nullptr; }
  [[nodiscard]] T* top() const { return root_; }

  void insert(T& item) {
    auto& node = item.*kNode;
    ARIL_ASSERT(!node.linked);
    node = {.linked = true};
    root_ = meld(root_, &item);
  }

  T* pop() {
    T* item = root_;
    if (item != nullptr) remove(*item);
    return item;
  }

  void remove(T& item) {
    auto& node = item.*kNode;
    ARIL_ASSERT(node.linked);
    T* rest = merge_pairs(node.child);
    if (&item == root_) {
      root_ = rest;
    } else {
      T* previous = node.previous;
      auto& link =
          (previous->*kNode).child == &item ? (previous->*kNode).child : (previous->*kNode).sibling;
      link = node.sibling;
      if (node.sibling != nullptr) (node.sibling->*kNode).previous = previous;
      root_ = meld(root_, rest);
    }
    if (root_ != nullptr) (root_->*kNode).previous = nullptr;
    node = {};
  }

 private:
  static T* meld(T* a, T* b) {
    if (a == nullptr) return b;
    if (b == nullptr) return a;
    if (Before{}(*b, *a)) std::swap(a, b);
    auto& parent = a->*kNode;
    auto& loser = b->*kNode;
    loser.previous = a;
    loser.sibling = parent.child;
    if (parent.child != nullptr) (parent.child->*kNode).previous = b;
    parent.child = b;
    return a;
  }

  // Two passes without recursion: pair from left to right, then meld the pairs from right to left.
  static T* merge_pairs(T* first) {
    T* pairs = nullptr;
    while (first != nullptr) {
      T* second = (first->*kNode).sibling;
      T* next = second != nullptr ? (second->*kNode).sibling : nullptr;
      (first->*kNode).sibling = nullptr;
      if (second != nullptr) (second->*kNode).sibling = nullptr;
      T* pair = meld(first, second);
      (pair->*kNode).sibling = pairs;
      pairs = pair;
      first = next;
    }
    T* result = nullptr;
    while (pairs != nullptr) {
      T* next = (pairs->*kNode).sibling;
      (pairs->*kNode).sibling = nullptr;
      result = meld(result, pairs);
      pairs = next;
    }
    return result;
  }

  T* root_ = nullptr;
};

}  // namespace aril
