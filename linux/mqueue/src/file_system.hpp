#pragma once
#include <map>
#include <string>

#include "fs/vfs/file_system.hpp"
#include "fs/vfs/inode.hpp"
#include "linux/mqueue/mqueue.hpp"
#include "queue.hpp"

namespace aril::linux_abi::mqueue {

/// The one directory of queues. Names are stable, and guarded by the namespace mutex.
class QueueFileSystem final : public vfs::FileSystem {
 public:
  static Result<RefPtr<QueueFileSystem>> create();
  ~QueueFileSystem() override;

  [[nodiscard]] std::string_view type_name() const override { return "mqueue"; }
  vfs::FileSystemStatus status() override;

  /// Makes `queue` the one behind the next file that the calling task creates here; null: takes it
  /// back.
  void offer(RefPtr<Queue> queue);
  /// What was offered, or a default queue, for open(2) and mknod(2). Under the namespace mutex.
  Result<RefPtr<Queue>> queue_for_new_locked();
  uint64_t next_number_locked() { return next_number_++; }

 private:
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  QueueFileSystem() = default;

  // Under the namespace mutex.
  uint64_t next_number_ = 2;
  const Task* offering_ = nullptr;
  RefPtr<Queue> offered_;
};

/// msg_default and msgsize_default.
Attributes default_attributes();

/// The instance, and its root as a place that needs no mount.
Result<QueueFileSystem*> file_system();
Result<vfs::Path> root_place();

}  // namespace aril::linux_abi::mqueue
