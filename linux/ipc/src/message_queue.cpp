#include "message_queue.hpp"

#include <algorithm>

#include "base/unique.hpp"
#include "limits.hpp"

namespace aril::linux_abi::ipc {
namespace {

[[clang::no_destroy]] constinit Table<MessageQueue> table;

}  // namespace

Table<MessageQueue>& message_queues() { return table; }

Result<std::unique_ptr<Message>> make_message(int64_t type, size_t size) {
  std::unique_ptr<Message> message = ARIL_TRY(try_make_unique<Message>());
  message->bytes.reset(new (std::nothrow) std::byte[std::max<size_t>(size, 1)]);
  if (!message->bytes) return fail(Errno::kNoMem);
  message->type = type;
  message->size = size;
  return message;
}

Result<RefPtr<MessageQueue>> MessageQueue::create() {
  RefPtr<MessageQueue> queue = ARIL_TRY(try_make_ref<MessageQueue>());
  queue->changed_at = seconds_now();
  queue->byte_limit = limits().queue_bytes.load();
  return queue;
}

MessageQueue::~MessageQueue() {
  while (Message* message = messages_.pop_front()) delete message;
}

Result<void> MessageQueue::send(std::unique_ptr<Message> message, bool may_wait) {
  Result<void> result;
  // True when it is over, well or badly.
  auto attempt = [&] {
    LockGuard hold(ipc.mutex);
    result = ipc.permissions.check(kWrite);
    if (result && ipc.removed) result = fail(Errno::kIdRm);
    if (!result) return true;
    // The second bound is for messages without text.
    if (message->size + bytes > byte_limit || count + 1 > byte_limit) return false;
    bytes += message->size;
    ++count;
    sent_at = seconds_now();
    sender_pid = caller_pid();
    messages_.push_back(*message.release());
    return true;
  };
  if (!attempt()) {
    if (!may_wait) return fail(Errno::kAgain);
    ARIL_TRY(senders_.wait_until(attempt));
  }
  if (result) receivers_.wake_all();
  return result;
}

Message* MessageQueue::find_locked(MessageChoice choice) {
  using enum MessageChoice::Kind;
  Message* best = nullptr;
  int64_t position = 0;
  for (Message& message : messages_) {
    switch (choice.kind) {
      case kFirst:
        return &message;
      case kOfType:
        if (message.type == choice.type) return &message;
        break;
      case kNotOfType:
        if (message.type != choice.type) return &message;
        break;
      case kLowestUpTo:
        if (message.type <= choice.type && (best == nullptr || message.type < best->type))
          best = &message;
        break;
      case kNumbered:
        if (position++ == choice.type) return &message;
        break;
    }
  }
  return best;
}

Result<std::unique_ptr<Message>> MessageQueue::receive(MessageChoice choice, size_t limit,
                                                       bool may_cut, bool may_wait) {
  Result<std::unique_ptr<Message>> result;
  auto attempt = [&] {
    LockGuard hold(ipc.mutex);
    if (auto allowed = ipc.permissions.check(kRead); !allowed) {
      result = fail(allowed.error());
      return true;
    }
    if (ipc.removed) {
      result = fail(Errno::kIdRm);
      return true;
    }
    Message* message = find_locked(choice);
    if (message == nullptr) return false;
    if (message->size > limit && !may_cut) {
      result = fail(Errno::k2Big);
      return true;
    }
    messages_.remove(*message);
    bytes -= message->size;
    --count;
    received_at = seconds_now();
    receiver_pid = caller_pid();
    result = std::unique_ptr<Message>(message);
    return true;
  };
  if (!attempt()) {
    if (!may_wait) return fail(Errno::kNoMsg);
    ARIL_TRY(receivers_.wait_until(attempt));
  }
  if (result) senders_.wake_all();
  return result;
}

Result<std::unique_ptr<Message>> MessageQueue::copy(int64_t position, size_t limit, bool may_cut) {
  // Memory first: it is not allocated under the mutex.
  uint64_t largest = std::min<uint64_t>(limit, limits().message_bytes.load());
  std::unique_ptr<Message> copied = ARIL_TRY(make_message(0, largest));
  LockGuard hold(ipc.mutex);
  ARIL_TRY(ipc.permissions.check(kRead));
  if (ipc.removed) return fail(Errno::kIdRm);
  const Message* message = find_locked({MessageChoice::Kind::kNumbered, position});
  if (message == nullptr) return fail(Errno::kNoMsg);
  if (message->size > largest && !may_cut) return fail(Errno::k2Big);
  copied->type = message->type;
  copied->size = std::min<uint64_t>(message->size, largest);
  std::ranges::copy(message->text().first(copied->size), copied->bytes.get());
  return copied;
}

Result<void> MessageQueue::remove() {
  {
    LockGuard hold(ipc.mutex);
    ARIL_TRY(ipc.permissions.check_owner());
    if (ipc.removed) return fail(Errno::kIdRm);
    ipc.removed = true;
  }
  reconsider();
  table.remove(*this);
  return {};
}

void MessageQueue::reconsider() {
  senders_.wake_all();
  receivers_.wake_all();
}

}  // namespace aril::linux_abi::ipc
