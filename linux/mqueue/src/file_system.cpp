#include "file_system.hpp"

#include <algorithm>

#include "fs/vfs/mount.hpp"
#include "limits.hpp"
#include "queue_file.hpp"

namespace aril::linux_abi::mqueue {
namespace {

namespace mode = vfs::mode;

class QueueInode final : public vfs::Inode {
 public:
  QueueInode(QueueFileSystem& owner, uint64_t number, uint32_t permissions,
             const vfs::Identity& who, RefPtr<Queue> queue)
      : Inode(owner, number, permissions), queue_(std::move(queue)) {
    uid_ = who.uid;
    gid_ = who.gid;
    access_ns_ = modify_ns_ = change_ns_ = birth_ns_ = vfs::wall_clock_ns();
  }
  Result<RefPtr<File>> open(const vfs::Path& path, OpenFlags flags) override {
    return RefPtr<File>(ARIL_TRY(try_make_ref<QueueFile>(path, flags, queue_)));
  }
  [[nodiscard]] uint64_t size() const override {
    constexpr uint64_t kTextSize = 80;  // Linux's FILENT_SIZE
    return kTextSize;
  }
  Result<void> resize_locked(uint64_t) override { return {}; }
  void removed() { link_count_ = 0; }

 private:
  const RefPtr<Queue> queue_;
};

class QueueDirectory final : public vfs::Inode {
 public:
  explicit QueueDirectory(QueueFileSystem& owner)
      : Inode(owner, 1, mode::kDirectory | mode::kSticky | 0777), owner_(owner) {}

  Result<RefPtr<vfs::Inode>> lookup(std::string_view name) override {
    auto found = find(name);
    if (found == entries_.end()) return fail(Errno::kNoEnt);
    return RefPtr<vfs::Inode>(found->second.inode.get());
  }

  Result<RefPtr<vfs::Inode>> create(std::string_view name, uint32_t permissions, uint64_t,
                                    const vfs::Identity& who) override {
    if ((permissions & mode::kTypeMask) != mode::kRegular) return fail(Errno::kPerm);
    bool is_privileged = current_task().credentials.can(Capability::kSysResource);
    if (entries_.size() >= limits().queues.load() && !is_privileged) return fail(Errno::kNoSpc);
    RefPtr<Queue> queue = ARIL_TRY(owner_.queue_for_new_locked());
    RefPtr<QueueInode> inode = ARIL_TRY(try_make_ref<QueueInode>(
        owner_, owner_.next_number_locked(), permissions, who, std::move(queue)));
    entries_.emplace(next_offset_++, Entry{std::string(name), inode});
    touch_modified();
    return RefPtr<vfs::Inode>(inode.get());
  }

  Result<void> unlink(std::string_view name, vfs::Inode&) override {
    auto found = find(name);
    if (found == entries_.end()) return fail(Errno::kNoEnt);
    found->second.inode->removed();
    entries_.erase(found);
    touch_modified();
    return {};
  }

  Result<void> read_directory(uint64_t offset, vfs::DirectoryEmitter& emitter) override {
    constexpr uint8_t kRegularType = 8;  // DT_REG
    for (auto at = entries_.lower_bound(offset); at != entries_.end(); ++at)
      if (!emitter.emit(at->second.name, at->second.inode->number(), kRegularType, at->first + 1))
        break;
    return {};
  }

 private:
  struct Entry {
    std::string name;
    RefPtr<QueueInode> inode;
  };
  using Entries = std::map<uint64_t, Entry>;
  Entries::iterator find(std::string_view name) {
    return std::ranges::find_if(entries_, [&](auto& item) { return item.second.name == name; });
  }

  QueueFileSystem& owner_;
  Entries entries_;  // by directory offset, which begins after those of "." and ".."
  uint64_t next_offset_ = 2;
};

struct Instance {
  Mutex mutex{LockRank::kFileTable};
  RefPtr<QueueFileSystem> file_system;
  RefPtr<vfs::Mount> mount;
};
[[clang::no_destroy]] constinit Instance instance;

}  // namespace

Result<RefPtr<QueueFileSystem>> QueueFileSystem::create() {
  RefPtr<QueueFileSystem> made = ARIL_TRY(try_make_ref<QueueFileSystem>());
  ARIL_TRY(made->set_root(ARIL_TRY(try_make_ref<QueueDirectory>(*made))));
  return made;
}

QueueFileSystem::~QueueFileSystem() { drop_inodes(); }

vfs::FileSystemStatus QueueFileSystem::status() {
  constexpr uint64_t kMagic = 0x19800202;  // MQUEUE_MAGIC
  return {.magic = kMagic};
}

void QueueFileSystem::offer(RefPtr<Queue> queue) {
  LockGuard guard(namespace_mutex());
  offering_ = queue ? &current_task() : nullptr;
  std::swap(offered_, queue);
}

Result<RefPtr<Queue>> QueueFileSystem::queue_for_new_locked() {
  if (offered_ && offering_ == &current_task()) return std::move(offered_);
  // The caller's own limit cannot be looked up under the namespace mutex.
  const ResourceLimits usual;
  return Queue::create(default_attributes(), usual[Resource::kMessageQueue].current);
}

Attributes default_attributes() {
  Limits& all = limits();
  return {.messages = std::min(all.default_messages.load(), all.messages.load()),
          .message_bytes = std::min(all.default_bytes.load(), all.message_bytes.load())};
}

Result<QueueFileSystem*> file_system() {
  LockGuard guard(instance.mutex);
  if (!instance.file_system) {
    RefPtr<QueueFileSystem> made = ARIL_TRY(QueueFileSystem::create());
    instance.mount = ARIL_TRY(vfs::Mount::create_detached(made));
    instance.file_system = std::move(made);
  }
  return instance.file_system.get();
}

Result<vfs::Path> root_place() {
  QueueFileSystem* queues = ARIL_TRY(file_system());
  return vfs::Path(instance.mount, queues->root());
}

}  // namespace aril::linux_abi::mqueue

namespace aril::linux_abi {

Result<RefPtr<vfs::FileSystem>> message_queue_file_system() {
  return RefPtr<vfs::FileSystem>(ARIL_TRY(mqueue::file_system()));
}

}  // namespace aril::linux_abi
