#pragma once
#include <atomic>
#include <cstdint>

/// The tunables of /proc/sys/fs/mqueue, with Linux's defaults [mq_overview(7)].
namespace aril::linux_abi::mqueue {

struct Limits {
  std::atomic<uint64_t> messages{10};          ///< msg_max
  std::atomic<uint64_t> message_bytes{8192};   ///< msgsize_max
  std::atomic<uint64_t> queues{256};           ///< queues_max
  std::atomic<uint64_t> default_messages{10};  ///< msg_default
  std::atomic<uint64_t> default_bytes{8192};   ///< msgsize_default
};

Limits& limits();

/// What nobody exceeds, CAP_SYS_RESOURCE or not: HARD_MSGMAX, HARD_MSGSIZEMAX.
inline constexpr uint64_t kHardMessages = 65536, kHardMessageBytes = 16 * 1024 * 1024;
/// MQ_PRIO_MAX.
inline constexpr uint32_t kPriorities = 32768;

}  // namespace aril::linux_abi::mqueue
