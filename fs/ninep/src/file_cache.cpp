#include "file_cache.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace aril::ninep {

void FileBacking::add_fids(const RefPtr<Fid>& reader, const RefPtr<Fid>& writer) {
  LockGuard hold(lock_);
  if (!reader_) reader_ = reader;
  if (!writer_) writer_ = writer;
}

RefPtr<Fid> FileBacking::reader() {
  LockGuard hold(lock_);
  return reader_;
}
RefPtr<Fid> FileBacking::writer() {
  LockGuard hold(lock_);
  return writer_;
}

Result<void> FileBacking::read_pages(uint64_t index, std::span<PageRef> pages) {
  RefPtr<Fid> fid = reader();
  if (!fid) return fail(Errno::kIo);
  constexpr size_t kBatch = 32;  // 128 KiB
  while (!pages.empty()) {
    std::array<Client::Segment, kBatch> segments;
    size_t batch = std::min(pages.size(), kBatch);
    for (size_t i = 0; i < batch; ++i)
      segments[i] = {pages[i]->physical(), static_cast<uint32_t>(kPageSize)};
    size_t total = batch * kPageSize, done = 0;
    while (done < total) {
      // A short answer in the middle of a page: the rest of that page comes next.
      size_t first = done / kPageSize;
      segments[first] = {pages[first]->physical() + done % kPageSize,
                         static_cast<uint32_t>(kPageSize - done % kPageSize)};
      size_t got = ARIL_TRY(client_->read(*fid, index * kPageSize + done,
                                          std::span(segments).subspan(first, batch - first)));
      if (got == 0) break;  // the end of the file
      done += got;
    }
    for (; done < total; done += kPageSize - done % kPageSize)
      std::memset(pages[done / kPageSize]->data() + done % kPageSize, 0,
                  kPageSize - done % kPageSize);
    pages = pages.subspan(batch);
    index += batch;
  }
  return {};
}

Result<void> FileBacking::write_page(uint64_t index, std::span<const std::byte, kPageSize> bytes) {
  RefPtr<Fid> fid = writer();
  if (!fid) return fail(Errno::kIo);
  uint64_t start = index * kPageSize;
  uint64_t size = state_->size.load(std::memory_order_relaxed);
  size_t count = start < size ? std::min<uint64_t>(kPageSize, size - start) : 0;
  for (size_t done = 0; done < count;) {
    Client::Segment segment{arch::virtual_to_physical(bytes.data()) + done,
                            static_cast<uint32_t>(count - done)};
    size_t written = ARIL_TRY(client_->write(*fid, start + done, std::span(&segment, 1)));
    if (written == 0) return fail(Errno::kIo);
    done += written;
  }
  return {};
}

}  // namespace aril::ninep
