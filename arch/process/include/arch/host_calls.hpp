#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.hpp"

/// All that the kernel may ask of its host: what the tender's filter lets through, for the
/// descriptors of ProcessBoot. A call that the filter refuses ends the process with a report.
namespace aril::arch {

/// As the host's structures of these names.
struct HostVector {
  void* base;
  size_t length;
};

// Network, console and volumes. A signal may interrupt: kIntr.
Result<size_t> host_read(int descriptor, std::span<std::byte> to);
Result<size_t> host_read(int descriptor, std::span<const HostVector> pieces);
Result<size_t> host_write(int descriptor, std::span<const HostVector> pieces);
// Disks.
Result<size_t> host_read_at(int descriptor, std::span<const HostVector> pieces, uint64_t offset);
Result<size_t> host_write_at(int descriptor, std::span<const HostVector> pieces, uint64_t offset);
Result<void> host_synchronize(int descriptor);
/// Whether `descriptor` can be read (events 1) or written (4) now; never sleeps. Errors count as
/// ready.
bool host_is_ready(int descriptor, short events);
/// Sleeps until it can or an interrupt comes.
void host_wait_ready(int descriptor, short events);
/// Ends the process: all virtual CPUs.
[[noreturn]] void host_exit(int status);

}  // namespace aril::arch
