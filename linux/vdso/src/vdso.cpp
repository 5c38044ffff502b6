#include "linux/vdso/vdso.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "arch/timer.hpp"
#include "base/units.hpp"
#include "kernel/sched/mutex.hpp"
#include "kernel/vm/page_cache.hpp"
#include "linux/abi/time.hpp"
#include "linux/vdso/vdso_data.hpp"

extern "C" const std::byte aril_vdso_image_start[], aril_vdso_image_end[];

namespace aril::linux_abi {
namespace {

/// The data page and, behind it, the image: shared by all processes.
struct Vdso {
  Mutex mutex{LockRank::kMutexLeaf};
  RefPtr<PageCache> pages;
  std::atomic<VdsoData*> data{nullptr};
};
constinit Vdso vdso;

size_t image_size() { return size_t(aril_vdso_image_end - aril_vdso_image_start); }

Result<RefPtr<PageCache>> make_pages() {
  uint64_t size = kPageSize + align_up(image_size(), kPageSize);
  RefPtr<PageCache> pages = ARIL_TRY(PageCache::create(nullptr, size, "[vdso]"));
  for (size_t done = 0; done < image_size(); done += kPageSize) {
    PageRef page = ARIL_TRY(pages->page(1 + done / kPageSize, PageAccess::kWrite));
    std::memcpy(page->data(), aril_vdso_image_start + done,
                std::min(kPageSize, image_size() - done));
  }
  return pages;
}

Result<RefPtr<PageCache>> shared_pages() {
  {
    LockGuard guard(vdso.mutex);
    if (vdso.pages) return vdso.pages;
  }
  RefPtr<PageCache> pages = ARIL_TRY(make_pages());
  PageRef data = ARIL_TRY(pages->page(0, PageAccess::kWrite));
  {
    LockGuard guard(vdso.mutex);
    if (vdso.pages) return vdso.pages;
    vdso.pages = pages;
    // The cache is never destroyed, and a page of an unbacked cache never moves.
    vdso.data.store(reinterpret_cast<VdsoData*>(data->data()), std::memory_order_release);
  }
  update_vdso_clock();
  return pages;
}

MapRequest request_for(const RefPtr<PageCache>& pages, uint64_t first_page, uint64_t length) {
  MapRequest request;
  request.length = length;
  request.protection = Protection::kRead;
  request.object = pages;
  request.offset = first_page * kPageSize;
  return request;
}

}  // namespace

Result<uint64_t> map_vdso(AddressSpace& space) {
  RefPtr<PageCache> pages = ARIL_TRY(shared_pages());
  uint64_t size = pages->size();
  // Reserves both parts in one piece, then lays the image over its share.
  MapRequest whole = request_for(pages, 0, size);
  whole.sharing = Sharing::kShared;
  whole.label = "[vvar]";
  uint64_t start = ARIL_TRY(space.map(whole));
  MapRequest image = request_for(pages, 1, size - kPageSize);
  image.address = start + kPageSize;
  image.placement = MapRequest::Placement::kFixed;
  image.protection |= Protection::kExecute;
  image.label = "[vdso]";
  return space.map(image);
}

void update_vdso_clock() {
  VdsoData* data = vdso.data.load(std::memory_order_acquire);
  if (data == nullptr) return;
  LockGuard guard(vdso.mutex);
  arch::CycleScale scale = arch::cycle_scale();
  // Release and acquire in both directions: a reader that sees any new value sees the odd number.
  std::atomic_ref<uint32_t> sequence(data->sequence);
  sequence.fetch_add(1, std::memory_order_acq_rel);
  std::atomic_thread_fence(std::memory_order_release);
  data->usable = scale.usable ? 1 : 0;
  data->base_cycles = scale.base_cycles;
  data->base_ns = scale.base_ns;
  data->realtime_offset = realtime_offset_ns();
  data->multiplier = scale.multiplier;
  data->shift = scale.shift;
  sequence.fetch_add(1, std::memory_order_release);
}

void refresh_vdso_clock() {
  const VdsoData* data = vdso.data.load(std::memory_order_acquire);
  if (data == nullptr || data->usable != 0 || !arch::cycle_scale().usable) return;
  update_vdso_clock();
}

}  // namespace aril::linux_abi
