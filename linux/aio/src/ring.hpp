#pragma once
#include <cstdint>
#include <span>

#include "base/result.hpp"

namespace aril::linux_abi::aio {

/// struct io_event [io_getevents(2)].
struct Event {
  uint64_t data, request;
  int64_t result, result2;
};
static_assert(sizeof(Event) == 32);

/// A context: a ring of completed requests in the application's own memory, at the address that is
/// the context's id, laid out as Linux does (struct aio_ring of fs/aio.c), because programs look
/// into it. Requests are carried out by io_submit, as Linux does for files that go through the page
/// cache; so the ring is all there is to a context. The application can write it: what stands in it
/// is checked at each use, and nonsense can only spoil the application's own events.
class Ring {
 public:
  /// Maps a ring with room for `events`. kNoMem.
  static Result<Ring> create(uint32_t events);
  /// kInval when there is none at this address.
  static Result<Ring> find(uint64_t address);
  Result<void> destroy();

  [[nodiscard]] uint64_t address() const { return address_; }
  /// How many more events fit. kFault.
  Result<uint32_t> room();
  /// kFault; kAgain when it is full.
  Result<void> post(const Event& event);
  /// Takes up to `out.size()` events; how many. kFault.
  Result<size_t> take(std::span<Event> out);

 private:
  explicit Ring(uint64_t address) : address_(address) {}
  uint64_t address_;
};

}  // namespace aril::linux_abi::aio
