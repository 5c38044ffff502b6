#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <span>

#include "kernel/vm/memory_object.hpp"
#include "kernel/sched/mutex.hpp"

namespace aril {

/// Where a page cache's contents come from and go to.
class PageBacking {
 public:
  virtual ~PageBacking() = default;
  /// A page of RAM that already holds these contents unchangingly (EROFS in RAM), used in place.
  /// Empty when there is none. Asked first.
  virtual PageRef in_place(uint64_t index) { (void)index; return {}; }
  /// Fills `count` consecutive pages from `index` on; bytes past the end of the file become zero.
  virtual Result<void> read_pages(uint64_t index, std::span<PageRef> pages) = 0;
  virtual Result<void> write_page(uint64_t index, std::span<const std::byte, kPageSize> bytes) {
    (void)index; (void)bytes;
    return fail(Errno::kRoFs);
  }
  /// Pages worth reading ahead at once.
  [[nodiscard]] virtual unsigned read_ahead_pages() const { return 16; }
};

/// One file's pages in memory. With a null backing (tmpfs, shared anonymous memory) missing pages
/// are zeroes and are never dropped. Clean backed pages are reclaimed when memory runs short.
class PageCache final : public MemoryObject {
 public:
  /// `backing` outlives the cache.
  static Result<RefPtr<PageCache>> create(PageBacking* backing, uint64_t size, const char* name);
  ~PageCache() override;

  Result<PageRef> page(uint64_t index, PageAccess access) override;
  /// As page(), but a missing page of a null-backed cache stays missing: an empty PageRef, a hole.
  Result<PageRef> page_or_hole(uint64_t index);
  [[nodiscard]] const char* name() const override { return name_.get(); }

  /// The size in bytes bounds page(). Shrinking drops pages, unmaps them everywhere and zeroes the
  /// tail of the last one.
  [[nodiscard]] uint64_t size() const;
  Result<void> resize(uint64_t size);
  /// Frees the pages wholly inside, zeroes the rest of the range (FALLOC_FL_PUNCH_HOLE).
  Result<void> punch_hole(uint64_t start, uint64_t end);
  Result<void> write_back();
  [[nodiscard]] uint64_t resident_pages() const;

 private:
  friend class RefPtr<PageCache>;
  template <typename T, typename... A> friend Result<RefPtr<T>> try_make_ref(A&&...);
  PageCache(PageBacking* backing, uint64_t size);
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
  std::unique_ptr<char[]> name_;
};

}  // namespace aril
