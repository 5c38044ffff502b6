#include <algorithm>
#include <atomic>

#include "arch/address_spaces.hpp"
#include "arch/startup.hpp"
#include "base/units.hpp"
#include "process.hpp"

// The host's mappings of this process are used as a translation buffer that software fills, as on
// MIPS: the page tables of arch/page_table.hpp say what is mapped where; a page that the host does
// not show yet arrives as SIGSEGV, is looked up there, and mapped. flush_tlb unmaps, or maps what
// is there instead now. What the host shows is therefore never more than what the tables say, and
// may be dropped at any time.
namespace aril::arch {
namespace {

// As Linux's mman.h.
constexpr uint64_t kProtRead = 1, kProtWrite = 2, kProtExecute = 4;
constexpr uint64_t kMapShared = 1, kMapFixed = 0x10, kMapPopulate = 0x8000;
constexpr uint64_t kNeighbours = 16;
constexpr uint64_t kMostPopulated = 8 * kPageSize;
constexpr uint64_t kMostSkipped = 2 * kPageSize;
constexpr unsigned kMostBlocks = 3;

/// One fill or flush at a time: what is filled was read from the tables after every flush that has
/// returned. Taken with interrupts disabled. A fill within a section of the same CPU's (its kernel
/// stack grew into a page not shown yet) goes ahead: it is about another address.
class Section {
 public:
  Section() {
    unsigned self = cpu_index() + 1;
    if (owner_.load(std::memory_order_relaxed) == self) return;
    unsigned nobody = 0;
    while (!owner_.compare_exchange_weak(nobody, self, std::memory_order_acquire)) {
      nobody = 0;
      relax();
    }
    owns_ = true;
  }
  ~Section() {
    if (owns_) owner_.store(0, std::memory_order_release);
  }
  Section(const Section&) = delete;
  Section& operator=(const Section&) = delete;

 private:
  static constinit std::atomic<unsigned> owner_;
  InterruptGuard interrupts_;
  bool owns_ = false;
};
constinit std::atomic<unsigned> Section::owner_{0};

/// The application's tree whose pages the host shows.
constinit std::atomic<PhysicalAddress> shown_root{0};

struct Window {
  uint64_t start, end;
};
constexpr Window kApplicationWindow{kApplicationBottom, kApplicationTop};
constexpr Window kKernelWindow{kKernelMapBase, kKernelMapTop};

/// A piece of the tables that one mapping of the host can show.
struct Run {
  uint64_t start, end;
  PhysicalAddress physical;
  PageFlags flags;
};

/// What the host was last made to show, and nothing was dropped since. Guarded by Section.
constinit Run last_shown{};

void drop(uint64_t start, uint64_t end) {
  last_shown = {};
  static_cast<void>(host_call(HostCall::kMunmap, start, end - start));
}

void drop_all_of_application() { drop(kApplicationWindow.start, kApplicationWindow.end); }

void drop_within(const Window& window, uint64_t start, uint64_t end) {
  start = std::max(align_down(start, kPageSize), window.start);
  end = std::min(align_up(end, kPageSize), window.end);
  while (start < end) {
    uint64_t length = std::min(end - start, kProcessLongestMapping);
    drop(start, start + length);
    start += length;
  }
}

/// Programs that end, and those that give back a reservation of terabytes, drop pieces that lie far
/// apart: showing the rest again costs less than thousands of calls.
void drop_of_application(uint64_t start, uint64_t end) {
  constexpr uint64_t kMost = 16 * kProcessLongestMapping;
  if (end - start > kMost) return drop_all_of_application();
  drop_within(kApplicationWindow, start, end);
}

constexpr bool in_kernel_window(uint64_t address) {
  return address >= kKernelWindow.start && address < kKernelWindow.end;
}

uint64_t protection_of(PageFlags flags) {
  uint64_t protection = kProtRead;
  if (has(flags, PageFlags::kWrite)) protection |= kProtWrite;
  if (has(flags, PageFlags::kExecute)) protection |= kProtExecute;
  return protection;
}

bool continues(PhysicalAddress root, const Run& run, uint64_t address) {
  std::optional<Translation> next = translate(root, address);
  return next && next->physical == run.physical + (address - run.start) && next->flags == run.flags;
}

void extend_upwards(PhysicalAddress root, Run& run, uint64_t ceiling) {
  while (run.end < ceiling && continues(root, run, run.end)) run.end += kPageSize;
}

/// Extends the page at `run` over neighbours that continue it: within 64 KiB, or the 2 MiB of a
/// large page; of the root, and upwards, over what one fault of the application's gets at most.
void extend(PhysicalAddress root, Run& run, Show extent) {
  uint64_t span = kNeighbours * kPageSize;
  if (run.physical >= kRootPhysical) span = kPageSize << kFaultOrder;
  if (is_large_page(root, run.start)) span = kLargePageSize;
  uint64_t floor = align_down(run.start, span), ceiling = floor + span;
  if (extent == Show::kUpwards && span < kLargePageSize) {
    // What an allocator left out, to write a header ahead, comes next.
    floor = run.start - std::min(run.start, kMostSkipped);
    ceiling = run.start + (kPageSize << kFaultOrder);
  }
  while (run.start > floor && run.physical >= kPageSize &&
         continues(root, run, run.start - kPageSize)) {
    run.start -= kPageSize;
    run.physical -= kPageSize;
  }
  extend_upwards(root, run, ceiling);
}

int64_t show(const Run& run) {
  const ProcessBoot& boot = boot_information();
  bool is_root = run.physical >= kRootPhysical;
  uint64_t protection = protection_of(run.flags);
  // The root is the host's file: the tables never allow writing to it.
  if (is_root) protection &= ~kProtWrite;
  uint64_t flags = kMapShared | kMapFixed;
  // The host takes a fault for each page that is written to first. A few are worth having done at
  // once; more are mostly new memory, which costs the same either way, but only where it is used.
  // Of a file the neighbours come with the first page.
  // What is there already comes cheaply.
  uint64_t length = run.end - run.start;
  bool is_cheap = !is_root && (is_in_huge_page(run.physical) || length <= kMostPopulated);
  if (is_cheap && length > kPageSize) flags |= kMapPopulate;
  return host_call(HostCall::kMmap, run.start, run.end - run.start, protection, flags,
                   is_root ? boot.root_descriptor : boot.memory_descriptor,
                   is_root ? run.physical - kRootPhysical : run.physical);
}

void show_or_start_anew(const Run& run) {
  int64_t result = show(run);
  if (result == kHostNoMemory) {
    // Too many pieces for the host (vm.max_map_count): what is shown is only a copy.
    drop_all_of_application();
    result = show(run);
  }
  if (result < 0) report_host_failure("mmap", -result);
  last_shown = run;
}

bool is_within_last_shown(const Run& run) {
  return run.start >= last_shown.start && run.end <= last_shown.end &&
         run.physical == last_shown.physical + (run.start - last_shown.start) &&
         run.flags == last_shown.flags;
}

/// What of the application's has other translations now, in one run: showing that costs no more
/// than dropping what was there, and the next access no fault. Whether it is so.
bool show_anew(PhysicalAddress root, uint64_t start, uint64_t end) {
  constexpr uint64_t kMost = kPageSize << kFaultOrder;
  start = align_down(start, kPageSize);
  end = align_up(end, kPageSize);
  if (end - start > kMost || !is_application_address(start)) return false;
  std::optional<Translation> found = translate(root, start);
  if (!found || !has(found->flags, PageFlags::kRead)) return false;
  Run run{start, start + kPageSize, found->physical, found->flags};
  extend_upwards(root, run, end);
  if (run.end != end) return false;
  // One CPU needs no interruption to see what was written to the page.
  bool is_shown = cpu_count() == 1 && is_within_last_shown(run);
  if (!is_shown) show_or_start_anew(run);
  return true;
}

}  // namespace

void forget_tender() {
  const ProcessBoot& boot = boot_information();
  wait_for_cpus();
  drop_all_of_application();
  // The host's vDSO stays: the clock uses it.
  uint64_t from = kProcessKernelEnd;
  if (boot.vdso_end != 0) {
    drop(from, boot.vdso_start);
    from = boot.vdso_end;
  }
  drop(from, kProcessHostEnd);
}

PhysicalAddress active_root() { return shown_root.load(std::memory_order_relaxed); }

bool fill_translation(uint64_t address, PageFlags wanted, Show extent) {
  bool is_kernel = in_kernel_window(address);
  if (!is_kernel && !is_application_address(address)) return false;
  Section section;
  PhysicalAddress root = is_kernel ? PageTable::kernel().root() : active_root();
  if (root == 0) return false;
  uint64_t page = align_down(address, kPageSize);
  uint64_t end = extent == Show::kUpwards ? page + (kPageSize << kFaultOrder) : page + kPageSize;
  // A fault's pages may be several blocks: they are shown at once, as another fault costs more.
  for (unsigned blocks = 0; page < end && blocks < kMostBlocks; ++blocks) {
    std::optional<Translation> found = translate(root, page);
    if (!found || (found->flags & wanted) != wanted) return blocks != 0;
    Run run{page, page + kPageSize, found->physical, found->flags};
    extend(root, run, extent);
    show_or_start_anew(run);
    if (run.end - run.start < kMostPopulated) break;
    page = run.end;
  }
  return true;
}

bool is_just_shown(uint64_t address, PageFlags wanted) {
  Section section;
  return address >= last_shown.start && address < last_shown.end &&
         (last_shown.flags & wanted) == wanted;
}

void prefetch_translations(PhysicalAddress root, uint64_t start, uint64_t end) {
  constexpr uint64_t kStep = kPageSize << kFaultOrder;
  if (root != active_root() && !in_kernel_window(start)) return;
  for (; start < end; start += kStep)
    if (!fill_translation(start, PageFlags::kWrite, Show::kUpwards)) return;
}

void flush_tlb(PhysicalAddress root, uint64_t start, uint64_t end, IdleCpus) {
  if (start >= end) return;
  Section section;
  if (in_kernel_window(start)) {
    drop_within(kKernelWindow, start, end);
  } else if (root == active_root() && !show_anew(root, start, end)) {
    drop_of_application(start, end);
  }
}

void flush_tlb(uint64_t start, uint64_t end) { flush_tlb(active_root(), start, end); }

void PageTable::activate() {
  // Kernel threads use nothing of the application's: what is shown stays for when it runs again.
  if (root_ == kernel().root() || root_ == active_root()) return;
  Section section;
  drop_all_of_application();
  shown_root.store(root_, std::memory_order_relaxed);
}

void begin_idle() {}
void end_idle() {}

}  // namespace aril::arch
