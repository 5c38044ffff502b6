#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>

#include "arch/layout.hpp"
#include "base/flags.hpp"
#include "base/result.hpp"
#include "base/units.hpp"

namespace aril::arch {

enum class PageFlags : uint32_t {
  kNone = 0,
  kRead = 1u << 0,
  kWrite = 1u << 1,
  kExecute = 1u << 2,
  kUncached = 1u << 3,
  kGlobal = 1u << 4,  ///< the same in every address space (kernel mappings)
};
ARIL_FLAG_OPERATORS(PageFlags);

struct Translation {
  PhysicalAddress physical;
  PageFlags flags;
  bool accessed, dirty;
};

/// Whether a flush of application memory interrupts CPUs that are idle: they use none of it, and
/// forget all when they stop being idle, but may still walk the tables by themselves.
enum class IdleCpus : uint8_t { kLater, kToo };
/// Drops translations of [start, end) in the tree of this root on every CPU that has it loaded (for
/// kernel addresses: on every CPU), by IPI, waiting for them. Any thread; must not be called with
/// interrupts disabled unless this is the only CPU.
void flush_tlb(PhysicalAddress root, uint64_t start, uint64_t end,
               IdleCpus idle = IdleCpus::kLater);
/// In the tree that this CPU has loaded.
void flush_tlb(uint64_t start, uint64_t end);

/// What the tree of this root says about `address`, as a CPU's walker would read it: without the
/// owner's lock, which is why tables are only freed after a flush. Any context.
std::optional<Translation> translate(PhysicalAddress root, uint64_t address);
/// Whether that is a large page's entry.
bool is_large_page(PhysicalAddress root, uint64_t address);

inline constexpr uint64_t kLargePageSize = 2 * kMiB;

/// One page-table tree [SDM 3A 4.5]. Its upper half is the kernel's, shared by all trees. Not
/// synchronised: the owning AddressSpace's lock guards it. Table pages come from
/// kernel/memory's page allocator through the two hooks below.
class PageTable {
 public:
  /// A tree with an empty lower half; kNoMem.
  static Result<PageTable> create();
  /// The tree that boot made and the kernel threads use. Its owner is kernel/memory's heap, which
  /// guards changes by a lock of its own.
  static PageTable& kernel();
  /// Boot CPU, once, after the page allocator and before create() or any change of the kernel map:
  /// names boot's tree, and makes the table of the kernel map that all later trees share.
  static void set_kernel_root(PhysicalAddress root);

  PageTable(PageTable&& other) noexcept;
  PageTable& operator=(PageTable&& other) noexcept;
  /// Frees the lower half's tables, not the pages that they map. Waits for other CPUs (flush_tlb).
  /// A CPU that still has the tree loaded for a kernel thread keeps a valid, empty lower half: the
  /// root itself is only ever used again as a root.
  ~PageTable();

  /// Maps one 4 KiB page, replacing what was there. Does not flush the TLB when the entry was
  /// empty; the caller flushes when it was not. kNoMem.
  Result<void> map(uint64_t address, PhysicalAddress physical, PageFlags flags);
  /// As map for kLargePageSize, both addresses aligned to it. In the lower half the other functions
  /// take its parts for pages of their own: what touches one part splits it first, for which the
  /// table is set aside here, so that splitting cannot fail. kNoMem; kExist when a table for
  /// smaller pages is there.
  Result<void> map_large(uint64_t address, PhysicalAddress physical, PageFlags flags);
  /// Makes a large page of the 2 MiB at `address`, aligned to it, whose entries map one aligned
  /// block in order and with the same flags; false, with nothing changed, when they do not. What
  /// the entries hold the large page holds. Lower half only. Flushes the TLB: waits for other CPUs.
  bool join_large(uint64_t address);
  [[nodiscard]] bool is_large(uint64_t address) const;
  /// Changes the permissions of a page that is mapped; nothing when it is not. A page without any
  /// permission stays held by its entry (query and unmap find it) but faults on every access.
  void protect(uint64_t address, PageFlags flags);
  /// As protect for the whole of a large page, which stays one.
  void protect_large(uint64_t address, PageFlags flags);
  /// Unmaps; returns what was there.
  std::optional<Translation> unmap(uint64_t address);
  /// Unmaps the whole of a large page; returns where it lay.
  PhysicalAddress unmap_large(uint64_t address);
  [[nodiscard]] std::optional<Translation> query(uint64_t address) const;
  /// The first page address >= `from` and < `end` whose entry holds a page, so that walks over
  /// sparse gigabytes skip what was never touched; `end` when there is none.
  [[nodiscard]] uint64_t next_present(uint64_t from, uint64_t end) const;
  /// Frees the tables for addresses in [start, end) that serve nothing outside [floor, ceiling),
  /// all of which is unmapped. Flushes the TLB if there were any. Lower half only.
  void free_tables(uint64_t start, uint64_t end, uint64_t floor, uint64_t ceiling);
  void clear_accessed_dirty(uint64_t address);

  /// Makes this the current CPU's tree. Interrupts disabled.
  void activate();
  /// Drops what CPUs remember of [start, end) in this tree (flush_tlb).
  void flush(uint64_t start, uint64_t end) const { flush_tlb(root_, start, end); }
  [[nodiscard]] PhysicalAddress root() const { return root_; }

 private:
  explicit PageTable(PhysicalAddress root) : root_(root) {}
  void split_large(uint64_t address);

  PhysicalAddress root_;
  /// Tables set aside for splits, one for each large page, linked through their first entries.
  PhysicalAddress spare_tables_ = 0;
};

/// Around halting: this CPU runs nothing of an application in between. Interrupts disabled.
void begin_idle();
void end_idle();

/// Defined by kernel/memory: one zeroed page for a table, or kNoMem; and its return.
Result<PhysicalAddress> allocate_table_page();
void free_table_page(PhysicalAddress page);

}  // namespace aril::arch
