#include <array>

#include "file_system.hpp"
#include "fs/vfs/mount.hpp"
#include "fs/vfs/operations.hpp"
#include "kernel/vm/user_copy.hpp"
#include "limits.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/abi/time.hpp"
#include "linux/files/file_table.hpp"
#include "linux/process/fs_context.hpp"
#include "linux/process/message_sink.hpp"
#include "queue_file.hpp"

/// mq_open and its family [mq_overview(7)].
namespace aril::linux_abi::mqueue {
namespace {

/// struct mq_attr.
struct LinuxAttributes {
  int64_t flags, messages, message_bytes, count;
  int64_t reserved[4];
};

/// struct sigevent.
struct SignalEvent {
  uint64_t value;
  int32_t signal;
  int32_t notify;
  int32_t unused[12];
};
static_assert(sizeof(SignalEvent) == 64);

/// One caller at a time finds that a queue is missing, and makes it.
constinit Mutex open_mutex{LockRank::kFileTable};

using Name = std::array<char, vfs::kNameLimit + 1>;

// The C library has taken the leading slash away.
Result<std::string_view> read_name(Name& name, uint64_t address) {
  std::string_view text(name.data(), ARIL_TRY(copy_string_from_user(name, address)));
  if (text.empty()) return fail(Errno::kNoEnt);
  if (text == "." || text == ".." || text.contains('/')) return fail(Errno::kAcces);
  return text;
}

Result<vfs::LookupContext> context_in_queues() {
  vfs::LookupContext context = caller_lookup_context();
  context.root = ARIL_TRY(root_place());
  return context;
}

Result<Attributes> check_attributes(const LinuxAttributes& wanted) {
  bool is_privileged = current_task().credentials.can(Capability::kSysResource);
  uint64_t messages = is_privileged ? kHardMessages : limits().messages.load();
  uint64_t bytes = is_privileged ? kHardMessageBytes : limits().message_bytes.load();
  if (wanted.messages <= 0 || wanted.message_bytes <= 0 ||
      static_cast<uint64_t>(wanted.messages) > messages ||
      static_cast<uint64_t>(wanted.message_bytes) > bytes)
    return fail(Errno::kInval);
  return Attributes{.messages = static_cast<uint64_t>(wanted.messages),
                    .message_bytes = static_cast<uint64_t>(wanted.message_bytes)};
}

Result<RefPtr<File>> create_queue(const vfs::LookupContext& context, std::string_view name,
                                  OpenFlags flags, uint32_t permissions,
                                  const std::optional<LinuxAttributes>& wanted, uint64_t limit) {
  Attributes attributes = default_attributes();
  if (wanted) attributes = ARIL_TRY(check_attributes(*wanted));
  auto& queues = static_cast<QueueFileSystem&>(context.root.mount().file_system());
  queues.offer(ARIL_TRY(Queue::create(attributes, limit)));
  auto file = vfs::open(context, context.root, name,
                        flags | OpenFlags::kCreate | OpenFlags::kExclusive, permissions);
  queues.offer(nullptr);
  return file;
}

Result<int> sys_mq_open(uint64_t name_address, OpenFlags flags, uint32_t permissions,
                        UserPtr<LinuxAttributes> attributes) {
  std::optional<LinuxAttributes> wanted;
  if (attributes) wanted = ARIL_TRY(attributes.read());
  Name storage;
  std::string_view name = ARIL_TRY(read_name(storage, name_address));
  vfs::LookupContext context = ARIL_TRY(context_in_queues());
  OpenFlags open_flags = flags & (OpenFlags::kAccessMask | OpenFlags::kNonBlock);
  bool creates = has(flags, OpenFlags::kCreate);
  uint64_t queue_byte_limit = 0;
  {
    Process& process = current_process();
    LockGuard guard(process.mutex());
    queue_byte_limit = process.limits[Resource::kMessageQueue].current;
  }
  Result<RefPtr<File>> file = fail(Errno::kNoEnt);
  {
    LockGuard guard(open_mutex);
    if (creates && has(flags, OpenFlags::kExclusive)) {
      auto existing = vfs::resolve(context, context.root, name, vfs::LookupFlags::kNone);
      if (existing) return fail(Errno::kExist);
    } else {
      file = vfs::open(context, context.root, name, open_flags, 0);
    }
    if (!file && file.error() == Errno::kNoEnt && creates)
      file = create_queue(context, name, open_flags, permissions, wanted, queue_byte_limit);
  }
  if (!file) return fail(file.error());
  return current_process().files().install(std::move(*file), CloseOnExec::kYes);
}
ARIL_SYSCALL(240, mq_open, sys_mq_open, "str oflags mode ptr");

Result<void> sys_mq_unlink(uint64_t name_address) {
  Name storage;
  std::string_view name = ARIL_TRY(read_name(storage, name_address));
  vfs::LookupContext context = ARIL_TRY(context_in_queues());
  return vfs::remove_file(context, context.root, name);
}
ARIL_SYSCALL(241, mq_unlink, sys_mq_unlink, "str");

/// An open queue; keeps its file.
struct OpenQueue {
  RefPtr<File> file;
  QueueFile* queue_file;
  [[nodiscard]] Queue& queue() const { return queue_file->queue(); }
  [[nodiscard]] Queue::Waiting waiting() const {
    return file->is_nonblocking() ? Queue::Waiting::kNo : Queue::Waiting::kYes;
  }
};

Result<OpenQueue> queue_of(int fd) {
  RefPtr<File> file = ARIL_TRY(current_process().files().get(fd));
  QueueFile* queue_file = as_queue_file(*file);
  if (queue_file == nullptr) return fail(Errno::kBadF);
  return OpenQueue{std::move(file), queue_file};
}

// Of CLOCK_REALTIME. A clock that is set during the wait does not move it.
Result<Instant> read_deadline(UserPtr<Timespec> timeout) {
  if (!timeout) return Instant::never();
  Timespec time = ARIL_TRY(timeout.read());
  if (!time.is_valid()) return fail(Errno::kInval);
  return instant_of_realtime(time.duration());
}

Result<void> sys_mq_timedsend(int fd, uint64_t buffer, uint64_t size, uint32_t priority,
                              UserPtr<Timespec> timeout) {
  if (priority >= kPriorities) return fail(Errno::kInval);
  Instant deadline = ARIL_TRY(read_deadline(timeout));
  OpenQueue open = ARIL_TRY(queue_of(fd));
  if (!open.file->is_writable()) return fail(Errno::kBadF);
  if (size > open.queue().attributes().message_bytes) return fail(Errno::kMsgSize);
  std::unique_ptr<Message> message = ARIL_TRY(make_message(size, priority));
  ARIL_TRY(copy_from_user(message->text(), buffer));
  return open.queue().send(std::move(message), open.waiting(), deadline);
}
ARIL_SYSCALL(242, mq_timedsend, sys_mq_timedsend, "fd buf size uint timespec");

Result<int64_t> sys_mq_timedreceive(int fd, uint64_t buffer, uint64_t size,
                                    UserPtr<uint32_t> priority, UserPtr<Timespec> timeout) {
  Instant deadline = ARIL_TRY(read_deadline(timeout));
  OpenQueue open = ARIL_TRY(queue_of(fd));
  if (!open.file->is_readable()) return fail(Errno::kBadF);
  if (size < open.queue().attributes().message_bytes) return fail(Errno::kMsgSize);
  std::unique_ptr<Message> message = ARIL_TRY(open.queue().receive(open.waiting(), deadline));
  if (priority) ARIL_TRY(priority.write(message->priority));
  ARIL_TRY(copy_to_user(buffer, message->text()));
  return static_cast<int64_t>(message->size);
}
ARIL_SYSCALL(243, mq_timedreceive, sys_mq_timedreceive, "fd >buf size ptr timespec");

/// SIGEV_THREAD: `signal` is a netlink socket, and `value` the address of what is to be sent there.
Result<void> read_sink(const SignalEvent& event, Notification& notification) {
  ARIL_TRY(copy_from_user(notification.cookie, event.value));
  notification.sink = ARIL_TRY(current_process().files().get(event.signal));
  if (as_message_sink(*notification.sink) != nullptr) return {};
  auto status = notification.sink->status();
  bool is_socket = status && (status->mode & vfs::mode::kTypeMask) == vfs::mode::kSocket;
  return fail(is_socket ? Errno::kInval : Errno::kNotSock);
}

Result<void> sys_mq_notify(int fd, UserPtr<SignalEvent> event_pointer) {
  std::optional<SignalEvent> event;
  if (event_pointer) {
    event = ARIL_TRY(event_pointer.read());
    if (event->notify < static_cast<int32_t>(Notification::Kind::kSignal) ||
        event->notify > static_cast<int32_t>(Notification::Kind::kThread))
      return fail(Errno::kInval);
    if (event->notify == static_cast<int32_t>(Notification::Kind::kSignal) &&
        !(event->signal >= 0 && event->signal <= kSignalCount))
      return fail(Errno::kInval);
  }
  if (event) {
    Notification notification{.kind = static_cast<Notification::Kind>(event->notify),
                              .signal = event->signal,
                              .value = event->value};
    if (notification.kind == Notification::Kind::kThread) ARIL_TRY(read_sink(*event, notification));
    return ARIL_TRY(queue_of(fd)).queue().request_notification(std::move(notification));
  }
  OpenQueue open = ARIL_TRY(queue_of(fd));
  open.queue().cancel_notification(current_process());
  return {};
}
ARIL_SYSCALL(244, mq_notify, sys_mq_notify, "fd ptr");

Result<void> sys_mq_getsetattr(int fd, UserPtr<LinuxAttributes> wanted,
                               UserPtr<LinuxAttributes> previous) {
  constexpr auto kNonBlock = static_cast<int64_t>(OpenFlags::kNonBlock);
  std::optional<LinuxAttributes> change;
  if (wanted) {
    change = ARIL_TRY(wanted.read());
    if ((change->flags & ~kNonBlock) != 0) return fail(Errno::kInval);
  }
  OpenQueue open = ARIL_TRY(queue_of(fd));
  const Attributes& attributes = open.queue().attributes();
  LinuxAttributes old{.flags = open.file->is_nonblocking() ? kNonBlock : 0,
                      .messages = static_cast<int64_t>(attributes.messages),
                      .message_bytes = static_cast<int64_t>(attributes.message_bytes),
                      .count = static_cast<int64_t>(open.queue().message_count()),
                      .reserved = {}};
  if (change) {
    OpenFlags others = open.file->flags() & ~OpenFlags::kNonBlock;
    ARIL_TRY(open.file->set_flags(change->flags != 0 ? others | OpenFlags::kNonBlock : others));
  }
  if (previous) return previous.write(old);
  return {};
}
ARIL_SYSCALL(245, mq_getsetattr, sys_mq_getsetattr, "fd ptr >ptr");

}  // namespace
}  // namespace aril::linux_abi::mqueue
