#include "store.hpp"

#include <stdlib.h>
#include <string.h>

namespace {

/// [FNV-1a]
uint64_t hash(const char* key) {
  uint64_t value = 0xcbf29ce484222325;
  for (; *key != '\0'; ++key) value = (value ^ static_cast<uint8_t>(*key)) * 0x100000001b3;
  return value ^ value >> 32;
}

}  // namespace

Item* Item::make(const char* key, size_t size) {
  size_t key_size = strlen(key);
  auto* item = static_cast<Item*>(malloc(sizeof(Item) + key_size + 1 + size));
  if (item == nullptr) return nullptr;
  *item = {};
  item->size = size;
  item->key_size = static_cast<uint16_t>(key_size);
  memcpy(item->bytes, key, key_size + 1);
  return item;
}

bool Store::start(size_t limit) {
  constexpr size_t kBytesPerBucket = 512;
  size_t buckets = 64;
  while (buckets < limit / kBytesPerBucket) buckets *= 2;
  buckets_ = static_cast<Item**>(calloc(buckets, sizeof(Item*)));
  mask_ = buckets - 1;
  limit_ = limit;
  return buckets_ != nullptr;
}

/// The pointer that leads to the key's item, or would.
Item** Store::place_of(const char* key) {
  Item** place = &buckets_[hash(key) & mask_];
  while (*place != nullptr && strcmp((*place)->key(), key) != 0) place = &(*place)->next_in_bucket;
  return place;
}

void Store::link_newest(Item* item) {
  item->newer = nullptr;
  item->older = newest_;
  (newest_ != nullptr ? newest_->newer : oldest_) = item;
  newest_ = item;
}

void Store::unlink_from_list(Item* item) {
  (item->newer != nullptr ? item->newer->older : newest_) = item->older;
  (item->older != nullptr ? item->older->newer : oldest_) = item->newer;
}

void Store::unlink(Item** place) {
  Item* item = *place;
  *place = item->next_in_bucket;
  unlink_from_list(item);
  bytes_ -= item->footprint();
  --count_;
  free(item);
}

void Store::make_room(size_t size) {
  while (oldest_ != nullptr && bytes_ + size > limit_) {
    unlink(place_of(oldest_->key()));
    ++evictions_;
  }
}

Item* Store::find(const char* key, uint32_t now) {
  Item** place = place_of(key);
  if (*place == nullptr) return nullptr;
  if ((*place)->expiry != 0 && (*place)->expiry <= now) {
    unlink(place);
    return nullptr;
  }
  Item* item = *place;
  unlink_from_list(item);
  link_newest(item);
  return item;
}

Store::Outcome Store::put(Item* item, Mode mode, uint64_t unique, uint32_t now) {
  Item* old = find(item->key(), now);
  Outcome outcome = Outcome::kStored;
  if (mode == Mode::kAdd && old != nullptr) outcome = Outcome::kNotStored;
  if ((mode == Mode::kReplace || mode == Mode::kAppend || mode == Mode::kPrepend) && old == nullptr)
    outcome = Outcome::kNotStored;
  if (mode == Mode::kCas && old == nullptr) outcome = Outcome::kNotFound;
  if (mode == Mode::kCas && old != nullptr && old->unique != unique) outcome = Outcome::kExists;
  if (outcome == Outcome::kStored && (mode == Mode::kAppend || mode == Mode::kPrepend)) {
    size_t size = old->size + item->size;
    Item* both = size <= kLargestValue ? Item::make(item->key(), size) : nullptr;
    if (both != nullptr) {
      bool append = mode == Mode::kAppend;
      memcpy(both->value(), (append ? old : item)->value(), (append ? old : item)->size);
      memcpy(both->value() + (append ? old : item)->size, (append ? item : old)->value(),
             (append ? item : old)->size);
      both->flags = old->flags;
      both->expiry = old->expiry;
    }
    free(item);
    item = both;
    if (item == nullptr) return Outcome::kTooLarge;
  }
  if (outcome == Outcome::kStored && item->footprint() > limit_) outcome = Outcome::kTooLarge;
  if (outcome != Outcome::kStored) {
    free(item);
    return outcome;
  }
  remove(item->key());
  make_room(item->footprint());
  Item** place = place_of(item->key());
  item->next_in_bucket = nullptr;
  item->unique = next_unique_++;
  *place = item;
  link_newest(item);
  bytes_ += item->footprint();
  ++count_;
  return outcome;
}

bool Store::remove(const char* key) {
  Item** place = place_of(key);
  if (*place == nullptr) return false;
  unlink(place);
  return true;
}

void Store::clear() {
  while (oldest_ != nullptr) unlink(place_of(oldest_->key()));
}
