#pragma once
// Included by arch/cpu.hpp, whose functions it needs.

namespace aril::arch {

/// Interrupts disabled for a scope.
class InterruptGuard {
 public:
  InterruptGuard() : were_enabled_(interrupts_enabled()) { disable_interrupts(); }
  ~InterruptGuard() {
    if (were_enabled_) enable_interrupts();
  }
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

 private:
  bool were_enabled_;
};

}  // namespace aril::arch
