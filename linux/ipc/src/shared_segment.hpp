#pragma once
#include "ipc_object.hpp"
#include "kernel/vm/page_cache.hpp"

namespace aril::linux_abi::ipc {

/// A segment of shared memory: an object that address spaces map. How often it is attached is the
/// number of regions over it, so that fork, exec and exit count without a list of their own, and a
/// region that is split counts twice, as on Linux.
///
/// Life cycle: create(); in the table until IPC_RMID, and after that as long as it is attached.
class SharedSegment final : public MemoryObject {
 public:
  /// kInval outside [1, shmmax], kNoSpc over shmall, kNoMem.
  static Result<RefPtr<SharedSegment>> create(int key, uint64_t size, bool reserve);
  ~SharedSegment() override;

  Result<PageRef> page(uint64_t index, PageAccess access) override {
    return pages_->page(index, access);
  }
  PageRef resident_page(uint64_t index) override { return pages_->resident_page(index); }
  [[nodiscard]] bool tracks_writes() const override { return pages_->tracks_writes(); }
  [[nodiscard]] const char* name() const override { return pages_->name(); }

  [[nodiscard]] uint64_t size() const { return size_; }
  [[nodiscard]] uint64_t page_count() const;
  [[nodiscard]] uint64_t resident_pages() const { return pages_->resident_pages(); }

  /// Keeps it from going while shmat maps it.
  void pin();
  void unpin();
  /// IPC_RMID.
  void remove();

  Head ipc;
  // Under ipc.mutex.
  uint64_t attached = 0;
  int64_t attached_at = 0, detached_at = 0, changed_at = 0;
  int creator_pid = 0, last_pid = 0;

  static constexpr uint32_t kDestroyed = 01000, kLocked = 02000;  // SHM_DEST, SHM_LOCKED

 protected:
  void region_attached() override;
  void region_detached() override;

 private:
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  SharedSegment(RefPtr<PageCache> pages, uint64_t size) : size_(size), pages_(std::move(pages)) {}
  void destroy_if_unused();

  const uint64_t size_;
  RefPtr<PageCache> pages_;
  uint64_t pins_ = 0;
};

Table<SharedSegment>& shared_segments();
/// Of all segments together.
uint64_t shared_pages_in_use();

}  // namespace aril::linux_abi::ipc
