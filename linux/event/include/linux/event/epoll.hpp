#pragma once
#include <cstdint>
#include <span>

#include "base/intrusive_list.hpp"
#include "kernel/io/file.hpp"
#include "kernel/sched/mutex.hpp"

namespace aril::linux_abi {

/// struct epoll_event: packed on x86-64 [epoll_ctl(2)].
struct [[gnu::packed]] EpollEvent {
  uint32_t events;
  uint64_t data;
};
static_assert(sizeof(EpollEvent) == 12);

inline constexpr uint32_t EPOLLEXCLUSIVE = 1u << 28, EPOLLWAKEUP = 1u << 29,
                          EPOLLONESHOT = 1u << 30, EPOLLET = 1u << 31;

class Epoll;
class FileRegistrations;

/// One registration: an epoll's interest in one file under one descriptor number. Referenced by
/// its membership in both lists, and by whoever delivers it.
class EpollItem final : public RefCounted, private PollRegistrar {
 public:
  EpollItem(Epoll& epoll, File& file, int fd) : epoll_(&epoll), file_(&file), fd_(fd) {}

 private:
  friend class Epoll;
  friend class FileRegistrations;

  struct Entry : WaitEntry {
    Entry();
    EpollItem* item = nullptr;
    WaitQueue* queue = nullptr;
  };
  static constexpr size_t kMaxQueues = 4;

  void watch(WaitQueue& queue) override;
  static bool notify(WaitEntry& entry, uint32_t events);

  Epoll* epoll_;
  File* file_;
  const int fd_;
  Entry entries_[kMaxQueues];
  size_t entry_count_ = 0;

  ListNode file_node_;   // in FileRegistrations
  ListNode epoll_node_;  // in Epoll::items_
  ListNode ready_node_;  // in Epoll::ready_
  // Guarded by the epoll's spin lock.
  uint32_t events_ = 0;
  uint64_t data_ = 0;
  bool detached_ = false;
};

/// An interest list with a ready list [epoll(7)]. A watched file's wait queues put its registration
/// on the ready list, so that waiting costs what is ready, not what is watched.
///
/// Registrations do not own their files: the last close of a file takes its registrations along
/// (FileWatchers). Which epoll watches which file is guarded by one mutex for all epolls
/// (LockRank::kEpoll), taken by add, modify, remove and the two kinds of destruction, not by wait.
class Epoll final : public File {
 public:
  static Result<RefPtr<Epoll>> create(OpenFlags flags);
  ~Epoll() override;

  /// kExist; kInval for itself; kPerm when the file cannot be polled; kLoop when epolls would watch
  /// each other in a circle or more than five deep; kNoMem.
  Result<void> add(File& file, int fd, const EpollEvent& event);
  Result<void> modify(File& file, int fd, const EpollEvent& event);
  Result<void> remove(File& file, int fd);

  /// Collects ready events without waiting. The count.
  size_t collect(std::span<EpollEvent> out);
  /// As collect(), waiting for at least one: 0 at the deadline; kRestart when interrupted.
  Result<size_t> wait(std::span<EpollEvent> out, Instant deadline);

  PollEvents poll(PollRegistrar* registrar) override;
  [[nodiscard]] bool is_pollable() const override { return true; }
  Result<FileStatus> status() override;
  [[nodiscard]] std::string description() const override { return "anon_inode:[eventpoll]"; }
  void* facet(const void* tag) override;

 private:
  friend class EpollItem;
  friend class FileRegistrations;
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  explicit Epoll(OpenFlags flags) : File(flags) {}

  EpollItem* find_locked(File& file, int fd);
  void detach_locked(EpollItem& item);
  void make_ready(EpollItem& item);
  bool announce();
  /// A registration that was on the ready list, and its file: null when that is being closed. Has a
  /// reference to each, to be dropped without the lock.
  struct Ready {
    EpollItem* item = nullptr;
    File* file = nullptr;
    void drop();
  };
  /// Takes the first; nothing when there is none.
  Ready pop_ready_locked();
  bool deliver_locked(EpollItem& item, PollEvents events, EpollEvent& out);
  [[nodiscard]] size_t ready_count();
  Result<void> check_nesting_locked(Epoll& target);
  unsigned depth_below_locked(unsigned limit);
  unsigned depth_above_locked(unsigned limit);
  bool reaches_locked(const Epoll& target, unsigned limit);

  IntrusiveList<EpollItem, &EpollItem::epoll_node_> items_;  // guarded by the membership mutex
  SpinLock lock_{LockRank::kPoll};
  IntrusiveList<EpollItem, &EpollItem::ready_node_> ready_;
  size_t ready_count_ = 0;
  WaitQueue waiters_;  // threads in wait(): woken one at a time
  WaitQueue pollers_;  // poll() on this file, and outer epolls
};

/// The epoll behind a file, or null.
Epoll* as_epoll(File& file);

}  // namespace aril::linux_abi
