#pragma once
#include <stddef.h>
#include <stdint.h>

/// A key and its value, in one piece of memory.
struct Item {
  Item* next_in_bucket;
  Item* newer;
  Item* older;
  size_t size;  ///< of the value
  uint64_t unique;
  uint32_t flags;
  uint32_t expiry;  ///< in the clock of Store::find's `now`; 0: never
  uint16_t key_size;
  char bytes[];  ///< the key, a NUL, the value

  [[nodiscard]] const char* key() const { return bytes; }
  [[nodiscard]] char* value() { return bytes + key_size + 1; }
  [[nodiscard]] size_t footprint() const { return sizeof(Item) + key_size + 1 + size; }

  /// Null when memory is short. `free` ends it.
  static Item* make(const char* key, size_t size);
};

/// A hash table whose items also stand in a list by their last use.
class Store {
 public:
  static constexpr size_t kLongestKey = 250, kLargestValue = 1 << 20;

  enum class Mode { kSet, kAdd, kReplace, kAppend, kPrepend, kCas };
  enum class Outcome { kStored, kNotStored, kExists, kNotFound, kTooLarge };

  /// Once. `limit`: bytes of all items. False when there is no memory for the table.
  bool start(size_t limit);

  /// Null when there is no such item, or it has expired. Counts as use.
  Item* find(const char* key, uint32_t now);
  /// Takes `item` over, whatever the outcome. `unique`: for kCas, what the item must still have.
  Outcome put(Item* item, Mode mode, uint64_t unique, uint32_t now);
  bool remove(const char* key);
  void clear();

  [[nodiscard]] size_t count() const { return count_; }
  [[nodiscard]] size_t bytes() const { return bytes_; }
  [[nodiscard]] size_t limit() const { return limit_; }
  [[nodiscard]] uint64_t evictions() const { return evictions_; }

 private:
  Item** place_of(const char* key);
  void unlink(Item** place);
  void link_newest(Item* item);
  void unlink_from_list(Item* item);
  void make_room(size_t size);

  Item** buckets_ = nullptr;
  size_t mask_ = 0;
  Item* newest_ = nullptr;
  Item* oldest_ = nullptr;
  size_t count_ = 0, bytes_ = 0, limit_ = 0;
  uint64_t next_unique_ = 1, evictions_ = 0;
};
