#pragma once
#include <atomic>

#include "client.hpp"
#include "kernel/sync/spin_lock.hpp"
#include "kernel/vm/page_cache.hpp"

namespace aril::ninep {

/// What an inode and its page cache both know; the cache may live longer.
struct FileState final : RefCounted {
  std::atomic<uint64_t> size{0};
};

/// Fills a file's page cache from the server and writes its changed pages there. A page's bytes
/// beyond the end of the file are not written.
class FileBacking final : public PageBacking {
 public:
  FileBacking(RefPtr<Client> client, RefPtr<FileState> state)
      : client_(std::move(client)), state_(std::move(state)) {}

  /// Open fids for reading and, when not null, for writing. The first of each stays.
  void add_fids(const RefPtr<Fid>& reader, const RefPtr<Fid>& writer);

  Result<void> read_pages(uint64_t index, std::span<PageRef> pages) override;
  Result<void> write_page(uint64_t index, std::span<const std::byte, kPageSize> bytes) override;

 private:
  RefPtr<Fid> reader();
  RefPtr<Fid> writer();

  const RefPtr<Client> client_;
  const RefPtr<FileState> state_;
  SpinLock lock_{LockRank::kSpinLeaf};
  RefPtr<Fid> reader_, writer_;
};

}  // namespace aril::ninep
