#include "fs/vfs/dentry.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>

#include "kernel/random/random.hpp"

namespace aril::vfs {
namespace {

/// Names are at most 255 bytes, so that they can be copied out under the cache's lock.
struct NameCopy {
  std::array<char, 256> bytes;
  size_t length = 0;
  void assign(std::string_view name) {
    length = std::min(name.size(), bytes.size());
    std::memcpy(bytes.data(), name.data(), length);
  }
};

}  // namespace

// A chain of removed directories is held together only by its members: it is taken down in a loop,
// because one as deep as an application likes must not become recursion on the kernel's stack.
Dentry::~Dentry() {
  Dentry* parent = parent_.leak();
  while (parent != nullptr && parent->drop_ref()) {
    Dentry* next = parent->parent_.leak();
    delete parent;
    parent = next;
  }
}

DentryCache::DentryCache() : seed_(random::next_u64() | 1) {}

DentryCache::~DentryCache() { clear(); }

void DentryCache::clear() {
  root_.reset();
  while (Dentry* dentry = by_age_.front()) {
    unhash_locked(*dentry);
    RefPtr<Dentry> drop = adopt_ref(dentry);
  }
}

Result<RefPtr<Dentry>> DentryCache::make_root(RefPtr<Inode> inode) {
  ARIL_ASSERT(!root_);
  buckets_.reset(new (std::nothrow) Dentry* [kInitialBuckets] {});
  if (!buckets_) return fail(Errno::kNoMem);
  bucket_count_ = kInitialBuckets;
  root_ = ARIL_TRY(try_make_ref<Dentry>(std::move(inode), std::string()));
  root_->is_root_ = true;
  return root_;
}

Result<RefPtr<Dentry>> DentryCache::make_unnamed(RefPtr<Inode> inode, std::string_view name) {
  RefPtr<Dentry> dentry = ARIL_TRY(try_make_ref<Dentry>(std::move(inode), std::string(name)));
  dentry->is_root_ = true;
  return dentry;
}

// Eight bytes a step, each mixed in by both halves of a product with a secret, so that an
// application cannot aim names at one bucket.
uint64_t DentryCache::hash_of(const Dentry& parent, std::string_view name) const {
  auto word = [](const char* bytes, size_t size) {
    uint64_t value = 0;
    std::memcpy(&value, bytes, size);
    return value;
  };
  uint64_t hash = reinterpret_cast<uint64_t>(&parent) ^ name.size();
  auto mix = [&](uint64_t value) {
    auto product = static_cast<unsigned __int128>(hash ^ value ^ kHashMix) * seed_;
    hash = static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  };
  const char* bytes = name.data();
  const size_t size = name.size();
  for (size_t at = 0; at + 8 < size; at += 8) mix(word(bytes + at, 8));
  // The rest, as two words that may overlap.
  if (size >= 8) {
    mix(word(bytes + size - 8, 8));
  } else if (size >= 4) {
    mix(word(bytes, 4) << 32 | word(bytes + size - 4, 4));
  } else if (size != 0) {
    mix(word(bytes, 1) << 16 | word(bytes + size / 2, 1) << 8 | word(bytes + size - 1, 1));
  }
  return hash;
}

Dentry* DentryCache::find_locked(const Dentry& parent, std::string_view name, uint64_t hash) {
  for (Dentry* dentry = buckets_[hash & (bucket_count_ - 1)]; dentry != nullptr;
       dentry = dentry->next_in_bucket_) {
    if (dentry->hash_ == hash && dentry->parent_ == &parent && dentry->name_ == name) return dentry;
  }
  return nullptr;
}

RefPtr<Dentry> DentryCache::find(const Dentry& parent, std::string_view name) {
  uint64_t hash = hash_of(parent, name);
  LockGuard guard(lock_);
  Dentry* dentry = find_locked(parent, name, hash);
  if (dentry == nullptr) return nullptr;
  dentry->is_used_ = true;
  return RefPtr<Dentry>(dentry);
}

void DentryCache::insert_locked(Dentry& dentry) {
  Dentry*& bucket = buckets_[dentry.hash_ & (bucket_count_ - 1)];
  dentry.next_in_bucket_ = bucket;
  bucket = &dentry;
  dentry.hashed_ = true;
  by_age_.push_back(dentry);
  ++count_;
}

// The cache's own reference passes to the caller, who drops it without the lock.
bool DentryCache::unhash_locked(Dentry& dentry) {
  if (!dentry.hashed_) return false;
  Dentry** link = &buckets_[dentry.hash_ & (bucket_count_ - 1)];
  while (*link != &dentry) link = &(*link)->next_in_bucket_;
  *link = dentry.next_in_bucket_;
  dentry.next_in_bucket_ = nullptr;
  dentry.hashed_ = false;
  by_age_.remove(dentry);
  --count_;
  return true;
}

Result<RefPtr<Dentry>> DentryCache::add(Dentry& parent, std::string_view name, RefPtr<Inode> inode,
                                        bool cached) {
  RefPtr<Dentry> dentry = ARIL_TRY(try_make_ref<Dentry>(std::move(inode), std::string(name)));
  dentry->parent_ = RefPtr<Dentry>(&parent);
  if (!cached) return dentry;
  dentry->hash_ = hash_of(parent, name);
  grow_if_needed();
  RefPtr<Dentry> old;
  {
    LockGuard guard(lock_);
    if (Dentry* existing = find_locked(parent, name, dentry->hash_)) {
      unhash_locked(*existing);
      old = adopt_ref(existing);
    }
    dentry->add_ref();
    insert_locked(*dentry);
  }
  trim();
  return dentry;
}

Result<RefPtr<Dentry>> DentryCache::add_unnamed(Dentry& parent, std::string_view label,
                                                RefPtr<Inode> inode) {
  RefPtr<Dentry> dentry = ARIL_TRY(add(parent, label, std::move(inode), false));
  dentry->deleted_.store(true, std::memory_order_relaxed);
  return dentry;
}

void DentryCache::remove_deleted(Dentry& dentry) {
  LockGuard guard(lock_);
  dentry.deleted_.store(true, std::memory_order_relaxed);
  // The caller holds a reference too, so this is never the last one.
  if (unhash_locked(dentry)) ARIL_ASSERT(!dentry.drop_ref());
}

Result<void> DentryCache::move(Dentry& moved, Dentry& new_parent, std::string_view new_name,
                               Dentry* replaced, bool exchange) {
  std::string name(new_name);
  std::string old_name = exchange ? name_of(moved) : std::string();
  RefPtr<Dentry> parent(&new_parent);
  RefPtr<Dentry> dropped;
  LockGuard guard(lock_);
  uint64_t hash = hash_of(new_parent, name);
  // A negative entry, or (not exchanging) the file that was there.
  if (Dentry* existing = find_locked(new_parent, name, hash); existing && existing != &moved) {
    unhash_locked(*existing);
    dropped = adopt_ref(existing);
  }
  bool was_hashed = unhash_locked(moved);
  std::swap(moved.name_, name);
  std::swap(moved.parent_, parent);
  if (exchange) {
    // `parent` now holds the old place, which the other one takes.
    replaced->name_ = std::move(old_name);
    std::swap(replaced->parent_, parent);
    replaced->hash_ = hash_of(*replaced->parent_, replaced->name_);
    if (dropped == replaced) {
      insert_locked(*dropped.leak());
    }
  } else if (replaced != nullptr) {
    replaced->deleted_.store(true, std::memory_order_relaxed);
  }
  moved.hash_ = hash;
  if (was_hashed) insert_locked(moved);
  return {};
}

void DentryCache::forget(Dentry& parent, std::string_view name) {
  uint64_t hash = hash_of(parent, name);
  RefPtr<Dentry> dropped;
  LockGuard guard(lock_);
  if (Dentry* dentry = find_locked(parent, name, hash)) {
    unhash_locked(*dentry);
    dropped = adopt_ref(dentry);
  }
}

void DentryCache::grow_if_needed() {
  if (count_ < bucket_count_ * 2) return;
  size_t new_count = bucket_count_ * 4;
  std::unique_ptr<Dentry*[]> buckets(new (std::nothrow) Dentry* [new_count] {});
  if (!buckets) return;
  LockGuard guard(lock_);
  for (Dentry& dentry : by_age_) {
    Dentry*& bucket = buckets[dentry.hash_ & (new_count - 1)];
    dentry.next_in_bucket_ = bucket;
    bucket = &dentry;
  }
  std::swap(buckets_, buckets);
  bucket_count_ = new_count;
}

// Drops unused entries, oldest first. One look at a bounded number keeps the time under the lock
// short; entries in use, or found since the last look, go to the young end.
void DentryCache::trim() {
  static constexpr size_t kBatch = 16;
  while (count_ > kUnusedLimit) {
    std::array<RefPtr<Dentry>, kBatch> dropped;
    size_t found = 0;
    {
      LockGuard guard(lock_);
      for (size_t i = 0; i < kBatch && !by_age_.empty(); ++i) {
        Dentry& oldest = *by_age_.front();
        if (oldest.ref_count() == 1 && !std::exchange(oldest.is_used_, false)) {
          unhash_locked(oldest);
          dropped[found++] = adopt_ref(&oldest);
        } else {
          by_age_.remove(oldest);
          by_age_.push_back(oldest);
        }
      }
    }
    if (found == 0) return;
  }
}

void DentryCache::shrink() {
  // Dropping a leaf may make its parent unused, so passes go on while they find something.
  for (;;) {
    RefPtr<Dentry> dropped;
    {
      LockGuard guard(lock_);
      for (Dentry& dentry : by_age_) {
        if (dentry.ref_count() != 1) continue;
        unhash_locked(dentry);
        dropped = adopt_ref(&dentry);
        break;
      }
    }
    if (!dropped) return;
  }
}

RefPtr<Dentry> DentryCache::parent_of(const Dentry& dentry) {
  LockGuard guard(lock_);
  return dentry.parent_;
}

std::string DentryCache::name_of(const Dentry& dentry) {
  NameCopy copy;
  {
    LockGuard guard(lock_);
    copy.assign(dentry.name_);
  }
  return std::string(copy.bytes.data(), copy.length);
}

bool DentryCache::is_ancestor(const Dentry& ancestor, const Dentry& dentry) {
  LockGuard guard(lock_);
  for (const Dentry* place = &dentry; place != nullptr; place = place->parent_.get())
    if (place == &ancestor) return true;
  return false;
}

}  // namespace aril::vfs
