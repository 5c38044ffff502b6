#pragma once
#include <array>
#include <memory>
#include <span>

#include "base/pairing_heap.hpp"
#include "base/ref_ptr.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "kernel/io/file.hpp"
#include "kernel/sched/mutex.hpp"
#include "kernel/sched/wait_queue.hpp"
#include "linux/process/process.hpp"

namespace aril::linux_abi::mqueue {

struct Message {
  PairingHeapNode<Message> node;
  uint32_t priority = 0;
  uint64_t sequence = 0;
  size_t size = 0;
  std::unique_ptr<std::byte[]> bytes;
  [[nodiscard]] std::span<std::byte> text() const { return {bytes.get(), size}; }

  struct Before {
    bool operator()(const Message& a, const Message& b) const {
      return a.priority != b.priority ? a.priority > b.priority : a.sequence < b.sequence;
    }
  };
};

/// kNoMem.
Result<std::unique_ptr<Message>> make_message(size_t size, uint32_t priority);

struct Attributes {
  uint64_t messages = 0, message_bytes = 0;
};

/// How a process wants to hear of a message to an empty queue [mq_notify(3)].
struct Notification {
  enum class Kind : int32_t { kSignal = 0, kNone = 1, kThread = 2 } kind = Kind::kNone;
  int32_t signal = 0;
  uint64_t value = 0;
  /// kThread: the C library's netlink socket, and what it is to be told: its own bytes, of which
  /// the last says what has happened [linux/mqueue.h NOTIFY_COOKIE_LEN].
  enum class Event : uint8_t { kWokenUp = 1, kRemoved = 2 };
  RefPtr<File> sink;
  std::array<std::byte, 32> cookie{};
};

/// A POSIX message queue: messages in order of priority, oldest first [mq_overview(7)]. Any thread.
class Queue final : public RefCounted {
 public:
  /// Counts as the calling user's as long as it exists, which may have queues of `limit` bytes
  /// (RLIMIT_MSGQUEUE). kMFile, kNoMem.
  static Result<RefPtr<Queue>> create(const Attributes& attributes, uint64_t limit);
  ~Queue();

  [[nodiscard]] const Attributes& attributes() const { return attributes_; }
  [[nodiscard]] uint64_t message_count();

  enum class Waiting : uint8_t { kNo, kYes };
  /// Waits for room. kAgain, kTimedOut, kRestart.
  Result<void> send(std::unique_ptr<Message> message, Waiting waiting, Instant deadline);
  /// The first message, waited for. Errors as send.
  Result<std::unique_ptr<Message>> receive(Waiting waiting, Instant deadline);

  /// Registers the caller's process, for one message. kBusy when there is one.
  Result<void> request_notification(Notification notification);
  /// Takes back a registration of `process`, if it has one.
  void cancel_notification(const Process& process);

  PollEvents poll(PollRegistrar* registrar);
  /// What reading its file shows.
  [[nodiscard]] std::string describe();

 private:
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  Queue(const Attributes& attributes, uint32_t owner, uint64_t charge)
      : attributes_(attributes), owner_(owner), charge_(charge) {}
  Notification take_notification_locked(RefPtr<Process>& process);

  const Attributes attributes_;
  const uint32_t owner_;   // the user whose limit it counts against
  const uint64_t charge_;  // bytes
  Mutex mutex_{LockRank::kMutexLeaf};
  PairingHeap<Message, &Message::node, Message::Before> messages_;
  uint64_t count_ = 0, bytes_ = 0, next_sequence_ = 0;
  unsigned waiting_receivers_ = 0;
  RefPtr<Process> notified_;
  Notification notification_;
  WaitQueue senders_, receivers_;
};

}  // namespace aril::linux_abi::mqueue
