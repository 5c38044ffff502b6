#pragma once
#include <atomic>

#include "abi.hpp"
#include "kernel/vm/memory_object.hpp"

namespace aril::linux_abi::io_uring {

/// The counters at the start of the memory that kernel and application share; each side's own word
/// has a cache line of its own. Everything in here may be overwritten by the application at any
/// time: sizes and masks are never read back.
struct RingHeader {
  alignas(64) std::atomic<uint32_t> sq_head;
  alignas(64) std::atomic<uint32_t> sq_tail;
  alignas(64) std::atomic<uint32_t> cq_head;
  alignas(64) std::atomic<uint32_t> cq_tail;
  alignas(64) uint32_t sq_ring_mask;
  uint32_t cq_ring_mask, sq_ring_entries, cq_ring_entries;
  std::atomic<uint32_t> sq_dropped, sq_flags, cq_flags, cq_overflow;
};
static_assert(sizeof(RingHeader) == 320);

/// The memory that an application maps: header, completions and index array as one block, the
/// submission entries as another. mmap's offset chooses [io_uring_setup(2)].
class RingMemory final : public MemoryObject {
 public:
  /// Both powers of two. kNoMem.
  static Result<RefPtr<RingMemory>> create(uint32_t sq_entries, uint32_t cq_entries);
  ~RingMemory() override;

  Result<PageRef> page(uint64_t index, PageAccess access) override;
  [[nodiscard]] bool tracks_writes() const override { return false; }
  [[nodiscard]] const char* name() const override { return "anon_inode:[io_uring]"; }

  [[nodiscard]] RingHeader& header() const { return *header_; }
  [[nodiscard]] Completion* completions() const { return completions_; }
  [[nodiscard]] std::atomic<uint32_t>* array() const { return array_; }
  [[nodiscard]] const Submission* submissions() const { return submissions_; }
  void describe(Parameters& parameters) const;

 private:
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  RingMemory() = default;

  struct Block {
    PhysicalAddress start = 0;
    size_t pages = 0;
  };
  static Result<Block> allocate(size_t bytes);
  static void release(const Block& block);

  Block rings_, entries_;
  RingHeader* header_ = nullptr;
  Completion* completions_ = nullptr;
  std::atomic<uint32_t>* array_ = nullptr;
  const Submission* submissions_ = nullptr;
};

}  // namespace aril::linux_abi::io_uring
