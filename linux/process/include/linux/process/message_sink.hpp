#pragma once
#include <cstddef>
#include <span>

#include "base/result.hpp"
#include "kernel/io/file.hpp"

namespace aril::linux_abi {

/// A file that takes messages from the kernel to the program: a netlink socket, through which
/// mq_notify's SIGEV_THREAD wakes the C library's thread.
class MessageSink {
 public:
  virtual ~MessageSink() = default;
  /// Queues it for the reader. kNoBufs, kNoMem. Thread context.
  virtual Result<void> deliver(std::span<const std::byte> message) = 0;
};

/// What a sink's facet() answers to, with its MessageSink.
extern const char kMessageSinkTag;
/// Null when the file is none.
MessageSink* as_message_sink(File& file);

}  // namespace aril::linux_abi
