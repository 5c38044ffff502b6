#include <limits>

#include "limits.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/process/process.hpp"
#include "message_queue.hpp"

/// msgget, msgsnd, msgrcv, msgctl.
namespace aril::linux_abi::ipc {
namespace {

// [linux/msg.h]
constexpr int kNoError = 010000, kExcept = 020000, kCopy = 040000;
constexpr int kStatusByIndex = 11, kUsage = 12, kStatusByIndexAny = 13;

/// struct msqid64_ds.
struct LinuxQueue {
  LinuxPermissions permissions;
  int64_t sent_at, received_at, changed_at;
  uint64_t bytes, count, byte_limit;
  int32_t sender_pid, receiver_pid;
  uint64_t unused[2];
};
static_assert(sizeof(LinuxQueue) == 120);

/// struct msginfo.
struct LinuxInfo {
  int32_t pool, map, message_bytes, queue_bytes, queues, segment_size, messages;
  uint16_t segments, padding;
};

Result<int> sys_msgget(int key, int flags) {
  return message_queues().get(
      key, flags, limits().queues.load(), [] { return MessageQueue::create(); },
      [](const MessageQueue&) -> Result<void> { return {}; });
}
ARIL_SYSCALL(68, msgget, sys_msgget, "int oflags");

// The application's struct msgbuf: a long, then the text.
Result<void> sys_msgsnd(int id, uint64_t buffer, uint64_t size, int flags) {
  if (size > limits().message_bytes.load() || size > std::numeric_limits<int64_t>::max() || id < 0)
    return fail(Errno::kInval);
  int64_t type = ARIL_TRY(UserPtr<int64_t>(buffer).read());
  if (type < 1) return fail(Errno::kInval);
  std::unique_ptr<Message> message = ARIL_TRY(make_message(type, size));
  ARIL_TRY(copy_from_user(message->text(), buffer + sizeof type));
  RefPtr<MessageQueue> queue = ARIL_TRY(message_queues().find(id));
  current_task().never_restart = true;  // [signal(7)]
  return queue->send(std::move(message), (flags & kNoWait) == 0);
}
ARIL_SYSCALL(69, msgsnd, sys_msgsnd, "int buf size oflags");

MessageChoice choice_of(int64_t type, int flags) {
  using enum MessageChoice::Kind;
  if (type == 0) return {kFirst};
  if (type < 0)
    return {kLowestUpTo, type == std::numeric_limits<int64_t>::min()
                             ? std::numeric_limits<int64_t>::max()
                             : -type};
  return {(flags & kExcept) != 0 ? kNotOfType : kOfType, type};
}

Result<uint64_t> sys_msgrcv(int id, uint64_t buffer, int64_t size, int64_t type, int flags) {
  if (id < 0 || size < 0) return fail(Errno::kInval);
  bool copies = (flags & kCopy) != 0;
  if (copies && ((flags & kExcept) != 0 || (flags & kNoWait) == 0)) return fail(Errno::kInval);
  RefPtr<MessageQueue> queue = ARIL_TRY(message_queues().find(id));
  auto limit = static_cast<size_t>(size);
  bool may_cut = (flags & kNoError) != 0;
  current_task().never_restart = true;  // [signal(7)]
  std::unique_ptr<Message> message =
      copies ? ARIL_TRY(queue->copy(type, limit, may_cut))
             : ARIL_TRY(
                   queue->receive(choice_of(type, flags), limit, may_cut, (flags & kNoWait) == 0));
  ARIL_TRY(write_user(buffer, message->type));
  size_t count = std::min(limit, message->size);
  ARIL_TRY(copy_to_user(buffer + sizeof message->type, message->text().first(count)));
  return count;
}
ARIL_SYSCALL(70, msgrcv, sys_msgrcv, "int >buf size int oflags");

Result<void> write_status(uint64_t buffer, const MessageQueue& queue, bool check) {
  LinuxQueue status{};
  {
    LockGuard hold(queue.ipc.mutex);
    if (check) ARIL_TRY(queue.ipc.permissions.check(kRead));
    if (queue.ipc.removed) return fail(Errno::kIdRm);
    status.permissions = queue.ipc.permissions.to_linux(queue.ipc.id);
    status.sent_at = queue.sent_at;
    status.received_at = queue.received_at;
    status.changed_at = queue.changed_at;
    status.bytes = queue.bytes;
    status.count = queue.count;
    status.byte_limit = queue.byte_limit;
    status.sender_pid = queue.sender_pid;
    status.receiver_pid = queue.receiver_pid;
  }
  return write_user(buffer, status);
}

Result<int> write_info(uint64_t buffer, int command) {
  // [linux/msg.h] MSGMAP, MSGPOOL, MSGTQL, MSGSSZ, MSGSEG: nothing depends on them.
  constexpr int kMap = 16384, kPool = 512000, kSegmentSize = 16;
  LinuxInfo info{};
  info.message_bytes = static_cast<int32_t>(limits().message_bytes.load());
  info.queue_bytes = static_cast<int32_t>(limits().queue_bytes.load());
  info.queues = static_cast<int32_t>(limits().queues.load());
  info.segment_size = kSegmentSize;
  info.segments = 0xffff;
  info.pool = kPool;
  info.map = info.messages = kMap;
  if (command == kUsage) {
    info.pool = info.map = info.messages = 0;
    size_t index = 0;
    for (RefPtr<MessageQueue> queue; (queue = message_queues().next(index)); ++index) {
      LockGuard hold(queue->ipc.mutex);
      ++info.pool;
      info.map += static_cast<int32_t>(queue->count);
      info.messages += static_cast<int32_t>(queue->bytes);
    }
  }
  ARIL_TRY(write_user(buffer, info));
  return message_queues().highest_index();
}

Result<void> set_status(MessageQueue& queue, uint64_t buffer) {
  LinuxQueue status = ARIL_TRY(UserPtr<LinuxQueue>(buffer).read());
  {
    LockGuard hold(queue.ipc.mutex);
    if (queue.ipc.removed) return fail(Errno::kIdRm);
    ARIL_TRY(queue.ipc.permissions.check_owner());
    if (status.byte_limit > limits().queue_bytes.load() &&
        !current_task().credentials.can(Capability::kSysResource))
      return fail(Errno::kPerm);
    queue.ipc.permissions.change(status.permissions);
    queue.byte_limit = status.byte_limit;
    queue.changed_at = seconds_now();
  }
  queue.reconsider();
  return {};
}

Result<int> sys_msgctl(int id, int command, uint64_t buffer) {
  if (id < 0 || command < 0) return fail(Errno::kInval);
  if (command == kInfo || command == kUsage) return write_info(buffer, command);
  if (command == kStatusByIndex || command == kStatusByIndexAny) {
    RefPtr<MessageQueue> queue = ARIL_TRY(message_queues().find_index(id));
    ARIL_TRY(write_status(buffer, *queue, command == kStatusByIndex));
    return queue->ipc.id;
  }
  if (command > kStatus) return fail(Errno::kInval);
  RefPtr<MessageQueue> queue = ARIL_TRY(message_queues().find(id));
  if (command == kStatus) {
    ARIL_TRY(write_status(buffer, *queue, true));
  } else if (command == kSet) {
    ARIL_TRY(set_status(*queue, buffer));
  } else {
    ARIL_TRY(queue->remove());
  }
  return 0;
}
ARIL_SYSCALL(71, msgctl, sys_msgctl, "int op buf");

}  // namespace
}  // namespace aril::linux_abi::ipc
