#pragma once
#include <atomic>
#include <cstdint>

#include "arch/cpu.hpp"
#include "base/assert.hpp"

namespace aril {

/// A lock's place in the global order: a CPU or thread may only take a lock of a higher rank than
/// every lock it holds, which is asserted. Spin locks are leaves: no mutex is taken under one.
enum class LockRank : uint8_t {
  // Mutexes, outermost first.
  kGenerated = 5,  ///< an open /proc file while its contents are made, which may take any lock
  kOnDemand = 8,   ///< a file system is made at the first lookup that goes there
  kProcess = 10,
  kFileTable = 15,
  kFilePosition = 18,  ///< an open file's position, during a read, write or seek
  kFileSystem = 20,    ///< rename and mount
  kInode = 25,         ///< one inode's contents and directory
  kInodeNested = 26,   ///< a second inode in the same operation, and overlay -> lower
  kWriteBack = 27,     ///< one file's dirty pages on their way to the disk
  kEpoll = 28,         ///< which epolls watch which files; a file's poll() runs under it
  kSocketState = 29,   ///< who a socket is connected to; before its queues
  kSocket = 30,
  kNetStack = 35,
  kFutexOwner = 42,    ///< priority-inheriting futexes
  kCallSites = 43,     ///< stubs of patched system calls
  kAddressSpace = 45,  ///< may be taken by a fault in a user copy under any of the above
  kJournal = 46,       ///< one commit of a disk file system at a time
  kVolume = 47,        ///< a disk file system's metadata; may be taken by a fault like the above
  kPageCache = 50,
  kBlockDevice = 55,
  kConsole = 60,
  kMutexLeaf = 63,  ///< the last that a word of held ranks has room for
  // Spin locks.
  kTimerSetting = 76,  ///< one interval or POSIX timer's setting
  kFamily = 77,        ///< the tree of processes
  kTaskList = 78,      ///< a process's tasks, the process table
  kTimerQueue = 80,
  kSignal = 81,  ///< pending signals and actions of a process
  kPoll = 82,    ///< epoll's ready list; taken inside a WaitQueue's notification
  kFutex = 83,
  kWaitQueue = 84,
  kThread = 86,
  kRunQueue = 88,
  kHeap = 92,
  kPageAllocator = 94,
  kDevice = 96,  ///< virtqueues, interrupt controllers
  kLog = 98,
  kSpinLeaf = 99,
};

/// Mutual exclusion between CPUs and with interrupt handlers, for short sections: disables
/// interrupts while held, so any context may take it. Not recursive. Never sleep, touch
/// application memory or allocate pages that need reclaim under it.
class SpinLock {
 public:
  constexpr explicit SpinLock(LockRank rank) : rank_(rank) {}
  SpinLock(const SpinLock&) = delete;
  SpinLock& operator=(const SpinLock&) = delete;

  void lock() {
    bool enabled = arch::interrupts_enabled();
    arch::disable_interrupts();
    // Acquire pairs with unlock's release: the section sees the previous holder's writes.
    while (locked_.exchange(true, std::memory_order_acquire)) {
      while (locked_.load(std::memory_order_relaxed)) arch::relax();
    }
    interrupts_were_enabled_ = enabled;
    holder_ = arch::cpu_index();
  }
  void unlock() {
    bool enable = interrupts_were_enabled_;
    holder_ = kNoHolder;
    locked_.store(false, std::memory_order_release);
    if (enable) arch::enable_interrupts();
  }
  /// For assertions in *_locked functions.
  [[nodiscard]] bool held_by_this_cpu() const {
    return locked_.load(std::memory_order_relaxed) && holder_ == arch::cpu_index();
  }
  [[nodiscard]] LockRank rank() const { return rank_; }

 private:
  static constexpr uint32_t kNoHolder = ~0u;
  std::atomic<bool> locked_{false};
  bool interrupts_were_enabled_ = false;  // written by the holder only
  LockRank rank_;
  uint32_t holder_ = kNoHolder;
};

/// Holds any lock with lock() and unlock() for a scope.
template <typename Lock>
class [[nodiscard]] LockGuard {
 public:
  explicit LockGuard(Lock& lock) : lock_(lock) { lock_.lock(); }
  ~LockGuard() { lock_.unlock(); }
  LockGuard(const LockGuard&) = delete;
  LockGuard& operator=(const LockGuard&) = delete;

 private:
  Lock& lock_;
};

}  // namespace aril
