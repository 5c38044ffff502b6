#pragma once
#include <cstddef>
#include <iterator>

#include "base/assert.hpp"

namespace aril {

/// The link that an object embeds to be a member of one IntrusiveList at a time.
class ListNode {
 public:
  constexpr ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() { ARIL_ASSERT(!is_linked()); }

  [[nodiscard]] bool is_linked() const { return next_ != nullptr; }

  /// Leaves its list. The caller holds whatever lock guards that list.
  void unlink() {
    ARIL_ASSERT(is_linked());
    next_->previous_ = previous_;
    previous_->next_ = next_;
    next_ = previous_ = nullptr;
  }

 private:
  template <typename T, ListNode T::* kNode>
  friend class IntrusiveList;
  ListNode* next_ = nullptr;
  ListNode* previous_ = nullptr;
};

/// A doubly linked list that never allocates and does not own its members.
/// Not synchronised. Must be empty when destroyed.
template <typename T, ListNode T::* kNode>
class IntrusiveList {
 public:
  constexpr IntrusiveList() { head_.next_ = head_.previous_ = &head_; }
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;
  ~IntrusiveList() {
    ARIL_ASSERT(empty());
    head_.next_ = head_.previous_ = nullptr;
  }

  class Iterator {
   public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::bidirectional_iterator_tag;
    using pointer = T*;
    using reference = T&;
    explicit Iterator(ListNode* node) : node_(node) {}
    T& operator*() const { return *owner(node_); }
    T* operator->() const { return owner(node_); }
    Iterator& operator++() {
      node_ = node_->next_;
      return *this;
    }
    Iterator& operator--() {
      node_ = node_->previous_;
      return *this;
    }
    bool operator==(const Iterator&) const = default;

   private:
    ListNode* node_;
  };

  [[nodiscard]] bool empty() const { return head_.next_ == &head_; }
  [[nodiscard]] size_t count() const {
    size_t n = 0;
    for (const ListNode* node = head_.next_; node != &head_; node = node->next_) ++n;
    return n;
  }

  void push_back(T& item) { insert_before(&head_, &(item.*kNode)); }
  void push_front(T& item) { insert_before(head_.next_, &(item.*kNode)); }
  void insert(Iterator before, T& item) {
    insert_before(before == end() ? &head_ : &((*before).*kNode), &(item.*kNode));
  }
  void remove(T& item) { (item.*kNode).unlink(); }

  [[nodiscard]] T* front() { return empty() ? nullptr : owner(head_.next_); }
  [[nodiscard]] T* back() { return empty() ? nullptr : owner(head_.previous_); }
  T* pop_front() {
    if (empty()) return nullptr;
    T* item = owner(head_.next_);
    head_.next_->unlink();
    return item;
  }

  Iterator begin() { return Iterator(head_.next_); }
  Iterator end() { return Iterator(&head_); }

 private:
  // The offset of the link is found from a null object, as offsetof does: C++ has no other way to
  // go from a member back to its owner.
  static T* owner(ListNode* node) {
    auto* probe = reinterpret_cast<T*>(alignof(T));
    auto offset = reinterpret_cast<char*>(&(probe->*kNode)) - reinterpret_cast<char*>(probe);
    return reinterpret_cast<T*>(reinterpret_cast<char*>(node) - offset);
  }
  static void insert_before(ListNode* position, ListNode* node) {
    ARIL_ASSERT(!node->is_linked());
    node->next_ = position;
    node->previous_ = position->previous_;
    position->previous_->next_ = node;
    position->previous_ = node;
  }

  ListNode head_;
};

}  // namespace aril
