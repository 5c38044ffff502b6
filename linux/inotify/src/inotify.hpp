#pragma once
#include <memory>
#include <string>

#include "base/intrusive_list.hpp"
#include "fs/vfs/path.hpp"
#include "fs/vfs/watch.hpp"
#include "kernel/io/file.hpp"

namespace aril::linux_abi {

/// An inotify instance [inotify(7)]: watches, and the events that were not read yet. One mutex, of
/// the whole component, guards them all.
class Inotify final : public File {
 public:
  static constexpr size_t kMaxQueued = 16384;   ///< fs.inotify.max_queued_events
  static constexpr size_t kMaxWatches = 65536;  ///< max_user_watches
  static constexpr size_t kMaxInstances = 128;  ///< max_user_instances

  // Beyond vfs::FileEvent.
  static constexpr uint32_t kAllEvents = 0xfff;
  static constexpr uint32_t kUnmount = 0x2000, kOverflow = 0x4000, kIgnored = 0x8000;
  static constexpr uint32_t kOnlyDirectory = 0x0100'0000, kDontFollow = 0x0200'0000,
                            kExcludeUnlinked = 0x0400'0000, kMaskCreate = 0x1000'0000,
                            kMaskAdd = 0x2000'0000, kOneShot = 0x8000'0000;

  /// kMFile at kMaxInstances, kNoMem.
  static Result<RefPtr<Inotify>> create(OpenFlags flags);
  ~Inotify() override;

  Result<size_t> read(IoBuffer& buffer) override;
  PollEvents poll(PollRegistrar* registrar) override;
  [[nodiscard]] bool is_pollable() const override { return true; }
  Result<int64_t> ioctl(uint32_t request, uint64_t argument) override;
  Result<FileStatus> status() override {
    return FileStatus{.device = 14, .inode = 1, .mode = 0600};
  }
  [[nodiscard]] std::string description() const override { return "anon_inode:inotify"; }
  void* facet(const void* tag) override;

  /// The watch's number: a new one, or that of the same inode, whose mask changes. kNoSpc, kExist.
  Result<int> add_watch(const vfs::Path& path, uint32_t mask);
  /// kInval when there is none.
  Result<void> remove_watch(int number);

 private:
  friend class InotifyHub;
  friend Inotify* as_inotify(File& file);
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  explicit Inotify(OpenFlags flags) : File(flags) {}

  struct Watch {
    ListNode instance_node, inode_node;
    Inotify* instance = nullptr;
    vfs::Path path;
    const vfs::Inode* inode = nullptr;
    uint32_t mask = 0;
    int number = 0;
  };
  struct Event {
    ListNode node;
    int watch = 0;
    uint32_t mask = 0, cookie = 0;
    std::string name;
    /// As read(2) gives it: the name is padded to a multiple of 16 bytes.
    [[nodiscard]] size_t padded_name() const {
      constexpr size_t kUnit = 16;
      return name.empty() ? 0 : (name.size() + kUnit) / kUnit * kUnit;
    }
    [[nodiscard]] size_t size() const { return 16 + padded_name(); }
  };

  void queue_locked(int watch, uint32_t mask, uint32_t cookie, std::string_view name);
  /// The watch ends with IN_IGNORED; it is destroyed by reap().
  void drop_locked(Watch& watch);
  void reap();

  WaitQueue readers_;
  IntrusiveList<Watch, &Watch::instance_node> watches_;
  IntrusiveList<Watch, &Watch::instance_node> dead_;
  IntrusiveList<Event, &Event::node> events_;
  size_t event_count_ = 0, event_bytes_ = 0;
  int next_number_ = 1;
};

/// Null when it is something else.
Inotify* as_inotify(File& file);

}  // namespace aril::linux_abi
