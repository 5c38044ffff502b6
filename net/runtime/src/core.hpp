#pragma once
#include <array>
#include <atomic>
#include <memory>

#include "kernel/sched/mutex.hpp"
#include "kernel/sched/thread.hpp"
#include "kernel/sched/timer.hpp"
#include "kernel/sched/wait_queue.hpp"
#include "link.hpp"
#include "net/stack/stack.hpp"

namespace aril::net {

/// What Runtime hides: the stack with its lock, the links, and the thread that runs timers.
class Core {
 public:
  static constexpr size_t kMaxLinks = IpLayer::kMaxInterfaces - 1;

  explicit Core(std::unique_ptr<Stack> owned);

  Result<void> start();

  void lock();
  [[nodiscard]] bool try_lock();
  /// Delivers loopback traffic, sets the timer, and flushes devices once the lock is free.
  void unlock();

  void lock_state() { mutex_.lock(); }
  void unlock_state() { mutex_.unlock(); }

  /// Runs due timers, DHCP included. Lock held.
  void run_timers();
  void configuration_changed();

  std::unique_ptr<Stack> stack;
  std::array<std::unique_ptr<Link>, kMaxLinks> links;
  std::atomic<size_t> link_count{0};
  WaitQueue configured;
  std::atomic<bool> is_configured{false};
  std::atomic<uint32_t> changes{0};  // of addresses and name servers
  void (*listen_hook)(uint16_t port) = nullptr;
  MakeLinkConfigurator make_configurator = nullptr;
  // Under the lock, so that whoever gives it back need not ask each link.
  bool has_frames = false;  ///< some link has queued frames that its device has not been told of
  bool has_dhcp = false;    ///< some link has a client of DHCP or DHCPv6

 private:
  static void run(void* self);
  static void on_timer(void* self);
  void entered();
  bool end_batches();

  Mutex mutex_{LockRank::kNetStack};
  RefPtr<Thread> thread_;
  WaitQueue due_;
  std::atomic<bool> is_due_{false};
  Timer timer_;
  Instant timer_deadline_ = Instant::never();
};

}  // namespace aril::net
