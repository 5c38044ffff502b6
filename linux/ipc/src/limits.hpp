#pragma once
#include <atomic>
#include <cstdint>

/// The tunables of System V IPC [sysvipc(7), proc(5)], with Linux's defaults. What /proc/sys/kernel
/// shows and sets; each is read when an object is made or used.
namespace aril::linux_abi::ipc {

struct Limits {
  std::atomic<uint64_t> segment_bytes{~uint64_t{0} - (uint64_t{1} << 24)};       ///< shmmax
  std::atomic<uint64_t> all_segments_pages{~uint64_t{0} - (uint64_t{1} << 24)};  ///< shmall
  std::atomic<uint64_t> segments{4096};                                          ///< shmmni
  std::atomic<uint64_t> message_bytes{8192};                                     ///< msgmax
  std::atomic<uint64_t> queue_bytes{16384};                                      ///< msgmnb
  std::atomic<uint64_t> queues{32000};                                           ///< msgmni
  std::atomic<uint64_t> semaphores_per_set{32000};                               ///< sem, 1st
  std::atomic<uint64_t> all_semaphores{1024000000};                              ///< sem, 2nd
  std::atomic<uint64_t> operations{500};                                         ///< sem, 3rd
  std::atomic<uint64_t> sets{32000};                                             ///< sem, 4th
};

Limits& limits();

/// SEMVMX, and the bound of a SEM_UNDO adjustment.
inline constexpr int kSemaphoreMaximum = 32767;

}  // namespace aril::linux_abi::ipc
