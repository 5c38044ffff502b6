#pragma once
#include "fs/vfs/open_file.hpp"
#include "queue.hpp"

namespace aril::linux_abi::mqueue {

/// An open message queue: a descriptor of mq_open, or of open(2) in /dev/mqueue.
class QueueFile final : public vfs::NodeFile {
 public:
  QueueFile(vfs::Path path, OpenFlags flags, RefPtr<Queue> queue)
      : NodeFile(std::move(path), flags), queue_(std::move(queue)) {}

  [[nodiscard]] Queue& queue() const { return *queue_; }

  /// Its state as text; messages come with mq_receive only.
  Result<size_t> read(IoBuffer& buffer) override;
  Result<size_t> read_at(IoBuffer& buffer, uint64_t offset) override;
  PollEvents poll(PollRegistrar* registrar) override { return queue_->poll(registrar); }
  [[nodiscard]] bool is_pollable() const override { return true; }
  /// Any descriptor that the process closes takes back its registration, as on Linux.
  void flush() override;
  void* facet(const void* tag) override;

 private:
  const RefPtr<Queue> queue_;
  std::atomic<uint64_t> position_{0};
};

/// The message queue behind a file, or null.
QueueFile* as_queue_file(File& file);

}  // namespace aril::linux_abi::mqueue
