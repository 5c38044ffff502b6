#include "linux/event/epoll.hpp"

#include <algorithm>

#include "base/unique.hpp"

namespace aril::linux_abi {

namespace {
const char kEpollFacet = 0;
/// EP_MAX_NESTS + 1 [Linux fs/eventpoll.c]: epolls in a chain.
constexpr unsigned kMaxChain = 5;
constexpr uint32_t kModeBits = EPOLLEXCLUSIVE | EPOLLWAKEUP | EPOLLONESHOT | EPOLLET;
constexpr auto kAlwaysReported = std::to_underlying(PollEvents::kErr | PollEvents::kHup);
[[clang::no_destroy]] constinit Mutex g_membership{LockRank::kEpoll};
}  // namespace

/// A file's registrations in all epolls. Guarded by the membership mutex.
class FileRegistrations final : public FileWatchers {
 public:
  void file_released(File&) override {
    {
      LockGuard guard(g_membership);
      while (EpollItem* item = items.front()) item->epoll_->detach_locked(*item);
    }
    delete this;
  }
  IntrusiveList<EpollItem, &EpollItem::file_node_> items;
};

EpollItem::Entry::Entry() : WaitEntry(&EpollItem::notify) {}

void EpollItem::watch(WaitQueue& queue) {
  ARIL_ASSERT(entry_count_ < kMaxQueues);
  Entry& entry = entries_[entry_count_++];
  entry.item = this;
  entry.queue = &queue;
  queue.add(entry);
}

bool EpollItem::notify(WaitEntry& entry, uint32_t events) {
  EpollItem& item = *static_cast<Entry&>(entry).item;
  Epoll& epoll = *item.epoll_;
  bool exclusive;
  {
    LockGuard guard(epoll.lock_);
    if ((events & item.events_ & ~kModeBits) == 0) return false;
    exclusive = (item.events_ & EPOLLEXCLUSIVE) != 0;
    if (!item.ready_node_.is_linked()) {
      epoll.ready_.push_back(item);
      ++epoll.ready_count_;
    }
  }
  bool woke = epoll.announce();
  return exclusive && woke;
}

Result<RefPtr<Epoll>> Epoll::create(OpenFlags flags) {
  return try_make_ref<Epoll>(flags | OpenFlags::kReadWrite);
}

Epoll::~Epoll() {
  LockGuard guard(g_membership);
  while (EpollItem* item = items_.front()) detach_locked(*item);
}

/// Ends a registration; its file is whole, though perhaps without references.
void Epoll::detach_locked(EpollItem& item) {
  for (size_t i = 0; i < item.entry_count_; ++i) item.entries_[i].queue->remove(item.entries_[i]);
  item.file_node_.unlink();
  item.epoll_node_.unlink();
  {
    LockGuard guard(lock_);
    item.detached_ = true;
    if (item.ready_node_.is_linked()) {
      item.ready_node_.unlink();
      --ready_count_;
    }
  }
  RefPtr<EpollItem>::adopt(&item).reset();
}

EpollItem* Epoll::find_locked(File& file, int fd) {
  auto* registrations = static_cast<FileRegistrations*>(file.watchers());
  if (registrations == nullptr) return nullptr;
  for (EpollItem& item : registrations->items) {
    if (item.epoll_ == this && item.fd_ == fd) return &item;
  }
  return nullptr;
}

Result<void> Epoll::add(File& file, int fd, const EpollEvent& event) {
  if (&file == this) return fail(Errno::kInval);
  if (!file.is_pollable()) return fail(Errno::kPerm);
  Epoll* inner = as_epoll(file);
  if ((event.events & EPOLLEXCLUSIVE) != 0) {
    constexpr uint32_t kAllowed = std::to_underlying(PollEvents::kIn | PollEvents::kOut) |
                                  kAlwaysReported | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE;
    if ((event.events & ~kAllowed) != 0 || inner != nullptr) return fail(Errno::kInval);
  }
  auto item = ARIL_TRY(try_make_ref<EpollItem>(*this, file, fd));
  item->events_ = event.events | kAlwaysReported;
  item->data_ = event.data;

  LockGuard guard(g_membership);
  if (find_locked(file, fd) != nullptr) return fail(Errno::kExist);
  if (inner != nullptr) ARIL_TRY(check_nesting_locked(*inner));
  auto* registrations = static_cast<FileRegistrations*>(file.watchers());
  if (registrations == nullptr) {
    registrations = ARIL_TRY(try_make_unique<FileRegistrations>()).release();
    file.set_watchers(registrations);
  }
  registrations->items.push_back(*item);
  items_.push_back(*item);
  item->add_ref();  // the lists' reference; dropped by detach_locked
  PollEvents now = file.poll(item.get());
  if ((std::to_underlying(now) & item->events_ & ~kModeBits) != 0) make_ready(*item);
  return {};
}

Result<void> Epoll::modify(File& file, int fd, const EpollEvent& event) {
  LockGuard guard(g_membership);
  EpollItem* item = find_locked(file, fd);
  if (item == nullptr) return fail(Errno::kNoEnt);
  if (((event.events | item->events_) & EPOLLEXCLUSIVE) != 0) return fail(Errno::kInval);
  {
    LockGuard state(lock_);
    item->events_ = event.events | kAlwaysReported;
    item->data_ = event.data;
  }
  PollEvents now = file.poll(nullptr);
  if ((std::to_underlying(now) & (event.events | kAlwaysReported) & ~kModeBits) != 0)
    make_ready(*item);
  return {};
}

Result<void> Epoll::remove(File& file, int fd) {
  LockGuard guard(g_membership);
  EpollItem* item = find_locked(file, fd);
  if (item == nullptr) return fail(Errno::kNoEnt);
  detach_locked(*item);
  return {};
}

void Epoll::make_ready(EpollItem& item) {
  {
    LockGuard guard(lock_);
    if (item.detached_ || item.ready_node_.is_linked()) return;
    ready_.push_back(item);
    ++ready_count_;
  }
  announce();
}

/// Wakes one waiting thread and everyone who polls this epoll. Any context. True when a thread
/// woke.
bool Epoll::announce() {
  bool waited = !waiters_.empty();
  if (waited) waiters_.wake(1);
  if (!pollers_.empty()) pollers_.wake_all(std::to_underlying(kReadable));
  return waited;
}

Epoll::Ready Epoll::pop_ready_locked() {
  EpollItem* item = ready_.pop_front();
  if (item == nullptr) return {};
  --ready_count_;
  item->add_ref();
  // What is on the ready list is registered, so the file's memory is still there.
  return {.item = item, .file = item->file_->try_add_ref() ? item->file_ : nullptr};
}

void Epoll::Ready::drop() {
  RefPtr<EpollItem>::adopt(item).reset();
  if (file != nullptr) RefPtr<File>::adopt(file).reset();
}

/// Fills in what the application gets; level-triggered registrations go back to the end of the
/// list. False when nothing of interest happened.
bool Epoll::deliver_locked(EpollItem& item, PollEvents events, EpollEvent& out) {
  uint32_t reported = std::to_underlying(events) & item.events_ & ~kModeBits;
  if (item.detached_ || reported == 0) return false;
  out = {.events = reported, .data = item.data_};
  if ((item.events_ & EPOLLONESHOT) != 0) {
    item.events_ &= kModeBits;  // silent until EPOLL_CTL_MOD
  } else if ((item.events_ & EPOLLET) == 0 && !item.ready_node_.is_linked()) {
    ready_.push_back(item);
    ++ready_count_;
  }
  return true;
}

size_t Epoll::ready_count() {
  LockGuard guard(lock_);
  return ready_count_;
}

size_t Epoll::collect(std::span<EpollEvent> out) {
  if (out.empty()) return 0;
  Ready current;
  // Level-triggered registrations come back to the list: each is looked at once.
  size_t left, count = 0;
  {
    LockGuard guard(lock_);
    left = ready_count_;
    current = pop_ready_locked();
  }
  while (current.item != nullptr) {
    PollEvents events = current.file != nullptr ? current.file->poll(nullptr) : PollEvents::kNone;
    Ready next;
    {
      LockGuard guard(lock_);
      if (deliver_locked(*current.item, events, out[count])) ++count;
      if (--left != 0 && count < out.size()) next = pop_ready_locked();
    }
    current.drop();
    current = next;
  }
  return count;
}

Result<size_t> Epoll::wait(std::span<EpollEvent> out, Instant deadline) {
  for (;;) {
    if (size_t count = collect(out); count != 0) {
      // One thread was woken for what may be many events: the next one looks after the rest.
      if (ready_count() != 0 && !waiters_.empty()) waiters_.wake(1);
      return count;
    }
    auto waited = waiters_.wait_until([this] { return ready_count() != 0; }, deadline);
    if (waited) continue;
    if (waited.error() == Errno::kTimedOut) return 0;
    return fail(waited.error());
  }
}

PollEvents Epoll::poll(PollRegistrar* registrar) {
  if (registrar != nullptr) registrar->watch(pollers_);
  // What is on the ready list may no longer hold: ask the files, and forget what is stale.
  for (size_t left = ready_count(); left != 0; --left) {
    Ready ready;
    {
      LockGuard guard(lock_);
      ready = pop_ready_locked();
    }
    if (ready.item == nullptr) break;
    RefPtr<EpollItem> item = RefPtr<EpollItem>::adopt(ready.item);
    RefPtr<File> file = RefPtr<File>::adopt(ready.file);
    if (!file) continue;
    PollEvents events = file->poll(nullptr);
    LockGuard guard(lock_);
    if (item->detached_ || (std::to_underlying(events) & item->events_ & ~kModeBits) == 0) continue;
    if (!item->ready_node_.is_linked()) {
      ready_.push_front(*item);
      ++ready_count_;
    }
    return kReadable;
  }
  return PollEvents::kNone;
}

bool Epoll::reaches_locked(const Epoll& target, unsigned limit) {
  if (this == &target) return true;
  if (limit == 0) return true;  // deeper than allowed counts as a circle
  for (EpollItem& item : items_) {
    Epoll* inner = as_epoll(*item.file_);
    if (inner != nullptr && inner->reaches_locked(target, limit - 1)) return true;
  }
  return false;
}

unsigned Epoll::depth_below_locked(unsigned limit) {
  unsigned depth = 1;
  for (EpollItem& item : items_) {
    Epoll* inner = as_epoll(*item.file_);
    if (inner != nullptr && limit > 1)
      depth = std::max(depth, 1 + inner->depth_below_locked(limit - 1));
  }
  return depth;
}

unsigned Epoll::depth_above_locked(unsigned limit) {
  unsigned depth = 1;
  auto* registrations = static_cast<FileRegistrations*>(watchers());
  if (registrations == nullptr || limit <= 1) return depth;
  for (EpollItem& item : registrations->items)
    depth = std::max(depth, 1 + item.epoll_->depth_above_locked(limit - 1));
  return depth;
}

Result<void> Epoll::check_nesting_locked(Epoll& target) {
  if (target.reaches_locked(*this, kMaxChain)) return fail(Errno::kLoop);
  if (depth_above_locked(kMaxChain + 1) + target.depth_below_locked(kMaxChain + 1) > kMaxChain)
    return fail(Errno::kLoop);
  return {};
}

Result<FileStatus> Epoll::status() { return FileStatus{.device = 14, .inode = 1, .mode = 0600}; }

void* Epoll::facet(const void* tag) { return tag == &kEpollFacet ? this : nullptr; }

Epoll* as_epoll(File& file) { return static_cast<Epoll*>(file.facet(&kEpollFacet)); }

}  // namespace aril::linux_abi
