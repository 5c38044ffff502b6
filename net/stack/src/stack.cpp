#include "net/stack/stack.hpp"

namespace aril::net {
namespace {
// One call delivers at most this much, so that a conversation with ourselves cannot hold the lock
// for ever.
constexpr unsigned kLoopbackBatch = 256;
}  // namespace

Stack::Stack(const StackConfig& config)
    : context_{.now = config.now,
               .timers = TimerWheel(config.now),
               .key = {config.secret[0], config.secret[1]},
               .memory = MemoryBudget(config.memory_limit),
               .blocks = BlockCaches(config.memory_limit),
               .random_counter = config.seed},
      ip_(context_),
      tcp_(ip_),
      udp_(ip_) {}

Stack::~Stack() = default;

Result<std::unique_ptr<Stack>> Stack::create(const StackConfig& config) {
  std::unique_ptr<Stack> stack(new (std::nothrow) Stack(config));
  if (!stack) return fail(Errno::kNoMem);
  ARIL_TRY(stack->ip_.initialize(stack->tcp_, stack->udp_));
  return stack;
}

void Stack::advance(Instant now) {
  if (now > context_.now) context_.now = now;
}

Result<Interface*> Stack::add_interface(const InterfaceConfig& config, LinkSink& sink) {
  return ip_.add_interface(Interface::Kind::kEthernet, config, &sink);
}

void Stack::receive(Interface& interface, std::span<const std::byte> frame,
                    ChecksumState checksum) {
  ip_.receive_frame(interface, frame, checksum);
}

bool Stack::run_loopback() {
  for (unsigned i = 0; i < kLoopbackBatch; ++i)
    if (!ip_.deliver_one_loopback()) return false;
  return ip_.has_loopback();
}

void Stack::poll_timers() { context_.timers.advance(context_.now); }

}  // namespace aril::net
