#pragma once
#include <atomic>

namespace aril::arch {

inline void device_fence() { std::atomic_thread_fence(std::memory_order_seq_cst); }

}  // namespace aril::arch
