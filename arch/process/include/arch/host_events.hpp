#pragma once
#include <atomic>

/// Descriptors of the host whose readiness stands for a device's interrupt. They are looked at
/// whenever a CPU is idle, and every few milliseconds while none is.
namespace aril::arch {

struct HostWatch {
  int descriptor = -1;
  short events = 1;  ///< POLLIN
  /// Interrupt context: must not sleep or allocate. Called once for each arm().
  void (*handler)(void* argument) = nullptr;
  void* argument = nullptr;

  std::atomic<bool> armed{false};
};

/// At start-up. `watch` lives for ever.
void add_watch(HostWatch& watch);
/// The next readiness, even one that is there already, calls the handler. Any context.
void arm(HostWatch& watch);

/// Called for signals that the host sends to the process and that are the program's: their number.
/// Interrupt context.
void set_signal_handler(void (*handler)(int signal));

}  // namespace aril::arch
