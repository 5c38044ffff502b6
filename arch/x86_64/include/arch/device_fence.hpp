#pragma once
#include <atomic>

#include "arch/port_io.hpp"

namespace aril::arch {

/// Fences between this CPU and a device that shares memory with it do nothing: QEMU's emulation of
/// a machine with one virtual CPU leaves them out (`tcg_gen_mb` acts only with CF_PARALLEL), though
/// its device threads run beside that CPU. Set at boot; cleared when a second CPU starts.
extern bool fences_are_dropped;

/// Orders all earlier stores before all later loads, as a device sees them: for the points where a
/// driver tells the device something in memory and then looks at what the device has said. Any
/// context.
inline void device_fence() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  // Port I/O leaves the emulated CPU and takes a lock of QEMU's, which orders. 0x80 is the port of
  // diagnostic codes, which exists nowhere that matters.
  if (fences_are_dropped) [[unlikely]]
    out8(0x80, 0);
}

}  // namespace aril::arch
