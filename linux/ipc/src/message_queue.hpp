#pragma once
#include <memory>
#include <span>

#include "base/intrusive_list.hpp"
#include "ipc_object.hpp"
#include "kernel/sched/wait_queue.hpp"

namespace aril::linux_abi::ipc {

struct Message {
  ListNode node;
  int64_t type = 0;
  size_t size = 0;
  std::unique_ptr<std::byte[]> bytes;
  [[nodiscard]] std::span<std::byte> text() const { return {bytes.get(), size}; }
};

/// Which message a receiver wants [msgrcv(2)].
struct MessageChoice {
  enum class Kind : uint8_t { kFirst, kOfType, kNotOfType, kLowestUpTo, kNumbered } kind;
  int64_t type = 0;  ///< kNumbered: the position
};

/// A queue of typed messages [msgop(2)].
class MessageQueue final : public RefCounted {
 public:
  static Result<RefPtr<MessageQueue>> create();
  ~MessageQueue();

  /// Waits for room unless `may_wait` is false (kAgain). kIdRm, kAcces, kRestart.
  Result<void> send(std::unique_ptr<Message> message, bool may_wait);
  /// Takes a message out; one that is longer than `limit` stays, k2Big, unless `may_cut`. kNoMsg
  /// when there is none and it may not wait.
  Result<std::unique_ptr<Message>> receive(MessageChoice choice, size_t limit, bool may_cut,
                                           bool may_wait);
  /// A copy of the message at a position, which stays (MSG_COPY). kNoMsg.
  Result<std::unique_ptr<Message>> copy(int64_t position, size_t limit, bool may_cut);
  /// IPC_RMID: those who wait fail with kIdRm. kPerm.
  Result<void> remove();
  /// After byte_limit changed: those who wait look again. Without the mutex.
  void reconsider();

  Head ipc;
  // Under ipc.mutex.
  int64_t sent_at = 0, received_at = 0, changed_at = 0;
  uint64_t bytes = 0, count = 0, byte_limit = 0;
  int sender_pid = 0, receiver_pid = 0;

 private:
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  MessageQueue() = default;
  Message* find_locked(MessageChoice choice);

  IntrusiveList<Message, &Message::node> messages_;
  WaitQueue senders_, receivers_;
};

Table<MessageQueue>& message_queues();

/// kNoMem.
Result<std::unique_ptr<Message>> make_message(int64_t type, size_t size);

}  // namespace aril::linux_abi::ipc
