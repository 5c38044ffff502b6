#include <atomic>

#include "arch/startup.hpp"
#include "process.hpp"

// Memory that comes into use is had from the host in pieces of 2 MiB: a page of a memfd costs the
// host some 3 us when it is touched first, a piece that is asked for at once about 200 us. Asked by
// madvise(MADV_COLLAPSE), which works whatever the host's settings for shared memory are
// [linux/Documentation/admin-guide/mm/transhuge.rst].
namespace aril::arch {
namespace {

constexpr uint64_t kMostPieces = kRootPhysical / kProcessHugePage;
constexpr uint64_t kBitsPerWord = 64;
/// An instance that uses less than this shall not hold more than it uses, and shall not wait for a
/// piece of which it needs little.
constexpr PhysicalAddress kSmall = kProcessHugePage / 2;
/// After as many refusals in a row the host is not asked any more.
constexpr unsigned kMostRefusals = 4;
constexpr uint64_t kCollapse = 25;  // Linux's MADV_COLLAPSE

class PieceSet {
 public:
  [[nodiscard]] bool contains(uint64_t piece) const {
    return (words_[piece / kBitsPerWord] >> piece % kBitsPerWord & 1) != 0;
  }
  void insert(uint64_t piece) {
    words_[piece / kBitsPerWord] |= uint64_t{1} << piece % kBitsPerWord;
  }

 private:
  uint64_t words_[kMostPieces / kBitsPerWord] = {};
};

// Guarded by the caller's section.
constinit PieceSet asked{}, whole{};
constinit unsigned refusals = 0;

/// The host makes one of what is there already and the zeroes that are not.
bool ask_for(uint64_t piece) {
  std::byte* start = physical_to_virtual(piece * kProcessHugePage);
  // A piece of which nothing is there would be refused. In assembly, as the compiler leaves out an
  // addition of 0; locked, as others use the memory.
  asm volatile("lock addl $0, %0" : "+m"(*start));
  return host_call(HostCall::kMadvise, start, kProcessHugePage, kCollapse) == 0;
}

}  // namespace

bool is_in_huge_page(PhysicalAddress address) {
  const uint64_t piece = address / kProcessHugePage;
  if (address < kSmall || (piece + 1) * kProcessHugePage > boot_information().memory_size)
    return false;
  if (!asked.contains(piece) && refusals < kMostRefusals) {
    asked.insert(piece);
    if (ask_for(piece)) {
      whole.insert(piece);
      refusals = 0;
    } else {
      ++refusals;
    }
  }
  return whole.contains(piece);
}

}  // namespace aril::arch
