#include "queue_file.hpp"

namespace aril::linux_abi::mqueue {
namespace {

constexpr char kQueueTag = 0;

}  // namespace

Result<size_t> QueueFile::read(IoBuffer& buffer) {
  size_t count = ARIL_TRY(read_at(buffer, position_));
  position_ += count;
  return count;
}

Result<size_t> QueueFile::read_at(IoBuffer& buffer, uint64_t offset) {
  std::string text = queue_->describe();
  if (offset >= text.size()) return 0;
  auto rest = std::as_bytes(std::span(text)).subspan(offset);
  return buffer.copy_out(rest.first(std::min(rest.size(), buffer.remaining())));
}

void QueueFile::flush() { queue_->cancel_notification(current_process()); }

void* QueueFile::facet(const void* tag) { return tag == &kQueueTag ? this : NodeFile::facet(tag); }

QueueFile* as_queue_file(File& file) { return static_cast<QueueFile*>(file.facet(&kQueueTag)); }

}  // namespace aril::linux_abi::mqueue
