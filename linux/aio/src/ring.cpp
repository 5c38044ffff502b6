#include "ring.hpp"

#include <algorithm>

#include "base/units.hpp"
#include "kernel/sched/mutex.hpp"
#include "kernel/vm/address_space.hpp"
#include "kernel/vm/user_copy.hpp"
#include "linux/process/process.hpp"

namespace aril::linux_abi::aio {
namespace {

/// struct aio_ring.
struct Header {
  uint32_t id, capacity, head, tail;
  uint32_t magic, compatible_features, incompatible_features, length;
};
static_assert(sizeof(Header) == 32);
constexpr uint32_t kMagic = 0xa10a10a1, kFeatures = 1;
constexpr uint32_t kLargestCapacity = 1 << 17;

/// One change of any ring at a time: they are short.
constinit Mutex mutex{LockRank::kFileTable};

uint64_t bytes_of(uint32_t capacity) {
  return align_up(sizeof(Header) + uint64_t{capacity} * sizeof(Event), kPageSize);
}

Result<Header> read_header(uint64_t address) {
  Header header = ARIL_TRY(UserPtr<Header>(address).read());
  bool is_ring = header.magic == kMagic && header.length == sizeof(Header) && header.capacity > 1 &&
                 header.capacity <= kLargestCapacity && header.head < header.capacity &&
                 header.tail < header.capacity;
  if (!is_ring) return fail(Errno::kInval);
  return header;
}

uint32_t used(const Header& header) {
  return (header.tail + header.capacity - header.head) % header.capacity;
}

UserPtr<Event> slot(uint64_t ring, uint32_t index) {
  return UserPtr<Event>(ring + sizeof(Header)) + index;
}
UserPtr<uint32_t> field(uint64_t ring, size_t offset) { return UserPtr<uint32_t>(ring + offset); }

}  // namespace

Result<Ring> Ring::create(uint32_t events) {
  AddressSpace& space = current_process().address_space();
  // One slot stays free, so that full and empty differ; the rest of the last page is used too.
  uint64_t length = bytes_of(events + 1);
  MapRequest request{.length = length, .protection = Protection::kRead | Protection::kWrite};
  request.label = "/[aio] (deleted)";
  uint64_t address = ARIL_TRY(space.map(request));
  auto capacity = static_cast<uint32_t>((length - sizeof(Header)) / sizeof(Event));
  Header header{.id = 0,
                .capacity = capacity,
                .head = 0,
                .tail = 0,
                .magic = kMagic,
                .compatible_features = kFeatures,
                .incompatible_features = 0,
                .length = sizeof(Header)};
  Result<void> made = UserPtr<Header>(address).write(header);
  // A child has contexts of its own [io_setup(2)].
  if (made) made = space.advise(address, length, AddressSpace::Advice::kDontFork);
  if (!made) {
    (void)space.unmap(address, length);
    return fail(made.error());
  }
  return Ring(address);
}

Result<Ring> Ring::find(uint64_t address) {
  if (!is_aligned(address, kPageSize) || !read_header(address)) return fail(Errno::kInval);
  return Ring(address);
}

Result<void> Ring::destroy() {
  LockGuard guard(mutex);
  Header header = ARIL_TRY(read_header(address_));
  return current_process().address_space().unmap(address_, bytes_of(header.capacity - 1));
}

Result<uint32_t> Ring::room() {
  LockGuard guard(mutex);
  Header header = ARIL_TRY(read_header(address_));
  return header.capacity - 1 - used(header);
}

Result<void> Ring::post(const Event& event) {
  LockGuard guard(mutex);
  Header header = ARIL_TRY(read_header(address_));
  if (used(header) == header.capacity - 1) return fail(Errno::kAgain);
  ARIL_TRY(slot(address_, header.tail).write(event));
  // The event before the index: a program may read the ring without a call.
  return field(address_, offsetof(Header, tail)).write((header.tail + 1) % header.capacity);
}

Result<size_t> Ring::take(std::span<Event> out) {
  LockGuard guard(mutex);
  Header header = ARIL_TRY(read_header(address_));
  size_t count = std::min<size_t>(used(header), out.size());
  for (size_t i = 0; i < count; ++i)
    out[i] =
        ARIL_TRY(slot(address_, static_cast<uint32_t>((header.head + i) % header.capacity)).read());
  auto head = static_cast<uint32_t>((header.head + count) % header.capacity);
  ARIL_TRY(field(address_, offsetof(Header, head)).write(head));
  return count;
}

}  // namespace aril::linux_abi::aio
