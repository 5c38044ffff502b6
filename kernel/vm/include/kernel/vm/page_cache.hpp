#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string_view>

#include "base/time.hpp"
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
  /// A page is about to become dirty: where it will go is set aside. kNoSpc, kRoFs, kIo. Called
  /// without the cache's locks, also by page faults, so perhaps under any mutex below kJournal.
  virtual Result<void> prepare_write(uint64_t index) {
    (void)index;
    return {};
  }
  /// Writes consecutive pages out; `size` is the file's. Bytes past it are the backing's to zero.
  /// One call at a time.
  virtual Result<void> write_pages(uint64_t index, std::span<PageRef> pages, uint64_t size) {
    (void)size;
    for (PageRef& page : pages) {
      Result<void> written = write_page(index++, page->bytes());
      if (!written) return written;
    }
    return {};
  }
  virtual Result<void> write_page(uint64_t index, std::span<const std::byte, kPageSize> bytes) {
    (void)index;
    (void)bytes;
    return fail(Errno::kRoFs);
  }
  /// What was written out survives the end of the machine when it returns, with all that finding it
  /// again takes.
  virtual Result<void> make_durable() { return {}; }
  /// False: dirty pages have nowhere to go (an overlay in memory). They stay, and writing back is
  /// a no-op that succeeds.
  [[nodiscard]] virtual bool takes_write_back() const { return true; }
  /// Pages worth reading ahead at once.
  [[nodiscard]] virtual unsigned read_ahead_pages() const { return 16; }
};

/// How many pages caches without a backing may hold together: a file system in memory. Any context.
class PageQuota final : public RefCounted {
 public:
  explicit PageQuota(uint64_t limit) : limit_(limit) {}
  /// Takes one; false when there is none left.
  [[nodiscard]] bool take() {
    // Only a number: the pages themselves are guarded by their cache's lock.
    if (used_.fetch_add(1, std::memory_order_relaxed) < limit_) return true;
    give_back(1);
    return false;
  }
  void give_back(uint64_t pages) { used_.fetch_sub(pages, std::memory_order_relaxed); }
  [[nodiscard]] uint64_t available() const {
    uint64_t used = used_.load(std::memory_order_relaxed);
    return used >= limit_ ? 0 : limit_ - used;
  }

 private:
  const uint64_t limit_;
  std::atomic<uint64_t> used_{0};
};

/// One file's pages in memory. With a null backing (tmpfs, shared anonymous memory) missing pages
/// are zeroes and are never dropped. Clean backed pages are reclaimed when memory runs short.
///
/// A cache with dirty pages is kept alive until they are written out, by write_back() or in the
/// background (page_write_back below).
class PageCache final : public MemoryObject {
 public:
  /// `backing` outlives the cache.
  static Result<RefPtr<PageCache>> create(PageBacking* backing, uint64_t size, const char* name);
  /// Without a backing; its pages count towards `quota`: where that is used up, they cannot be
  /// written or touched through a mapping (kNoSpc).
  static Result<RefPtr<PageCache>> create_counted(RefPtr<PageQuota> quota);
  /// As the first, and the cache owns its backing: mappings outlive whoever made the cache.
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
  /// Takes the pages [first, last) out, dirty or not, as if they had never been read: the backing's
  /// contents have changed. Unmaps them everywhere.
  void drop_pages(uint64_t first, uint64_t last);
  /// msync: writes every dirty page out and makes it durable; a no-op without a backing.
  Result<void> write_back() override;
  /// Writes the dirty pages out. Each page once, however fast others make them dirty again. An
  /// error leaves its pages dirty. Thread context; no lock of rank kWriteBack or above.
  Result<void> write_dirty();
  /// Held while pages are on their way out: who changes where the backing keeps them takes it.
  Mutex& write_back_mutex();
  /// The file is deleted and nobody maps it: its dirty pages need not be written.
  void discard();
  [[nodiscard]] bool has_mappings() const { return is_mapped(); }
  /// When a mapping was last found to store (at the first store to a page since it was clean), if
  /// that was since the last call: the file's owner makes it the modification time.
  std::optional<Instant> take_store_time();
  /// The first page from `index` on that is in memory, dirty or not.
  [[nodiscard]] std::optional<uint64_t> next_resident(uint64_t index) const;
  /// Drops clean, unmapped pages (POSIX_FADV_DONTNEED); the number freed.
  size_t drop_clean();
  [[nodiscard]] uint64_t resident_pages() const;

 private:
  template <typename T, typename... A>
  friend Result<RefPtr<T>> try_make_ref(A&&...);
  PageCache(PageBacking* backing, uint64_t size);

  enum class Bound : uint8_t { kSize, kNone };
  Result<PageRef> get(uint64_t index, PageAccess access, Bound bound);
  Result<size_t> write_whole_page(IoBuffer& buffer, uint64_t index);
  Result<void> enter(uint64_t index, PageRef page, uint64_t removals, PageAccess access);
  Result<void> read_missing(uint64_t index);
  Result<void> read_and_enter(uint64_t first, uint64_t count, uint64_t removals);
  void grow_locked(uint64_t size, uint64_t written_from);
  Result<void> zero_range(uint64_t start, uint64_t end);
  friend struct PageCacheShrinker;
  friend struct DirtyCaches;
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

/// Dirty pages of all caches go to their backings in the background: every few seconds, and at once
/// when there are many. Writers wait when there are too many.
namespace page_write_back {

/// Once, in thread context, when the first file system that writes is mounted.
Result<void> start();
/// Called every few seconds after the pages were written, by the same thread: file systems commit.
/// For ever. At most a few.
void add_task(void (*task)(void* context), void* context);
/// Writes what is dirty now, of all caches. Thread context, no lock of rank kWriteBack or above.
void write_all();
/// Pages that wait to be written.
[[nodiscard]] uint64_t dirty_pages();

}  // namespace page_write_back

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
