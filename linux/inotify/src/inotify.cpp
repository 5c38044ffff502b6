#include "inotify.hpp"

#include <array>
#include <cstring>
#include <new>

#include "base/unique.hpp"
#include "fs/vfs/dentry.hpp"
#include "fs/vfs/inode.hpp"
#include "linux/abi/ioctl.hpp"

namespace aril::linux_abi {
namespace {

constexpr char kInotifyTag = 0;
constexpr size_t kBuckets = 256;

// Taken under any mutex of the file systems.
constinit Mutex g_mutex{LockRank::kMutexLeaf};
constinit size_t g_watches = 0, g_instances = 0;

}  // namespace

/// All watches by inode; what the file systems tell goes to those who watch it.
class InotifyHub final : public vfs::FileObserver {
 public:
  using Watch = Inotify::Watch;
  using WatchList = IntrusiveList<Watch, &Watch::inode_node>;

  WatchList& bucket(const vfs::Inode* inode) {
    return buckets_[(reinterpret_cast<uint64_t>(inode) * 0x9e37'79b9'7f4a'7c15) >> 56];
  }

  void on_event(const vfs::Inode& watched, vfs::FileEvent event, uint32_t cookie,
                std::string_view name, bool has_name) override {
    constexpr auto kDeleteSelf = static_cast<uint32_t>(vfs::FileEvent::kDeleteSelf);
    auto bits = static_cast<uint32_t>(event);
    LockGuard hold(g_mutex);
    WatchList& list = bucket(&watched);
    for (auto it = list.begin(); it != list.end();) {
      Watch& watch = *it;
      ++it;
      if (watch.inode != &watched) continue;
      bool wanted = (watch.mask & bits & Inotify::kAllEvents) != 0;
      if (!has_name && (watch.mask & Inotify::kExcludeUnlinked) != 0) wanted = false;
      if (wanted) watch.instance->queue_locked(watch.number, bits, cookie, name);
      bool ends = (bits & kDeleteSelf) != 0 || (wanted && (watch.mask & Inotify::kOneShot) != 0);
      if (ends) watch.instance->drop_locked(watch);
    }
  }

  void on_unmount(const vfs::FileSystem& file_system) override {
    LockGuard hold(g_mutex);
    for (WatchList& list : buckets_) {
      for (auto it = list.begin(); it != list.end();) {
        Watch& watch = *it;
        ++it;
        if (&watch.inode->file_system() != &file_system) continue;
        watch.instance->queue_locked(watch.number, Inotify::kUnmount, 0, {});
        watch.instance->drop_locked(watch);
      }
    }
  }

 private:
  std::array<WatchList, kBuckets> buckets_;
};

namespace {
[[clang::no_destroy]] constinit InotifyHub g_hub;
}  // namespace

Inotify* as_inotify(File& file) { return static_cast<Inotify*>(file.facet(&kInotifyTag)); }
void* Inotify::facet(const void* tag) { return tag == &kInotifyTag ? this : nullptr; }

Result<RefPtr<Inotify>> Inotify::create(OpenFlags flags) {
  {
    LockGuard hold(g_mutex);
    if (g_instances >= kMaxInstances) return fail(Errno::kMFile);
    if (g_instances++ == 0) vfs::set_file_observer(g_hub);
  }
  Result<RefPtr<Inotify>> made = try_make_ref<Inotify>(flags);
  if (!made) {
    LockGuard hold(g_mutex);
    --g_instances;
  }
  return made;
}

Inotify::~Inotify() {
  {
    LockGuard hold(g_mutex);
    while (Watch* watch = watches_.front()) drop_locked(*watch);
    while (Event* event = events_.pop_front()) delete event;
    --g_instances;
  }
  reap();
}

// The last references to files go here, without the mutex.
void Inotify::reap() {
  for (;;) {
    std::unique_ptr<Watch> watch;
    {
      LockGuard hold(g_mutex);
      watch.reset(dead_.pop_front());
    }
    if (!watch) return;
  }
}

void Inotify::drop_locked(Watch& watch) {
  watches_.remove(watch);
  watch.inode_node.unlink();
  dead_.push_back(watch);
  --g_watches;
  vfs::change_watch_count(-1);
  queue_locked(watch.number, kIgnored, 0, {});
}

void Inotify::queue_locked(int watch, uint32_t mask, uint32_t cookie, std::string_view name) {
  Event* last = events_.back();
  // [inotify(7)] The same event twice in a row is one.
  if (last != nullptr && last->watch == watch && last->mask == mask && last->cookie == cookie &&
      last->name == name)
    return;
  if (event_count_ >= kMaxQueued) {
    if (last->mask == kOverflow) return;
    watch = -1;
    mask = kOverflow;
    cookie = 0;
    name = {};
  }
  auto* event = new (std::nothrow) Event;
  if (event == nullptr) return;
  event->watch = watch;
  event->mask = mask;
  event->cookie = cookie;
  event->name = name;
  event_bytes_ += event->size();
  ++event_count_;
  events_.push_back(*event);
  readers_.wake_all();
}

Result<int> Inotify::add_watch(const vfs::Path& path, uint32_t mask) {
  constexpr uint32_t kKept = kAllEvents | kExcludeUnlinked | kOneShot;
  reap();
  std::unique_ptr<Watch> watch = ARIL_TRY(try_make_unique<Watch>());
  const vfs::Inode* inode = &path.inode();
  LockGuard hold(g_mutex);
  for (Watch& known : watches_) {
    if (known.inode != inode) continue;
    if ((mask & kMaskCreate) != 0) return fail(Errno::kExist);
    known.mask = ((mask & kMaskAdd) != 0 ? known.mask : 0) | (mask & kKept);
    return known.number;
  }
  if (g_watches >= kMaxWatches) return fail(Errno::kNoSpc);
  watch->instance = this;
  watch->path = path;
  watch->inode = inode;
  watch->mask = mask & kKept;
  watch->number = next_number_++;
  watches_.push_back(*watch);
  g_hub.bucket(inode).push_back(*watch);
  ++g_watches;
  vfs::change_watch_count(1);
  return watch.release()->number;
}

Result<void> Inotify::remove_watch(int number) {
  bool found = false;
  {
    LockGuard hold(g_mutex);
    for (Watch& watch : watches_) {
      if (watch.number != number) continue;
      drop_locked(watch);
      found = true;
      break;
    }
  }
  reap();
  if (!found) return fail(Errno::kInval);
  return {};
}

Result<size_t> Inotify::read(IoBuffer& buffer) {
  reap();
  auto has_events = [&] {
    LockGuard hold(g_mutex);
    return !events_.empty();
  };
  if (!has_events()) {
    if (is_nonblocking()) return fail(Errno::kAgain);
    ARIL_TRY(readers_.wait_until(has_events));
  }
  size_t done = 0;
  for (;;) {
    std::unique_ptr<Event> event;
    {
      LockGuard hold(g_mutex);
      Event* first = events_.front();
      if (first == nullptr) break;
      if (first->size() > buffer.remaining()) {
        // [inotify(7)] Room for not even one event.
        if (done == 0) return fail(Errno::kInval);
        break;
      }
      event.reset(events_.pop_front());
      --event_count_;
      event_bytes_ -= event->size();
    }
    std::array<std::byte, 16 + 256> bytes{};
    uint32_t head[4] = {static_cast<uint32_t>(event->watch), event->mask, event->cookie,
                        static_cast<uint32_t>(event->padded_name())};
    std::memcpy(bytes.data(), head, sizeof head);
    std::memcpy(bytes.data() + sizeof head, event->name.data(), event->name.size());
    Result<size_t> copied = buffer.copy_out(std::span(bytes).first(event->size()));
    if (!copied || *copied != event->size()) {
      if (done == 0) return fail(Errno::kFault);
      break;
    }
    done += event->size();
  }
  if (done == 0) return fail(Errno::kAgain);  // another reader was faster
  return done;
}

PollEvents Inotify::poll(PollRegistrar* registrar) {
  if (registrar != nullptr) registrar->watch(readers_);
  LockGuard hold(g_mutex);
  return events_.empty() ? PollEvents::kNone : kReadable;
}

Result<int64_t> Inotify::ioctl(uint32_t request, uint64_t argument) {
  if (request != FIONREAD) return File::ioctl(request, argument);
  int32_t bytes;
  {
    LockGuard hold(g_mutex);
    bytes = static_cast<int32_t>(event_bytes_);
  }
  ARIL_TRY(UserPtr<int32_t>(argument).write(bytes));
  return 0;
}

}  // namespace aril::linux_abi
