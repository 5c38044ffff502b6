#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "arch/upcalls.hpp"
#include "base/flags.hpp"
#include "base/ref_ptr.hpp"
#include "base/result.hpp"
#include "kernel/sched/mutex.hpp"
#include "kernel/vm/memory_object.hpp"

namespace aril {

enum class Protection : uint8_t { kNone = 0, kRead = 1, kWrite = 2, kExecute = 4 };  // PROT_*
ARIL_FLAG_OPERATORS(Protection);

enum class Sharing : uint8_t { kPrivate, kShared };

/// What an address does when it was never mapped or is used against its protection: Linux's
/// si_code for the signal.
enum class FaultOutcome : uint8_t {
  kResolved,      ///< retry the access
  kNotMapped,     ///< SIGSEGV, SEGV_MAPERR
  kNotPermitted,  ///< SIGSEGV, SEGV_ACCERR
  kBusError,      ///< SIGBUS, BUS_ADRERR: past the end of a mapped file, or it could not be read
  kOutOfMemory,   ///< no page left: the program is ended with a report
};

struct MapRequest {
  uint64_t address = 0;  ///< a hint, or exact with `fixed`
  uint64_t length = 0;   ///< bytes; rounded up to pages
  Protection protection = Protection::kNone;
  Sharing sharing = Sharing::kPrivate;
  enum class Placement : uint8_t {
    kAnywhere,
    kFixed,
    kFixedNoReplace,
    kBelow4GiB
  } placement = Placement::kAnywhere;
  /// Null: anonymous memory. `offset` is in bytes, page-aligned.
  RefPtr<MemoryObject> object;
  uint64_t offset = 0;
  bool grows_down = false;  ///< a stack: extended by faults below it, with a guard gap
  bool populate = false;    ///< fault everything in now (MAP_POPULATE, MAP_LOCKED)
  bool may_write = true;    ///< PROT_WRITE may be had later: not of a file that is open for reading
  bool no_reserve = false;  ///< not counted against the commit limit (MAP_NORESERVE, PROT_NONE)
  /// For /proc/self/maps when there is no object: "[heap]", "[stack]", "[vdso]"; static text.
  const char* label = nullptr;
};

/// One region as /proc/self/maps shows it.
struct MappingView {
  uint64_t start, end, offset;
  Protection protection;
  Sharing sharing;
  const MemoryObject* object;
  const char* label;
  uint64_t resident_pages;
  bool may_write;  ///< PROT_WRITE may be had
};

/// What a layer above keeps about one address space; goes with it.
class AddressSpaceAttachment {
 public:
  virtual ~AddressSpaceAttachment() = default;
};

/// The lower half of a virtual address space: what one Linux process sees. An ordered set of
/// regions over a page table, filled on demand. All methods may sleep and take its mutex
/// (LockRank::kAddressSpace); any thread.
class AddressSpace final : public RefCounted {
 public:
  /// Linux's stack_guard_gap: what stays free below a region that grows down.
  static constexpr uint64_t kStackGuardGap = 256 * kPageSize;

  static Result<RefPtr<AddressSpace>> create();
  ~AddressSpace();

  /// mmap; the address. kNoMem (no room or over the memory limit), kInval, kExist.
  Result<uint64_t> map(const MapRequest& request);
  Result<void> unmap(uint64_t address, uint64_t length);
  /// kNoMem when part of the range is not mapped, as mprotect; kAcces for writing without
  /// may_write.
  Result<void> protect(uint64_t address, uint64_t length, Protection protection);
  /// mremap. `fixed_address` with MREMAP_FIXED.
  Result<uint64_t> remap(uint64_t address, uint64_t old_length, uint64_t new_length, bool may_move,
                         std::optional<uint64_t> fixed_address);
  enum class Advice : uint8_t {
    kDontNeed,
    kFree,
    kWillNeed,
    kPopulateRead,
    kPopulateWrite,
    kLargePages,    ///< pages of 2 MiB wherever they fit
    kNoLargePages,  ///< never
    kDontFork,      ///< a forked child does not get it
    kDoFork,        ///< it does again
    kWipeOnFork,    ///< a forked child gets zeroes
    kKeepOnFork,
    kOther
  };
  Result<void> advise(uint64_t address, uint64_t length, Advice advice);
  Result<void> sync(uint64_t address, uint64_t length);
  /// One byte per page, bit 0 set when it is in memory, as mincore. kNoMem for a hole.
  Result<void> residency(uint64_t address, uint64_t length, std::span<uint8_t> out);
  /// The program break. Returns the break in force afterwards, as brk does.
  void set_heap_start(uint64_t address);
  uint64_t set_break(uint64_t address);

  FaultOutcome handle_fault(const arch::PageFault& fault);

  /// A copy-on-write copy for fork.
  Result<RefPtr<AddressSpace>> fork();

  /// Writes code or data regardless of the region's protection, breaking copy-on-write: for
  /// call-site patching and debuggers. Bytes that lie within one aligned 8-byte word are stored in
  /// one access. kFault.
  Result<void> write_forced(uint64_t address, std::span<const std::byte> bytes);

  /// Reads regardless of protection, for debuggers and core dumps. kFault where nothing is mapped.
  Result<void> read_forced(uint64_t address, std::span<std::byte> bytes);

  void for_each_mapping(const std::function<void(const MappingView&)>& visit) const;
  struct Usage {
    uint64_t mapped_pages, resident_pages, peak_resident_pages, data_pages, stack_pages;
  };
  [[nodiscard]] Usage usage() const;
  /// The region that holds `address`, for fault reports and /proc.
  [[nodiscard]] std::optional<MappingView> find_mapping(uint64_t address) const;
  /// How far a grows_down region may extend, RLIMIT_STACK; 8 MiB at first.
  void set_stack_limit(uint64_t bytes);
  /// Where the initial stack should end: randomised, above every kAnywhere placement.
  [[nodiscard]] uint64_t stack_top() const;
  /// Randomise placement (off under --gdb and with personality ADDR_NO_RANDOMIZE). Before the
  /// first map().
  void set_randomized(bool randomized);

  /// This space's page table becomes the CPU's. Interrupts disabled.
  void activate();

  /// For linux/patch, which guards it by its own lock. A fork has none.
  std::unique_ptr<AddressSpaceAttachment>& attachment() { return attachment_; }

  /// A unique 64-bit identity, never reused: private futex keys.
  [[nodiscard]] uint64_t id() const { return id_; }
  /// The object and byte offset behind a shared mapping: shared futex keys; nullopt for private.
  std::optional<std::pair<RefPtr<MemoryObject>, uint64_t>> shared_backing(uint64_t address) const;

 private:
  friend class MemoryObject;
  friend struct AddressSpaceProbe;  // unit tests: acts as the CPU would
  template <typename T, typename... A>
  friend Result<RefPtr<T>> try_make_ref(A&&...);
  AddressSpace() = default;
  // For MemoryObject: acts on every region over `object`.
  void unmap_object(const MemoryObject& object, uint64_t first, uint64_t count);
  void try_unmap_object(const MemoryObject& object, uint64_t first, uint64_t count);
  void write_protect_object(const MemoryObject& object, uint64_t first, uint64_t count);

  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
  std::unique_ptr<AddressSpaceAttachment> attachment_;
  uint64_t id_ = 0;
};

/// Which space faults of the running thread resolve in; set by linux/ (thread switch).
AddressSpace* current_address_space();
/// Interrupts disabled; also activates it. Null: the kernel's own tree. Holds no reference: a
/// space that is destroyed is forgotten by every CPU. The last reference must go in thread context.
void set_current_address_space(AddressSpace* space);

/// Asked when a fault finds no memory and nothing can be reclaimed: true when it made some, and the
/// fault is tried again. Called in thread context under any locks below kAddressSpace. Null: none.
using OutOfMemoryHandler = bool (*)();
void set_out_of_memory_handler(OutOfMemoryHandler handler);

/// Why aril_on_page_fault last refused a fault on this CPU: for aril_on_application_exception,
/// which calls it before anything that may block.
FaultOutcome last_fault_outcome();

}  // namespace aril
