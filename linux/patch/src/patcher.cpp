#include "linux/patch/patcher.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <vector>

#include "arch/layout.hpp"
#include "arch/page_table.hpp"
#include "arch/syscall_entry.hpp"
#include "base/unique.hpp"
#include "base/units.hpp"
#include "kernel/log/log.hpp"
#include "kernel/sched/mutex.hpp"
#include "kernel/vm/address_space.hpp"
#include "kernel/vm/user_copy.hpp"
#include "linux/patch/call_site.hpp"

namespace aril::linux_abi {
namespace {

constexpr uint64_t kSystemCallSize = 2;
constexpr uint64_t kRegionSize = 4 * kPageSize;
constexpr uint64_t kReach = (uint64_t{1} << 31) - 2 * kRegionSize;
constexpr uint8_t kBreakpoint = 0xcc;
constexpr size_t kMaxInstruction = 15;
/// rt_sigreturn. Unwinders and debuggers know the frame of a signal by these instructions.
constexpr uint64_t kReturnFromSignal = 15;

/// Stubs in one address space. Slot 0 holds the pointer that all its stubs jump through.
struct StubRegion {
  uint64_t base;
  uint64_t used = kStubSize;
  [[nodiscard]] bool is_full() const { return used + kStubSize > kRegionSize; }
  [[nodiscard]] bool reaches(uint64_t site) const {
    uint64_t distance = site > base ? site - base : base - site;
    return distance < kReach;
  }
};

/// What a stub stands for.
struct Stub {
  uint64_t address, site;
  uint64_t jump;  // where the jump to it is: the site, or padding
  unsigned mov_size;
};

/// The patches of one address space.
struct Patches final : AddressSpaceAttachment {
  std::vector<StubRegion> regions;
  std::vector<Stub> stubs;
};

/// Guards all spaces' patches, and code while it is rewritten.
constinit Mutex patch_mutex{LockRank::kCallSites};

// Null when the space has none.
Patches* patches_of_locked(AddressSpace& space) {
  // Nothing else attaches anything.
  return static_cast<Patches*>(space.attachment().get());
}
Result<Patches*> make_patches_locked(AddressSpace& space) {
  if (!space.attachment()) space.attachment() = ARIL_TRY(try_make_unique<Patches>());
  return patches_of_locked(space);
}
constinit std::atomic<bool> enabled{true};
constinit std::atomic<uint64_t> patched{0};
/// Stubs that exist, whether their site is rewritten already or about to be.
constinit std::atomic<uint64_t> stub_count{0};

/// Sites that trapped once, and those that were looked at and refused, by a hash of their address.
/// Lossy on purpose: a collision only means that a site is looked at again, or later.
class SeenSites {
 public:
  enum class Verdict : uint8_t { kNew, kSeen, kRefused };

  Verdict look_up(uint64_t key) {
    uint64_t value = slot(key).load(std::memory_order_relaxed);
    if ((value & ~kRefusedBit) != key) return Verdict::kNew;
    return (value & kRefusedBit) != 0 ? Verdict::kRefused : Verdict::kSeen;
  }
  void remember(uint64_t key) { slot(key).store(key, std::memory_order_relaxed); }
  void refuse(uint64_t key) { slot(key).store(key | kRefusedBit, std::memory_order_relaxed); }

  static uint64_t key_of(uint64_t space, uint64_t address, uint64_t number) {
    uint64_t mixed = (address ^ (space << 48) ^ (number << 32)) * 0x9e37'79b9'7f4a'7c15u;
    return mixed & ~kRefusedBit;
  }

 private:
  static constexpr uint64_t kRefusedBit = 1;
  std::atomic<uint64_t>& slot(uint64_t key) { return slots_[(key >> 32) % slots_.size()]; }
  std::array<std::atomic<uint64_t>, 1024> slots_{};
};
constinit SeenSites seen;

// The bytes before the `syscall` at `address`, as many of the window as are mapped.
std::span<const uint8_t> read_window(uint64_t address,
                                     std::array<uint8_t, kCallSiteWindow>& buffer) {
  for (size_t size = buffer.size(); size >= 8; size /= 2) {
    auto bytes = std::span(buffer).first(size);
    if (copy_from_user(std::as_writable_bytes(bytes), address - size)) return bytes;
  }
  return {};
}

/// Finds room for stubs within reach of a site.
class GapSearch {
 public:
  explicit GapSearch(uint64_t site) : site_(site) {}

  // In order of address.
  void visit(const MappingView& view) {
    consider(previous_end_, view);
    previous_end_ = view.end;
  }
  [[nodiscard]] uint64_t best() const { return best_; }

 private:
  // Directly below a mapping: heaps grow up toward it from far below, and new mappings come below
  // all others.
  void consider(uint64_t start, const MappingView& above) {
    constexpr uint64_t kMargin = kRegionSize + kMiB;
    bool is_stack = above.label != nullptr && std::string_view(above.label) == "[stack]";
    if (is_stack || above.start < start + kMargin) return;
    uint64_t base = above.start - kRegionSize;
    uint64_t distance = site_ > base ? site_ - base : base - site_;
    if (distance >= kReach || distance >= best_distance_) return;
    best_ = base;
    best_distance_ = distance;
  }
  uint64_t site_;
  uint64_t previous_end_ = arch::kApplicationBottom;
  uint64_t best_ = 0;
  uint64_t best_distance_ = ~uint64_t{0};
};

Result<StubRegion*> make_region_locked(AddressSpace& space, Patches& patches, uint64_t site) {
  GapSearch search(site);
  space.for_each_mapping([&](const MappingView& view) { search.visit(view); });
  if (search.best() == 0) return fail(Errno::kNoMem);
  MapRequest request;
  request.address = search.best();
  request.length = kRegionSize;
  request.protection = Protection::kRead | Protection::kExecute;
  request.placement = MapRequest::Placement::kFixedNoReplace;
  request.label = "[syscall]";
  uint64_t base = ARIL_TRY(space.map(request));
  auto entry = reinterpret_cast<uint64_t>(&arch::aril_patched_entry);
  ARIL_TRY(space.write_forced(base, std::as_bytes(std::span(&entry, 1))));
  patches.regions.push_back({.base = base});
  return &patches.regions.back();
}

Result<StubRegion*> region_for_locked(AddressSpace& space, Patches& patches, uint64_t site) {
  for (StubRegion& region : patches.regions)
    if (region.reaches(site) && !region.is_full()) return &region;
  return make_region_locked(space, patches, site);
}

Result<void> write_code(AddressSpace& space, uint64_t address, std::span<const uint8_t> bytes) {
  ARIL_TRY(space.write_forced(address, std::as_bytes(bytes)));
  arch::flush_tlb(address, address + bytes.size());
  return {};
}

// Writes the jump over the mov. With several CPUs, one of them may be executing these bytes: a
// breakpoint holds it off while the rest is written [SDM 3A 9.1.3]. flush_tlb waits until every CPU
// has taken an interrupt, which serialises its instruction stream; here it also ends what this CPU
// has prefetched.
Result<void> write_jump(AddressSpace& space, uint64_t site, std::span<const uint8_t> jump) {
  if (arch::cpu_count() == 1) return write_code(space, site, jump);
  Result<void> result = write_code(space, site, std::span(&kBreakpoint, 1));
  // From here on only a lost page could fail, and it was written to just now.
  if (result) result = write_code(space, site + 1, jump.subspan(1));
  if (result) result = write_code(space, site, jump.first(1));
  // QEMU 7.2's translator reads code and only then protects its page from unnoticed stores
  // (tb_link_page), so a CPU that met the breakpoint just now may keep it, translated, for good. By
  // now each CPU is through with what it was translating, and a store discards that.
  if (result) result = write_code(space, site, jump.first(1));
  return result;
}

/// Where the five bytes of a jump go: the site itself, or padding that a short site jumps to.
struct JumpPlace {
  uint64_t address;
  size_t size;
};
Result<JumpPlace> jump_place(uint64_t site, const CallSite& call_site) {
  if (!call_site.is_short()) return JumpPlace{site, kJumpSize};
  uint64_t behind = site + CallSite::kShortSize + kSystemCallSize;
  std::array<uint8_t, kPaddingWindow> code;
  ARIL_TRY(copy_from_user(std::as_writable_bytes(std::span(code)), behind));
  auto padding = find_padding(code);
  if (!padding || !short_jump_bytes(site, behind + padding->offset)) return fail(Errno::kNoSpc);
  return JumpPlace{behind + padding->offset, padding->size};
}

Result<void> patch_locked(AddressSpace& space, uint64_t system_call, const CallSite& call_site,
                          std::span<const uint8_t> before) {
  uint64_t site = system_call - call_site.mov_size;
  JumpPlace place = ARIL_TRY(jump_place(site, call_site));
  Patches* patches = ARIL_TRY(make_patches_locked(space));
  StubRegion* region = ARIL_TRY(region_for_locked(space, *patches, site));
  uint64_t stub_address = region->base + region->used;
  auto jump = jump_bytes(place.address, stub_address);
  if (!jump) return fail(Errno::kRange);
  auto stub = make_stub(before.last(call_site.mov_size), stub_address,
                        system_call + kSystemCallSize, region->base);
  ARIL_TRY(space.write_forced(stub_address, std::as_bytes(std::span(stub))));
  region->used += kStubSize;
  patches->stubs.push_back({stub_address, site, place.address, call_site.mov_size});
  stub_count.fetch_add(1, std::memory_order_release);
  if (call_site.is_short()) {
    // What is left of the padding must not look like an instruction to the next search.
    std::array<uint8_t, kMaxInstruction> filled;
    filled.fill(kBreakpoint);
    std::ranges::copy(*jump, filled.begin());
    ARIL_TRY(write_code(space, place.address, std::span(filled).first(place.size)));
    ARIL_TRY(write_jump(space, site, *short_jump_bytes(site, place.address)));
  } else {
    ARIL_TRY(write_jump(space, site, *jump));
  }
  patched.fetch_add(1, std::memory_order_relaxed);
  return {};
}

}  // namespace

void set_patching(bool value) { enabled = value; }
uint64_t patched_site_count() { return patched.load(std::memory_order_relaxed); }

bool is_patched_site(uint64_t address) {
  if (stub_count.load(std::memory_order_acquire) == 0) return false;
  AddressSpace* space = current_address_space();
  // Waits for a rewriting that is under way.
  LockGuard guard(patch_mutex);
  const Patches* patches = patches_of_locked(*space);
  if (patches == nullptr) return false;
  for (const Stub& stub : patches->stubs) {
    if (stub.site != address) continue;
    // A breakpoint that stands there now is the program's own.
    Result<uint8_t> byte = UserPtr<uint8_t>(address).read();
    return byte && *byte != kBreakpoint;
  }
  return false;
}

void consider_call_site(const arch::TrapFrame& frame) {
  if (!enabled.load(std::memory_order_relaxed)) return;
  AddressSpace* space = current_address_space();
  uint64_t system_call = frame.rip - kSystemCallSize;
  uint64_t number = frame.system_call_number();
  if (number == kReturnFromSignal) return;
  uint64_t key = SeenSites::key_of(space->id(), system_call, number);
  switch (seen.look_up(key)) {
    case SeenSites::Verdict::kNew:
      seen.remember(key);
      return;
    case SeenSites::Verdict::kRefused:
      return;
    case SeenSites::Verdict::kSeen:
      break;
  }
  LockGuard guard(patch_mutex);
  std::array<uint8_t, kCallSiteWindow> buffer;
  std::span<const uint8_t> before = read_window(system_call, buffer);
  auto call_site = find_call_site(before, number);
  if (!call_site || !patch_locked(*space, system_call, *call_site, before)) seen.refuse(key);
}

uint64_t unpatched_address(uint64_t instruction_pointer) {
  if (stub_count.load(std::memory_order_acquire) == 0) return instruction_pointer;
  AddressSpace* space = current_address_space();
  LockGuard guard(patch_mutex);
  const Patches* patches = patches_of_locked(*space);
  if (patches == nullptr) return instruction_pointer;
  for (const Stub& stub : patches->stubs) {
    if (instruction_pointer == stub.jump) return stub.site;
    if (instruction_pointer - stub.address >= kStubSize) continue;
    // Before the mov nothing has happened; after it only the `syscall` is left.
    return instruction_pointer == stub.address ? stub.site : stub.site + stub.mov_size;
  }
  return instruction_pointer;
}

Result<RefPtr<AddressSpace>> fork_address_space(AddressSpace& space) {
  // No site is half rewritten meanwhile.
  LockGuard guard(patch_mutex);
  RefPtr<AddressSpace> copy = ARIL_TRY(space.fork());
  if (const Patches* patches = patches_of_locked(space)) {
    Patches* copied = ARIL_TRY(make_patches_locked(*copy));
    copied->regions = patches->regions;
    copied->stubs = patches->stubs;
  }
  return copy;
}

}  // namespace aril::linux_abi
