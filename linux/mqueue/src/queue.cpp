#include "queue.hpp"

#include <algorithm>
#include <new>
#include <vector>

#include "base/unique.hpp"
#include "fs/synthetic/synthetic.hpp"
#include "limits.hpp"
#include "linux/process/message_sink.hpp"
#include "linux/signal/signal.hpp"

namespace aril::linux_abi::mqueue {
namespace {

/// Bytes of all queues by user: what RLIMIT_MSGQUEUE bounds [getrlimit(2)].
struct Account {
  uint32_t user;
  uint64_t bytes;
};
struct Accounts {
  Mutex mutex{LockRank::kMutexLeaf};
  std::vector<Account> all;  // of users that have queues

  uint64_t& of_locked(uint32_t user) {
    for (Account& account : all)
      if (account.user == user) return account.bytes;
    return all.emplace_back(user, 0).bytes;
  }
};
[[clang::no_destroy]] constinit Accounts accounts;

// Linux's figure: the messages, and a header and a node of the priority tree for each.
uint64_t charge_of(const Attributes& attributes) {
  constexpr uint64_t kHeader = 48, kNode = 48;
  return attributes.messages * (attributes.message_bytes + kHeader) +
         std::min<uint64_t>(attributes.messages, kPriorities) * kNode;
}

Result<void> charge(uint32_t user, uint64_t bytes, uint64_t limit) {
  LockGuard guard(accounts.mutex);
  uint64_t& account = accounts.of_locked(user);
  if (bytes > limit || account > limit - bytes) return fail(Errno::kMFile);
  account += bytes;
  return {};
}

void uncharge(uint32_t user, uint64_t bytes) {
  LockGuard guard(accounts.mutex);
  accounts.of_locked(user) -= bytes;
  std::erase_if(accounts.all, [](const Account& account) { return account.bytes == 0; });
}

void tell_thread(Notification& notification, Notification::Event event) {
  MessageSink* sink = notification.sink ? as_message_sink(*notification.sink) : nullptr;
  if (sink == nullptr) return;
  notification.cookie.back() = static_cast<std::byte>(event);
  (void)sink->deliver(notification.cookie);
}

}  // namespace

Limits& limits() {
  static constinit Limits all;
  return all;
}

Result<std::unique_ptr<Message>> make_message(size_t size, uint32_t priority) {
  std::unique_ptr<Message> message = ARIL_TRY(try_make_unique<Message>());
  message->bytes.reset(new (std::nothrow) std::byte[std::max<size_t>(size, 1)]);
  if (!message->bytes) return fail(Errno::kNoMem);
  message->size = size;
  message->priority = priority;
  return message;
}

Result<RefPtr<Queue>> Queue::create(const Attributes& attributes, uint64_t limit) {
  uint32_t user = current_task().credentials.uid;
  uint64_t bytes = charge_of(attributes);
  ARIL_TRY(charge(user, bytes, limit));
  auto queue = try_make_ref<Queue>(attributes, user, bytes);
  if (!queue) uncharge(user, bytes);
  return queue;
}

Queue::~Queue() {
  while (Message* message = messages_.pop()) delete message;
  uncharge(owner_, charge_);
}

uint64_t Queue::message_count() {
  LockGuard guard(mutex_);
  return count_;
}

// A registration is good for one message.
Notification Queue::take_notification_locked(RefPtr<Process>& process) {
  process = std::move(notified_);
  return std::exchange(notification_, {});
}

Result<void> Queue::send(std::unique_ptr<Message> message, Waiting waiting, Instant deadline) {
  RefPtr<Process> notified;
  Notification notification;
  auto attempt = [&] {
    LockGuard guard(mutex_);
    if (count_ == attributes_.messages) return false;
    // [mq_notify(3)] Only when the queue was empty, and nobody waits who takes the message.
    if (count_ == 0 && waiting_receivers_ == 0) notification = take_notification_locked(notified);
    bytes_ += message->size;
    ++count_;
    message->sequence = next_sequence_++;
    messages_.insert(*message.release());
    return true;
  };
  if (!attempt()) {
    if (waiting == Waiting::kNo) return fail(Errno::kAgain);
    ARIL_TRY(senders_.wait_until(attempt, deadline));
  }
  receivers_.wake_all(std::to_underlying(kReadable));
  if (notified && notification.kind == Notification::Kind::kSignal && notification.signal != 0) {
    SignalInfo info{.signal = notification.signal, .code = kSiMesgq};
    info.sender = {.pid = current_process().pid(),
                   .uid = current_task().credentials.uid,
                   .value = notification.value};
    (void)send_signal(*notified, info);
  }
  tell_thread(notification, Notification::Event::kWokenUp);
  return {};
}

Result<std::unique_ptr<Message>> Queue::receive(Waiting waiting, Instant deadline) {
  std::unique_ptr<Message> message;
  auto attempt = [&] {
    LockGuard guard(mutex_);
    message.reset(messages_.pop());
    if (!message) return false;
    --count_;
    bytes_ -= message->size;
    return true;
  };
  if (!attempt()) {
    if (waiting == Waiting::kNo) return fail(Errno::kAgain);
    auto count_waiting = [this](int change) {
      LockGuard guard(mutex_);
      waiting_receivers_ = static_cast<unsigned>(static_cast<int>(waiting_receivers_) + change);
    };
    count_waiting(1);
    Result<void> waited = receivers_.wait_until(attempt, deadline);
    count_waiting(-1);
    if (!waited) return fail(waited.error());
  }
  senders_.wake_all(std::to_underlying(kWritable));
  return message;
}

Result<void> Queue::request_notification(Notification notification) {
  LockGuard guard(mutex_);
  if (notified_) return fail(Errno::kBusy);
  notified_ = RefPtr<Process>(&current_process());
  notification_ = std::move(notification);
  return {};
}

void Queue::cancel_notification(const Process& process) {
  RefPtr<Process> dropped;
  Notification notification;
  {
    LockGuard guard(mutex_);
    if (notified_.get() == &process) notification = take_notification_locked(dropped);
  }
  tell_thread(notification, Notification::Event::kRemoved);
}

PollEvents Queue::poll(PollRegistrar* registrar) {
  if (registrar != nullptr) {
    registrar->watch(receivers_);
    registrar->watch(senders_);
  }
  LockGuard guard(mutex_);
  PollEvents events = PollEvents::kNone;
  if (count_ != 0) events |= kReadable;
  if (count_ < attributes_.messages) events |= kWritable;
  return events;
}

std::string Queue::describe() {
  LockGuard guard(mutex_);
  std::string text;
  bool is_signal = notified_ && notification_.kind == Notification::Kind::kSignal;
  synthetic::append_format(text, "QSIZE:%-10lu NOTIFY:%-5d SIGNO:%-5d NOTIFY_PID:%-6d\n",
                           static_cast<unsigned long>(bytes_),
                           notified_ ? static_cast<int>(notification_.kind) : 0,
                           is_signal ? notification_.signal : 0, notified_ ? notified_->pid() : 0);
  return text;
}

}  // namespace aril::linux_abi::mqueue
