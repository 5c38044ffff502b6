#include "fs/vfs/watch.hpp"

#include "fs/vfs/file_system.hpp"
#include "fs/vfs/inode.hpp"
#include "fs/vfs/mount.hpp"

namespace aril::vfs {
namespace {

constinit std::atomic<FileObserver*> the_observer{nullptr};
constinit std::atomic<uint32_t> last_cookie{0};

FileEvent with_kind(const Inode& inode, FileEvent event) {
  return inode.is_directory() ? event | FileEvent::kOnDirectory : event;
}

}  // namespace

constinit std::atomic<uint32_t> detail::watch_count{0};

void set_file_observer(FileObserver& observer) {
  the_observer.store(&observer, std::memory_order_release);  // publishes it
}

void change_watch_count(int change) {
  detail::watch_count.fetch_add(static_cast<uint32_t>(change), std::memory_order_relaxed);
}

uint32_t next_event_cookie() { return last_cookie.fetch_add(1, std::memory_order_relaxed) + 1; }

namespace detail {

// Acquire pairs with set_file_observer's release. Something is watched, so there is one.
FileObserver& observer() { return *the_observer.load(std::memory_order_acquire); }

void tell(const Path& path, FileEvent event) {
  const Inode& inode = path.inode();
  event = with_kind(inode, event);
  DentryCache& dentries = inode.file_system().dentries();
  if (RefPtr<Dentry> parent = dentries.parent_of(path.dentry())) {
    std::string name = dentries.name_of(path.dentry());
    observer().on_event(*parent->inode(), event, 0, name, !path.dentry().is_deleted());
  }
  observer().on_event(inode, event, 0, {}, true);
}

void tell_name(const Inode& directory, std::string_view name, const Inode& file, FileEvent event,
               uint32_t cookie) {
  observer().on_event(directory, with_kind(file, event), cookie, name, true);
}

void tell_self(const Inode& inode, FileEvent event) {
  observer().on_event(inode, event, 0, {}, true);
}

void tell_end(const Inode& inode) {
  if (inode.link_count() == 0 && !inode.is_open()) tell_self(inode, FileEvent::kDeleteSelf);
}

void tell_unmount(const FileSystem& file_system) { observer().on_unmount(file_system); }

}  // namespace detail
}  // namespace aril::vfs
