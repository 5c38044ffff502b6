#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ref_ptr.hpp"
#include "base/result.hpp"
#include "fs/vfs/identity.hpp"
#include "fs/vfs/mode.hpp"
#include "fs/vfs/path.hpp"
#include "kernel/io/file.hpp"
#include "kernel/sched/mutex.hpp"
#include "kernel/vm/page_cache.hpp"

namespace aril::vfs {

class FileSystem;
struct LookupContext;

/// Nanoseconds since 1970, for time stamps. The platform or linux/time may replace the clock.
int64_t wall_clock_ns();
void set_wall_clock(int64_t (*clock)());
/// The same of a moment in the past.
int64_t wall_clock_ns_at(Instant when);

/// Receives directory entries. `next_offset` is where reading goes on after this entry (d_off).
class DirectoryEmitter {
 public:
  virtual ~DirectoryEmitter() = default;
  /// False when there is no room: the entry was not taken, and the walk stops.
  virtual bool emit(std::string_view name, uint64_t inode, uint8_t type, uint64_t next_offset) = 0;
};

/// What chmod, chown, utimensat change at once. Absent fields stay. Rights were checked before.
struct AttributeChange {
  std::optional<uint32_t> mode;  ///< permission bits only
  std::optional<uint32_t> uid, gid;
  std::optional<int64_t> access_ns, modify_ns;
};

/// Where a symbolic link leads: text to walk, or, for the magic links of /proc, a place.
struct LinkTarget {
  std::string text;
  Path place;
};

/// State that another layer hangs on an inode: a FIFO's pipe, a bound Unix socket.
class Attachment : public RefCounted {
 public:
  virtual ~Attachment() = default;
};

enum class XattrFlags : uint8_t { kNone = 0, kCreate = 1, kReplace = 2 };

/// A file, directory, link or special file of one file system; names for it are dentries.
///
/// Locking. Operations on names (lookup ... rename, read_directory) run under the file system's
/// namespace mutex (LockRank::kFileSystem), taken by the functions of operations.hpp and
/// lookup.hpp, so that a file system needs no lock for its directories. Attributes that single
/// words hold are atomics, readable any time; compound changes and the size of a regular file are
/// guarded by mutex() (LockRank::kInode).
///
/// Defaults answer for a file system that cannot do the thing: kPerm for changes of names, kRoFs
/// for read-only file systems is answered before by the mount, kOpNotSupp for extended attributes.
class Inode : public RefCounted {
 public:
  Inode(FileSystem& file_system, uint64_t number, uint32_t mode);
  virtual ~Inode();

  [[nodiscard]] FileSystem& file_system() const { return file_system_; }
  [[nodiscard]] uint64_t number() const { return number_; }
  [[nodiscard]] uint32_t mode() const { return mode_.load(std::memory_order_relaxed); }
  [[nodiscard]] uint32_t type() const { return mode() & mode::kTypeMask; }
  [[nodiscard]] bool is_directory() const { return type() == mode::kDirectory; }
  [[nodiscard]] bool is_regular() const { return type() == mode::kRegular; }
  [[nodiscard]] bool is_symlink() const { return type() == mode::kSymlink; }
  [[nodiscard]] uint32_t uid() const { return uid_.load(std::memory_order_relaxed); }
  [[nodiscard]] uint32_t gid() const { return gid_.load(std::memory_order_relaxed); }
  [[nodiscard]] uint64_t special_device() const { return special_device_; }
  Mutex& mutex() const { return mutex_; }

  // Names, in a directory. `name` is one component, never "", "." or "..", at most 255 bytes.
  /// kNoEnt when there is none.
  virtual Result<RefPtr<Inode>> lookup(std::string_view name);
  /// False: names may appear, vanish and change meaning by themselves (/proc), so none is cached,
  /// and lookup() and read_directory() run without the namespace mutex.
  [[nodiscard]] virtual bool has_stable_names() const { return true; }
  /// Asked before a cached name is used when the file system revalidates names: does `name` still
  /// mean `child`? Perhaps under the namespace mutex.
  virtual Result<bool> is_still(std::string_view name, Inode& child);
  /// Makes a file of any type but symbolic link: `mode` holds the type too. `device` for devices.
  virtual Result<RefPtr<Inode>> create(std::string_view name, uint32_t mode, uint64_t device,
                                       const Identity& owner);
  virtual Result<RefPtr<Inode>> symlink(std::string_view name, std::string_view target,
                                        const Identity& owner);
  virtual Result<void> link(std::string_view name, Inode& target);
  virtual Result<void> unlink(std::string_view name, Inode& victim);
  /// kNotEmpty.
  virtual Result<void> rmdir(std::string_view name, Inode& victim);
  /// Moves `moved` here -> target_parent; `replaced` (may be null) goes. With `exchange` both swap
  /// places. Types and ancestry were checked; kNotEmpty for a full directory in the way is not.
  virtual Result<void> rename(std::string_view name, Inode& moved, Inode& target_parent,
                              std::string_view target_name, Inode* replaced, bool exchange);
  /// A file without a name (O_TMPFILE); its link count is 0 until link().
  virtual Result<RefPtr<Inode>> create_unnamed(uint32_t mode, const Identity& owner);
  /// Emits entries from `offset` on ("." and ".." excluded; offsets 0 and 1 are theirs, so
  /// `offset` >= 2). Entries that exist throughout appear exactly once.
  virtual Result<void> read_directory(uint64_t offset, DirectoryEmitter& emitter);

  /// A symbolic link's text.
  virtual Result<std::string> read_link();
  /// Where following it leads; magic links override it.
  virtual Result<LinkTarget> follow();
  /// kNoData when following is a jump, so that O_NOFOLLOW and readlink still see a link.
  [[nodiscard]] virtual bool is_magic_link() const { return false; }

  // Attributes.
  virtual Result<FileStatus> status();
  virtual Result<void> set_attributes(const AttributeChange& change);
  /// Access time after a read; a file system may ignore it.
  virtual void touch_accessed();

  // Contents of a regular file.
  /// kInval when it has none. For kWrite the cache that may be changed (an overlay copies up). It
  /// does not depend on the inode: mappings keep it when the last name and descriptor are gone.
  virtual Result<RefPtr<PageCache>> page_cache(PageAccess access);
  /// A new reader of the contents, below any cache, that does not depend on the inode: what an
  /// overlay puts its own cache on. kInval when the file system has no such thing.
  virtual Result<std::unique_ptr<PageBacking>> make_backing();
  [[nodiscard]] virtual uint64_t size() const;
  /// lseek's kData and kHole: where from `offset` on the next data, or the next hole, begins. kNxIo
  /// from the end on, and when no data follows. Default: it is all data, with a hole at the end.
  virtual Result<uint64_t> seek_extent(uint64_t offset, SeekOrigin origin);
  /// Under mutex(): writes at `offset`, growing the file if need be. Count; an error only when
  /// nothing was written. Sets the time stamps.
  virtual Result<size_t> write_locked(IoBuffer& buffer, uint64_t offset);
  /// Under mutex().
  virtual Result<void> resize_locked(uint64_t size);
  /// Under mutex(). `mode` is fallocate(2)'s.
  virtual Result<void> allocate_locked(uint32_t mode, uint64_t offset, uint64_t length);
  /// fsync: contents and attributes are on stable storage when it returns.
  virtual Result<void> sync();
  /// fdatasync: contents, and what it takes to read them back.
  virtual Result<void> sync_data();
  /// memfd seals, F_SEAL_* [fcntl(2)]. kInval for files that take none; kPerm when sealed against
  /// it, kBusy when the file is mapped and is to be sealed against writing.
  virtual Result<uint32_t> seals();
  virtual Result<void> add_seals(uint32_t seals);
  /// Made by the file system when it is more than pages: /proc files, devices.
  /// Default: OpenFile, directory files, and the openers registered in devices.hpp.
  virtual Result<RefPtr<File>> open(const Path& path, OpenFlags flags);

  // Extended attributes.
  virtual Result<std::vector<std::byte>> get_xattr(std::string_view name);
  virtual Result<void> set_xattr(std::string_view name, std::span<const std::byte> value,
                                 XattrFlags flags);
  virtual Result<void> remove_xattr(std::string_view name);
  /// NUL-terminated names one after the other, as listxattr returns them.
  virtual Result<std::string> list_xattrs();

  /// The attachment, or null. `replace_attachment` returns the old one.
  RefPtr<Attachment> attachment() const;
  RefPtr<Attachment> replace_attachment(RefPtr<Attachment> attachment);
  /// Stores `made` unless there is one already; returns the one that stands.
  RefPtr<Attachment> attach_if_none(RefPtr<Attachment> made);

  [[nodiscard]] uint32_t link_count() const { return link_count_.load(std::memory_order_relaxed); }
  /// Some File stands for it. For NodeFile to keep.
  [[nodiscard]] bool is_open() const { return open_files_.load(std::memory_order_relaxed) != 0; }
  void count_open() { open_files_.fetch_add(1, std::memory_order_relaxed); }
  /// True for the last one.
  bool count_closed() { return open_files_.fetch_sub(1, std::memory_order_relaxed) == 1; }
  /// Writers and executions exclude each other [execve(2), open(2): ETXTBSY]. Each side counts
  /// first and looks at the other's count then, so that of two that come at once at most one
  /// succeeds.
  void count_writer() { writers_.fetch_add(1); }
  void drop_writer() { writers_.fetch_sub(1); }
  void count_execution() { executions_.fetch_add(1); }
  void drop_execution() { executions_.fetch_sub(1); }
  [[nodiscard]] bool is_open_for_writing() const { return writers_.load() != 0; }
  [[nodiscard]] bool is_executing() const { return executions_.load() != 0; }
  /// Without a name, but may get one (O_TMPFILE).
  [[nodiscard]] bool is_linkable() const { return linkable_.load(std::memory_order_relaxed); }
  /// Sets modification and change time (or change time alone) to now.
  void touch_modified();
  void touch_changed();

 protected:
  /// Stores through mappings of `cache` (may be null) count as modifications. To be called before
  /// the time stamps are looked at or set.
  void note_stores(PageCache* cache);

  // Relaxed atomics: each is a word of its own, and readers accept any order between them.
  std::atomic<uint32_t> mode_;
  std::atomic<uint32_t> uid_{0}, gid_{0};
  std::atomic<uint32_t> link_count_{1};
  std::atomic<int64_t> access_ns_{0}, modify_ns_{0}, change_ns_{0}, birth_ns_{0};
  uint64_t special_device_ = 0;
  std::atomic<bool> linkable_{false};

 private:
  std::atomic<uint32_t> open_files_{0}, writers_{0}, executions_{0};
  FileSystem& file_system_;
  const uint64_t number_;
  mutable Mutex mutex_{LockRank::kInode};
  mutable SpinLock attachment_lock_{LockRank::kSpinLeaf};
  RefPtr<Attachment> attachment_;
};

/// Who owns what `who` creates in `directory`, and with which mode: a set-group-ID directory passes
/// on its group, and to directories the bit itself [inode(7)].
Identity owner_for_new(const Inode& directory, const Identity& who, uint32_t& mode);

/// Whether `who` may use the inode so [path_resolution(7)]; kAcces.
Result<void> check_access(const Inode& inode, const Identity& who, Access access);

}  // namespace aril::vfs
