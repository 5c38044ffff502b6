#include "arch/page_table.hpp"

#include <atomic>
#include <utility>

#include "arch/cpu.hpp"
#include "base/assert.hpp"

// Entries as [SDM 3A 4.5, tables 4-15 to 4-20] define them.
namespace aril::arch {
namespace {

constexpr uint64_t kPresent = 1u << 0;
constexpr uint64_t kWritable = 1u << 1;
constexpr uint64_t kWriteThrough = 1u << 3;
constexpr uint64_t kCacheDisable = 1u << 4;
constexpr uint64_t kAccessed = 1u << 5;
constexpr uint64_t kDirty = 1u << 6;
constexpr uint64_t kLargePage = 1u << 7;
constexpr uint64_t kGlobalPage = 1u << 8;
// Ours, from the bits that the CPU ignores: the entry holds a page, present or not.
constexpr uint64_t kHeld = 1u << 9;
constexpr uint64_t kNoExecute = uint64_t{1} << 63;
constexpr uint64_t kAddressMask = 0x000f'ffff'ffff'f000;

constexpr unsigned kTopLevel = 3;
constexpr unsigned kEntries = 512;
constexpr uint64_t kTableFlags = kPresent | kWritable | kAccessed;

/// Bytes that one entry of a table at `level` spans; level 0 holds the 4 KiB pages.
constexpr uint64_t span_of(unsigned level) { return kPageSize << (9 * level); }
constexpr unsigned index_of(uint64_t address, unsigned level) {
  return static_cast<unsigned>(address >> (kPageShift + 9 * level)) % kEntries;
}
/// For entries of levels above 0: leads to a table.
constexpr bool is_table(uint64_t entry) {
  return (entry & kPresent) != 0 && (entry & kLargePage) == 0;
}

// A table page is an array of entries, which the CPU reads and marks meanwhile: hence atomics.
using Entry = std::atomic<uint64_t>;
static_assert(sizeof(Entry) == sizeof(uint64_t));
Entry* table_at(PhysicalAddress address) {
  return reinterpret_cast<Entry*>(physical_to_virtual(address));
}
Entry* child_of(uint64_t entry) { return table_at(entry & kAddressMask); }

// Entry accesses need no order of their own: the owner's lock orders software, and the CPU's walks
// are ordered by the flush that follows where it matters.
uint64_t load(const Entry& entry) { return entry.load(std::memory_order_relaxed); }
void store(Entry& entry, uint64_t value) { entry.store(value, std::memory_order_relaxed); }

uint64_t bits_of(PageFlags flags) {
  uint64_t bits = kHeld;
  if (has(flags, PageFlags::kRead | PageFlags::kWrite | PageFlags::kExecute)) bits |= kPresent;
  if (has(flags, PageFlags::kWrite)) bits |= kWritable;
  if (!has(flags, PageFlags::kExecute)) bits |= kNoExecute;
  if (has(flags, PageFlags::kUncached)) bits |= kCacheDisable | kWriteThrough;
  if (has(flags, PageFlags::kGlobal)) bits |= kGlobalPage;
  return bits;
}

Translation translation_of(uint64_t entry, uint64_t address, unsigned level) {
  PageFlags flags = PageFlags::kNone;
  if ((entry & kPresent) != 0) flags |= PageFlags::kRead;
  if ((entry & kPresent) != 0 && (entry & kWritable) != 0) flags |= PageFlags::kWrite;
  if ((entry & kPresent) != 0 && (entry & kNoExecute) == 0) flags |= PageFlags::kExecute;
  if ((entry & kCacheDisable) != 0) flags |= PageFlags::kUncached;
  if ((entry & kGlobalPage) != 0) flags |= PageFlags::kGlobal;
  // Bit 12 of a large page's entry is its PAT bit.
  uint64_t base = align_down(entry & kAddressMask, span_of(level));
  return {.physical = base + align_down(address % span_of(level), kPageSize),
          .flags = flags,
          .accessed = (entry & kAccessed) != 0,
          .dirty = (entry & kDirty) != 0};
}

/// The entry for `address` at `target`, with the tables on the way made; null: no memory, or a
/// large page is in the way.
Result<Entry*> make_path(PhysicalAddress root, uint64_t address, unsigned target) {
  Entry* table = table_at(root);
  for (unsigned level = kTopLevel; level > target; --level) {
    Entry& entry = table[index_of(address, level)];
    uint64_t value = load(entry);
    if (value == 0) {
      value = ARIL_TRY(allocate_table_page()) | kTableFlags;
      // Release: the CPU's walkers must see the zeroed table.
      entry.store(value, std::memory_order_release);
    } else if (!is_table(value)) {
      return fail(Errno::kExist);
    }
    table = child_of(value);
  }
  return &table[index_of(address, target)];
}

struct Leaf {
  Entry* entry;
  unsigned level;
};

/// The entry that decides about `address`, at whatever level it is; null when there is none.
Leaf find_leaf(PhysicalAddress root, uint64_t address) {
  Entry* table = table_at(root);
  for (unsigned level = kTopLevel;; --level) {
    Entry& entry = table[index_of(address, level)];
    uint64_t value = load(entry);
    if (value == 0) return {nullptr, level};
    if (level == 0 || !is_table(value)) return {&entry, level};
    table = child_of(value);
  }
}

/// Tables that were cut off, linked through their first entries until they may be freed. A link has
/// the present bit clear, so that a walk which is still under way finds nothing in it.
class CutTables {
 public:
  explicit CutTables(PhysicalAddress first = 0) : first_(first) {}
  void add(PhysicalAddress table) {
    store(table_at(table)[0], first_);
    first_ = table;
  }
  PhysicalAddress take() {
    PhysicalAddress table = first_;
    first_ = load(table_at(table)[0]);
    store(table_at(table)[0], 0);
    return table;
  }
  [[nodiscard]] bool empty() const { return first_ == 0; }
  [[nodiscard]] PhysicalAddress first() const { return first_; }
  void free_all() {
    while (first_ != 0) {
      PhysicalAddress table = first_;
      first_ = load(table_at(table)[0]);
      free_table_page(table);
    }
  }

 private:
  PhysicalAddress first_ = 0;
};

struct Bounds {
  uint64_t start, end;      // the entries to look at
  uint64_t floor, ceiling;  // what is unmapped
};

void cut_tables(Entry* table, unsigned level, uint64_t base, const Bounds& bounds, CutTables& cut) {
  unsigned first = bounds.start > base ? index_of(bounds.start, level) : 0;
  for (unsigned i = first; i < kEntries; ++i) {
    uint64_t entry_base = base + i * span_of(level);
    if (entry_base >= bounds.end) return;
    uint64_t value = load(table[i]);
    if (!is_table(value)) continue;
    if (level > 1) cut_tables(child_of(value), level - 1, entry_base, bounds, cut);
    if (bounds.floor <= entry_base && entry_base + span_of(level) <= bounds.ceiling) {
      store(table[i], 0);
      cut.add(value & kAddressMask);
    }
  }
}

/// Roots of destroyed trees, their lower halves empty but for the link in the first entry. They are
/// never freed: a CPU that runs a kernel thread may still have one loaded.
class RootPool {
 public:
  PhysicalAddress take() {
    Section section(*this);
    PhysicalAddress root = first_;
    if (root != 0) {
      first_ = load(table_at(root)[0]);
      store(table_at(root)[0], 0);
    }
    return root;
  }
  void put(PhysicalAddress root) {
    Section section(*this);
    store(table_at(root)[0], first_);
    first_ = root;
  }

 private:
  // arch/ lies below the kernel's SpinLock.
  struct Section {
    explicit Section(RootPool& owner) : pool(owner) {
      while (pool.locked_.exchange(true, std::memory_order_acquire)) relax();
    }
    ~Section() { pool.locked_.store(false, std::memory_order_release); }
    InterruptGuard interrupts;
    RootPool& pool;
  };
  std::atomic<bool> locked_{false};
  PhysicalAddress first_ = 0;
};

constinit RootPool root_pool;
// Not destroyed at exit: the kernel's tree has no lower half of its own to free.
alignas(PageTable) constinit std::byte kernel_tree_storage[sizeof(PageTable)] = {};
constinit PageTable* kernel_tree = nullptr;
constexpr unsigned kUpperHalf = kEntries / 2;
constexpr uint64_t kLowerEnd = kUpperHalf * span_of(kTopLevel);
static_assert(kLargePageSize == span_of(1));

/// A large page of an application, whose parts are pages of their own.
bool is_divisible(uint64_t address, unsigned level) { return level == 1 && address < kLowerEnd; }

}  // namespace

std::optional<Translation> translate(PhysicalAddress root, uint64_t address) {
  auto [entry, level] = find_leaf(root, address);
  if (entry == nullptr) return std::nullopt;
  uint64_t value = load(*entry);
  if (value == 0) return std::nullopt;
  return translation_of(value, address, level);
}

bool is_large_page(PhysicalAddress root, uint64_t address) {
  auto [entry, level] = find_leaf(root, address);
  return entry != nullptr && level == 1 && load(*entry) != 0;
}

PageTable& PageTable::kernel() {
  ARIL_ASSERT(kernel_tree != nullptr);
  return *kernel_tree;
}

void PageTable::set_kernel_root(PhysicalAddress root) {
  kernel_tree = new (kernel_tree_storage) PageTable(root);
  // The kernel map is one entry of the root; with its table made now, trees that copy the upper
  // half share all that is ever mapped there.
  static_assert(kKernelMapTop - kKernelMapBase == span_of(kTopLevel));
  Result<Entry*> entry = make_path(root, kKernelMapBase, kTopLevel - 1);
  ARIL_ASSERT(entry.has_value());
}

Result<PageTable> PageTable::create() {
  PhysicalAddress root = root_pool.take();
  if (root == 0) root = ARIL_TRY(allocate_table_page());
  Entry* entries = table_at(root);
  const Entry* kernel_entries = table_at(kernel().root());
  for (unsigned i = kUpperHalf; i < kEntries; ++i) store(entries[i], load(kernel_entries[i]));
  return PageTable(root);
}

PageTable::PageTable(PageTable&& other) noexcept
    : root_(std::exchange(other.root_, 0)), spare_tables_(std::exchange(other.spare_tables_, 0)) {}

PageTable& PageTable::operator=(PageTable&& other) noexcept {
  std::swap(root_, other.root_);
  std::swap(spare_tables_, other.spare_tables_);
  return *this;
}

PageTable::~PageTable() {
  if (root_ == 0) return;
  free_tables(0, kLowerEnd, 0, kLowerEnd);
  root_pool.put(root_);
}

Result<void> PageTable::map(uint64_t address, PhysicalAddress physical, PageFlags flags) {
  Entry* entry = ARIL_TRY(make_path(root_, address, 0));
  store(*entry, physical | bits_of(flags));
  return {};
}

Result<void> PageTable::map_large(uint64_t address, PhysicalAddress physical, PageFlags flags) {
  ARIL_ASSERT(is_aligned(address | physical, kLargePageSize));
  Entry* entry = ARIL_TRY(make_path(root_, address, 1));
  if (is_table(load(*entry))) return fail(Errno::kExist);
  if (is_divisible(address, 1)) {
    CutTables spares(spare_tables_);
    spares.add(ARIL_TRY(allocate_table_page()));
    spare_tables_ = spares.first();
  }
  store(*entry, physical | bits_of(flags) | kLargePage);
  return {};
}

bool PageTable::join_large(uint64_t address) {
  Leaf first = find_leaf(root_, address);
  ARIL_ASSERT(is_aligned(address, kLargePageSize) && address < kLowerEnd);
  if (first.entry == nullptr || first.level != 0) return false;
  constexpr uint64_t kTouched = kAccessed | kDirty;
  uint64_t expected = load(*first.entry) | kTouched;
  if (!is_aligned(expected & kAddressMask, kLargePageSize)) return false;
  for (unsigned i = 0; i < kEntries; ++i) {
    if ((load(first.entry[i]) | kTouched) != expected + i * kPageSize) return false;
  }
  // Accessed and dirty, as parts of it may be.
  Entry* large = *make_path(root_, address, 1);
  PhysicalAddress table = load(*large) & kAddressMask;
  store(*large, expected | kLargePage);
  // Before the table holds anything else, no CPU may walk it [SDM 3A 4.10.4.2].
  flush_tlb(root_, address, address + kLargePageSize, IdleCpus::kToo);
  CutTables spares(spare_tables_);
  spares.add(table);
  spare_tables_ = spares.first();
  return true;
}

bool PageTable::is_large(uint64_t address) const { return is_large_page(root_, address); }

/// Puts a table of 512 entries that say the same in place of a large page's entry. A CPU may go on
/// using what it remembers of the large page until the next flush of any address in it
/// [SDM 3A 4.10.4.1].
void PageTable::split_large(uint64_t address) {
  Entry* entry = find_leaf(root_, address).entry;
  CutTables spares(spare_tables_);
  PhysicalAddress table = spares.take();
  spare_tables_ = spares.first();
  uint64_t old = load(*entry);
  // The CPU may set the accessed and dirty bits meanwhile.
  do {
    for (unsigned i = 0; i < kEntries; ++i)
      store(table_at(table)[i], (old & ~kLargePage) + i * kPageSize);
    // Release: the CPU's walkers must see the filled table.
  } while (!entry->compare_exchange_weak(old, table | kTableFlags, std::memory_order_release,
                                         std::memory_order_relaxed));
}

void PageTable::protect_large(uint64_t address, PageFlags flags) {
  Entry* entry = find_leaf(root_, address).entry;
  constexpr uint64_t kKept = kAddressMask | kAccessed | kDirty | kLargePage;
  uint64_t old = load(*entry);
  while (!entry->compare_exchange_weak(old, (old & kKept) | bits_of(flags),
                                       std::memory_order_relaxed)) {}
}

PhysicalAddress PageTable::unmap_large(uint64_t address) {
  Leaf leaf = find_leaf(root_, address);
  ARIL_ASSERT(leaf.entry != nullptr && is_divisible(address, leaf.level));
  uint64_t old = leaf.entry->exchange(0, std::memory_order_relaxed);
  CutTables spares(spare_tables_);
  free_table_page(spares.take());
  spare_tables_ = spares.first();
  return align_down(old & kAddressMask, kLargePageSize);
}

void PageTable::protect(uint64_t address, PageFlags flags) {
  auto [entry, level] = find_leaf(root_, address);
  if (entry == nullptr) return;
  if (is_divisible(address, level)) {
    split_large(address);
    entry = find_leaf(root_, address).entry;
  }
  constexpr uint64_t kKept = kAddressMask | kAccessed | kDirty | kLargePage;
  uint64_t old = load(*entry);
  if (old == 0) return;
  // The CPU may set the accessed and dirty bits meanwhile.
  while (!entry->compare_exchange_weak(old, (old & kKept) | bits_of(flags),
                                       std::memory_order_relaxed)) {}
}

std::optional<Translation> PageTable::unmap(uint64_t address) {
  auto [entry, level] = find_leaf(root_, address);
  if (entry == nullptr) return std::nullopt;
  if (is_divisible(address, level)) {
    split_large(address);
    entry = find_leaf(root_, address).entry;
    level = 0;
  }
  ARIL_ASSERT(level == 0);
  // Exchange: takes the dirty bit that the CPU may set until this very moment.
  uint64_t old = entry->exchange(0, std::memory_order_relaxed);
  if (old == 0) return std::nullopt;
  return translation_of(old, address, level);
}

std::optional<Translation> PageTable::query(uint64_t address) const {
  return translate(root_, address);
}

uint64_t PageTable::next_present(uint64_t from, uint64_t end) const {
  uint64_t address = align_down(from, kPageSize);
  while (address < end) {
    const Entry* table = table_at(root_);
    for (unsigned level = kTopLevel;; --level) {
      unsigned first = index_of(address, level), i = first;
      while (i < kEntries && load(table[i]) == 0) ++i;
      if (i != first) address = align_down(address, span_of(level)) + (i - first) * span_of(level);
      // Past the end of this table: start over at the address that follows it.
      if (i == kEntries || address >= end) break;
      uint64_t value = load(table[i]);
      if (level == 0 || !is_table(value)) return address;
      table = child_of(value);
    }
  }
  return end;
}

void PageTable::free_tables(uint64_t start, uint64_t end, uint64_t floor, uint64_t ceiling) {
  ARIL_ASSERT(end <= kLowerEnd && floor <= start && end <= ceiling);
  CutTables cut;
  cut_tables(table_at(root_), kTopLevel, 0, {start, end, floor, ceiling}, cut);
  if (cut.empty()) return;
  // Before the tables' pages hold anything else, no CPU may walk them [SDM 3A 4.10.4.2].
  flush_tlb(root_, start, end, IdleCpus::kToo);
  cut.free_all();
}

void PageTable::clear_accessed_dirty(uint64_t address) {
  auto [entry, level] = find_leaf(root_, address);
  if (entry != nullptr) entry->fetch_and(~(kAccessed | kDirty), std::memory_order_relaxed);
}

}  // namespace aril::arch
