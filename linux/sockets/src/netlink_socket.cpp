#include "netlink_socket.hpp"

#include <algorithm>

#include "family_table.hpp"
#include "linux/process/process.hpp"

namespace aril::linux_abi {
namespace netlink {
namespace {

constexpr size_t kMaxRequest = 4096;
// What may wait for the program: enough to dump some ten thousand sockets.
constexpr size_t kMaxAnswers = 1024, kMaxAnswerBytes = 4 * kMiB;

constexpr unsigned kMaxGroup = 64;
constexpr int kLevel = 270;  // SOL_NETLINK
enum Option : int {
  kAddMembership = 1,
  kDropMembership = 2,
  kNoBufferErrors = 5,
  kListMemberships = 9,
};

net::SocketAddress to_address(uint32_t port, uint32_t groups = 0) {
  NetlinkAddress address;
  address.port = port;
  address.groups = groups;
  net::SocketAddress raw;
  raw.length = sizeof(address);
  memcpy(raw.bytes.data(), &address, sizeof(address));
  return raw;
}

}  // namespace

Result<void> NetlinkSocket::bind(const net::SocketAddress& raw) {
  NetlinkAddress address;
  if (raw.length < sizeof(address) || raw.family() != net::Family::kNetlink)
    return fail(Errno::kInval);
  memcpy(&address, raw.bytes.data(), sizeof(address));
  {
    LockGuard guard(mutex_);
    port_ = address.port != 0 ? address.port : static_cast<uint32_t>(owner_.pid);
  }
  // An address names the first 32 groups; membership of others is kept.
  set_groups((groups() & ~uint64_t{~0u}) | address.groups);
  return {};
}

void NetlinkSocket::set_groups(uint64_t groups) {
  groups_.store(groups, std::memory_order_relaxed);
  groups_changed();
}

Result<void> NetlinkSocket::set_protocol_option(int level, int name,
                                                std::span<const std::byte> value) {
  if (level != kLevel) return fail(Errno::kNoProtoOpt);
  auto number = static_cast<uint32_t>(ARIL_TRY(net::option_int(value)));
  if (name == kAddMembership || name == kDropMembership) {
    if (number == 0 || number > kMaxGroup) return fail(Errno::kInval);
    uint64_t bit = uint64_t{1} << (number - 1);
    set_groups(name == kAddMembership ? groups() | bit : groups() & ~bit);
  } else if (name == kNoBufferErrors) {
    LockGuard guard(mutex_);
    ignores_loss_ = number != 0;
  }
  // The others shape errors and what comes with messages.
  return {};
}

Result<net::OptionValue> NetlinkSocket::get_protocol_option(int level, int name) {
  if (level != kLevel || name != kListMemberships) return fail(Errno::kNoProtoOpt);
  return net::OptionValue::of(groups());
}

void NetlinkSocket::notify(unsigned group, std::string message) {
  if ((groups() >> (group - 1) & 1) == 0) return;
  if (notifications_.size() >= kMaxAnswers ||
      notification_bytes_ + message.size() > kMaxAnswerBytes) {
    has_lost_.store(true, std::memory_order_relaxed);
  } else {
    notification_bytes_ += message.size();
    notifications_.push_back({std::move(message), uint32_t{1} << (group - 1)});
  }
  // Release: who sees it finds the message, or the loss.
  has_notifications_.store(true, std::memory_order_release);
  queue_.wake_all(std::to_underlying(kReadable));
}

void NetlinkSocket::collect_notifications() {
  if (!has_notifications_.load(std::memory_order_acquire)) return;
  LockGuard guard(mutex_);
  net::Runtime::StateGuard state(runtime_);
  bool has_room = true;
  while (!notifications_.empty() && has_room) {
    size_t size = notifications_.front().bytes.size();
    has_room = answers_.size() < kMaxAnswers && answer_bytes_ + size <= kMaxAnswerBytes;
    if (!has_room) break;
    answer_bytes_ += size;
    notification_bytes_ -= size;
    answers_.push_back(std::move(notifications_.front()));
    notifications_.pop_front();
  }
  if (has_room) has_notifications_.store(false, std::memory_order_relaxed);
}

Result<void> NetlinkSocket::connect(const net::SocketAddress& raw) {
  return raw.length < sizeof(NetlinkAddress) ? Result<void>(fail(Errno::kInval)) : Result<void>();
}

Result<net::SocketAddress> NetlinkSocket::local_address() {
  LockGuard guard(mutex_);
  return to_address(port_, static_cast<uint32_t>(groups()));
}

Result<net::SocketAddress> NetlinkSocket::peer_address() { return to_address(0); }

Result<size_t> NetlinkSocket::send(net::OutgoingMessage& message) {
  std::byte bytes[kMaxRequest];
  size_t length = message.data.remaining();
  if (length > kMaxRequest) return fail(Errno::kMsgSize);
  if (ARIL_TRY(message.data.copy_in(std::span(bytes).first(length))) != length)
    return fail(Errno::kFault);
  for (size_t offset = 0; length - offset >= sizeof(NetlinkHeader);) {
    NetlinkHeader header;
    memcpy(&header, bytes + offset, sizeof(header));
    if (header.length < sizeof(header) || header.length > length - offset) break;
    if ((header.flags & kRequest) != 0)
      ARIL_TRY(answer(header, std::span(bytes).subspan(offset + sizeof(header),
                                                       header.length - sizeof(header))));
    offset += std::min<size_t>(align_up(size_t{header.length}, 4), length - offset);
  }
  return length;
}

Result<size_t> NetlinkSocket::receive(net::IncomingMessage& message) {
  for (;;) {
    collect_notifications();
    {
      LockGuard guard(mutex_);
      if (has_lost_.exchange(false, std::memory_order_relaxed) && !ignores_loss_)
        return fail(Errno::kNoBufs);
      if (!answers_.empty()) return take_locked(message);
    }
    if (!may_wait(message.flags)) return fail(Errno::kAgain);
    auto waited = queue_.wait_until([this] { return poll(nullptr) != kWritable; },
                                    deadline_after(options_.receive_timeout));
    if (!waited) return wait_failed(waited.error(), options_.receive_timeout);
  }
}

Result<void> NetlinkSocket::deliver(std::span<const std::byte> message) {
  // The bytes of a queue of text.
  return queue_answer(std::string(reinterpret_cast<const char*>(message.data()), message.size()));
}

void* NetlinkSocket::facet(const void* tag) {
  return tag == &kMessageSinkTag ? static_cast<MessageSink*>(this) : Socket::facet(tag);
}

PollEvents NetlinkSocket::poll(PollRegistrar* registrar) {
  if (registrar != nullptr) registrar->watch(queue_);
  if (has_notifications_.load(std::memory_order_acquire)) return kWritable | kReadable;
  LockGuard guard(mutex_);
  return answers_.empty() ? kWritable : kWritable | kReadable;
}

Result<size_t> NetlinkSocket::take_locked(net::IncomingMessage& message) {
  const auto& [next, groups] = answers_.front();
  size_t length = next.size();
  size_t count = std::min(length, message.data.remaining());
  if (count != 0) ARIL_TRY(message.data.copy_out(std::as_bytes(std::span(next)).first(count)));
  message.source = to_address(0, groups);
  if (!has(message.flags, net::MessageFlags::kPeek)) {
    answer_bytes_ -= length;
    answers_.pop_front();
  }
  if (count == length) return count;
  message.result_flags |= net::MessageFlags::kTruncated;
  return has(message.flags, net::MessageFlags::kTruncated) ? length : count;
}

Result<void> NetlinkSocket::queue_answer(std::string answer) {
  // What a request changed is told before its outcome.
  collect_notifications();
  {
    LockGuard guard(mutex_);
    if (answers_.size() >= kMaxAnswers || answer_bytes_ + answer.size() > kMaxAnswerBytes)
      return fail(Errno::kNoBufs);
    answer_bytes_ += answer.size();
    answers_.push_back({std::move(answer)});
  }
  queue_.wake_all(std::to_underlying(kReadable));
  return {};
}

uint32_t NetlinkSocket::port() {
  LockGuard guard(mutex_);
  if (port_ == 0) port_ = static_cast<uint32_t>(owner_.pid);
  return port_;
}

Result<void> NetlinkSocket::queue_done(const NetlinkHeader& request, const Result<void>& outcome) {
  AnswerWriter done(request.sequence, port());
  done.begin(kDone, kMulti, outcome ? 0 : -static_cast<int32_t>(outcome.error()));
  done.finish();
  return queue_answer(done.take());
}

Result<void> NetlinkSocket::conclude(const NetlinkHeader& request, const Result<void>& outcome,
                                     AnswerWriter& out) {
  bool acknowledges = (request.flags & kAcknowledge) != 0;
  if (std::string found = out.take(); outcome && !found.empty()) {
    ARIL_TRY(queue_answer(std::move(found)));
    if (!acknowledges) return {};
  }
  if (outcome && !acknowledges) return {};
  struct ErrorBody {
    int32_t error;
    NetlinkHeader request;
  };
  AnswerWriter verdict(request.sequence, port());
  int32_t error = outcome ? 0 : -static_cast<int32_t>(outcome.error());
  verdict.begin(kError, 0, ErrorBody{error, request});
  verdict.finish();
  return queue_answer(verdict.take());
}

}  // namespace netlink

Result<RefPtr<net::Socket>> create_netlink_socket(net::Runtime& runtime, net::SocketType type,
                                                  int protocol, OpenFlags flags) {
  constexpr int kRoute = 0, kSockDiag = 4;
  if (type != net::SocketType::kRaw && type != net::SocketType::kDatagram)
    return fail(Errno::kSockTNoSupport);
  if (protocol == kRoute) return netlink::create_route_socket(runtime, type, flags);
  if (protocol == kSockDiag) return netlink::create_diag_socket(runtime, type, flags);
  return fail(Errno::kProtoNoSupport);
}

}  // namespace aril::linux_abi
