#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <new>
#include <span>
#include <string_view>

#include "kernel/sched/mutex.hpp"
#include "kernel/vm/memory_object.hpp"

namespace aril {

class IoBuffer;

/// Where a page cache's contents come from and go to.
class PageBacking {
 public:
  virtual ~PageBacking() = default;
  /// A page of RAM that already holds these contents unchangingly (EROFS in RAM), used in place.
  /// Empty when there is none. Asked first.
  virtual PageRef in_place(uint64_t index) {
    (void)index;
    return {};
  }
  /// Fills `count` consecutive pages from `index` on; bytes past the end of the file become zero.
  virtual Result<void> read_pages(uint64_t index, std::span<PageRef> pages) = 0;
  virtual Result<void> write_page(uint64_t index, std::span<const std::byte, kPageSize> bytes) {
    (void)index;
    (void)bytes;
    return fail(Errno::kRoFs);
  }
  /// False: dirty pages have nowhere to go (an overlay in memory). They stay, and writing back is
  /// a no-op that succeeds.
  [[nodiscard]] virtual bool takes_write_back() const { return true; }
  /// Pages worth reading ahead at once.
  [[nodiscard]] virtual unsigned read_ahead_pages() const { return 16; }
};

/// One file's pages in memory. With a null backing (tmpfs, shared anonymous memory) missing pages
/// are zeroes and are never dropped. Clean backed pages are reclaimed when memory runs short.
class PageCache final : public MemoryObject {
 public:
  /// `backing` outlives the cache.
  static Result<RefPtr<PageCache>> create(PageBacking* backing, uint64_t size, const char* name);
  /// As above, and the cache owns its backing: mappings outlive whoever made the cache.
  static Result<RefPtr<PageCache>> create_owning(std::unique_ptr<PageBacking> backing,
                                                 uint64_t size, const char* name) {
    Result<RefPtr<PageCache>> cache = create(backing.get(), size, name);
    if (cache) (*cache)->owned_backing_ = std::move(backing);
    return cache;
  }
  ~PageCache() override;

  Result<PageRef> page(uint64_t index, PageAccess access) override;
  PageRef resident_page(uint64_t index) override;
  [[nodiscard]] bool tracks_writes() const override;
  /// As page(), but a missing page of a null-backed cache stays missing: an empty PageRef, a hole.
  Result<PageRef> page_or_hole(uint64_t index);
  [[nodiscard]] const char* name() const override {
    // Acquire pairs with set_name: the text is complete.
    const char* late = late_name_.text.load(std::memory_order_acquire);
    return late != nullptr ? late : name_.get();
  }
  /// Names a cache that was made before its path was known. The first name stays. No effect when
  /// memory is short.
  void set_name(std::string_view name);

  /// Copies from the bytes at `offset` on, at most to the end; the count, 0 at or past the end.
  /// An error only when nothing was copied. No lock is held while application memory is touched:
  /// the buffer may be a mapping of this same cache.
  Result<size_t> read(IoBuffer& buffer, uint64_t offset);
  /// Copies to the bytes at `offset` on, growing the cache if need be. The count; an error only
  /// when nothing was copied. The caller serialises with resize() and other writers.
  Result<size_t> write(IoBuffer& buffer, uint64_t offset);

  /// The size in bytes bounds page(). Shrinking drops pages, unmaps them everywhere and zeroes the
  /// tail of the last one.
  [[nodiscard]] uint64_t size() const;
  Result<void> resize(uint64_t size);
  /// Frees the pages wholly inside, zeroes the rest of the range (FALLOC_FL_PUNCH_HOLE).
  Result<void> punch_hole(uint64_t start, uint64_t end);
  /// Writes every dirty page to the backing; a no-op without one.
  Result<void> write_back() override;
  [[nodiscard]] bool has_mappings() const { return is_mapped(); }
  /// Drops clean, unmapped pages (POSIX_FADV_DONTNEED); the number freed.
  size_t drop_clean();
  [[nodiscard]] uint64_t resident_pages() const;

 private:
  template <typename T, typename... A>
  friend Result<RefPtr<T>> try_make_ref(A&&...);
  PageCache(PageBacking* backing, uint64_t size);

  enum class Bound : uint8_t { kSize, kNone };
  Result<PageRef> get(uint64_t index, PageAccess access, Bound bound);
  Result<void> enter(uint64_t index, PageRef page, uint64_t removals, PageAccess access);
  Result<void> read_missing(uint64_t index);
  Result<void> read_and_enter(uint64_t first, uint64_t count, uint64_t removals);
  void grow_locked(uint64_t size, uint64_t written_from);
  Result<void> zero_range(uint64_t start, uint64_t end);
  friend struct PageCacheShrinker;
  struct Implementation;
  struct LateName {
    std::atomic<char*> text{nullptr};
    ~LateName() { delete[] text.load(std::memory_order_relaxed); }
  };
  std::unique_ptr<PageBacking> owned_backing_;  // goes after the pages
  std::unique_ptr<Implementation> implementation_;
  std::unique_ptr<char[]> name_;
  LateName late_name_;
};

inline void PageCache::set_name(std::string_view name) {
  char* text = new (std::nothrow) char[name.size() + 1];
  if (text == nullptr) return;
  text[name.copy(text, name.size())] = '\0';
  char* expected = nullptr;
  // Release publishes the text with the pointer.
  if (!late_name_.text.compare_exchange_strong(expected, text, std::memory_order_release))
    delete[] text;
}

}  // namespace aril
