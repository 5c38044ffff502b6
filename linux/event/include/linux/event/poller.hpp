#pragma once
#include <cstdint>
#include <memory>
#include <span>

#include "kernel/io/file.hpp"

namespace aril::linux_abi {

/// One file that poll(2) or select(2) asks about.
struct PollRequest {
  RefPtr<File> file;  ///< null: not looked at, `result` stays
  PollEvents wanted = PollEvents::kNone;
  PollEvents result = PollEvents::kNone;  ///< wanted, kErr and kHup that hold
};

/// Waits until an event of some request holds. The number of requests with a result, 0 at the
/// deadline; kRestart when interrupted; kNoMem. Requests that have a result at entry (kNval) count
/// and make it return at once.
Result<size_t> poll_files(std::span<PollRequest> requests, Instant deadline);

}  // namespace aril::linux_abi
