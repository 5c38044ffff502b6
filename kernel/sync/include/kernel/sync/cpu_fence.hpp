#pragma once
#include <atomic>

#include "arch/cpu.hpp"

namespace aril {

/// Orders all earlier stores of this CPU before all its later loads, as other CPUs see them: for
/// two sides of which each writes one word and then reads the other's, so that at least one sees
/// what the other wrote. Release and acquire do not give that. Any context. Where there is one CPU
/// nothing but the compiler could change the order: it costs a load and a branch.
inline void cpu_fence() {
  if (arch::cpu_count() > 1) {
    std::atomic_thread_fence(std::memory_order_seq_cst);
  } else {
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
}

}  // namespace aril
