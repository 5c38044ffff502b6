#pragma once
#include <atomic>
#include <cstdint>
#include <string_view>

#include "base/flags.hpp"
#include "fs/vfs/path.hpp"

/// What happens to files, for those who watch (inotify). While nobody does, each place that tells
/// of an event costs one test of a word in memory.
namespace aril::vfs {

class FileSystem;
class Inode;

/// One of the low bits of inotify(7)'s masks, perhaps with kOnDirectory.
enum class FileEvent : uint32_t {
  kAccess = 1,
  kModify = 2,
  kAttributes = 4,
  kCloseWrite = 8,
  kCloseNoWrite = 0x10,
  kOpen = 0x20,
  kMovedFrom = 0x40,
  kMovedTo = 0x80,
  kCreate = 0x100,
  kDelete = 0x200,
  kDeleteSelf = 0x400,
  kMoveSelf = 0x800,
  kOnDirectory = 0x4000'0000,
};
ARIL_FLAG_OPERATORS(FileEvent);

/// Called in thread context with any of the mutexes of the file system held: must not sleep on
/// theirs, nor drop a Path.
class FileObserver {
 public:
  /// `name` is empty for the watched file itself, else that of the file in the watched directory.
  /// `has_name` is false when the name was removed. `cookie` connects the halves of a rename.
  virtual void on_event(const Inode& watched, FileEvent event, uint32_t cookie,
                        std::string_view name, bool has_name) = 0;
  virtual void on_unmount(const FileSystem& file_system) = 0;

 protected:
  ~FileObserver() = default;
};
/// Once.
void set_file_observer(FileObserver& observer);

namespace detail {
extern constinit std::atomic<uint32_t> watch_count;
}
/// The observer counts what it watches here.
void change_watch_count(int change);
// Relaxed: an event at the moment when the first watch begins may be seen or not.
inline bool is_anything_watched() {
  return detail::watch_count.load(std::memory_order_relaxed) != 0;
}

namespace detail {
void tell(const Path& path, FileEvent event);
void tell_name(const Inode& directory, std::string_view name, const Inode& file, FileEvent event,
               uint32_t cookie);
void tell_self(const Inode& inode, FileEvent event);
void tell_end(const Inode& inode);
void tell_unmount(const FileSystem& file_system);
}  // namespace detail

/// Of a file: told to those who watch it, or its directory.
inline void announce(const Path& path, FileEvent event) {
  if (is_anything_watched()) [[unlikely]]
    detail::tell(path, event);
}
/// Of a name in a directory.
inline void announce_name(const Inode& directory, std::string_view name, const Inode& file,
                          FileEvent event, uint32_t cookie = 0) {
  if (is_anything_watched()) [[unlikely]]
    detail::tell_name(directory, name, file, event, cookie);
}
/// Of the file itself only.
inline void announce_self(const Inode& inode, FileEvent event) {
  if (is_anything_watched()) [[unlikely]]
    detail::tell_self(inode, event);
}
/// A name of the file was removed, or it was closed: its end, if that was the last of both.
inline void announce_end(const Inode& inode) {
  if (is_anything_watched()) [[unlikely]]
    detail::tell_end(inode);
}
inline void announce_unmount(const FileSystem& file_system) {
  if (is_anything_watched()) [[unlikely]]
    detail::tell_unmount(file_system);
}
/// For the two halves of a rename.
uint32_t next_event_cookie();

}  // namespace aril::vfs
