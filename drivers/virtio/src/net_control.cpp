#include "net_control.hpp"

#include <cstring>
#include <new>

#include "arch/cpu.hpp"
#include "kernel/sched/timer.hpp"
#include "spec.hpp"

namespace aril::virtio {
namespace {

/// A machine under load may leave its devices without a CPU for that long.
constexpr Duration kPatience = Duration::seconds(5);

struct Exchange {
  NetSetPairs command;
  uint8_t answer;
};

}  // namespace

Result<std::unique_ptr<NetControl>> NetControl::create(std::unique_ptr<Virtqueue> queue) {
  std::unique_ptr<NetControl> control(new (std::nothrow) NetControl(std::move(queue)));
  if (control == nullptr) return fail(Errno::kNoMem);
  ARIL_TRY(control->memory_.allocate(sizeof(Exchange)));
  control->queue_->disarm_interrupt();
  return control;
}

Result<void> NetControl::set_pairs(uint16_t pairs) {
  const Exchange exchange{
      .command = {.command_class = kNetControlMq, .command = kNetControlMqPairsSet, .pairs = pairs},
      .answer = static_cast<uint8_t>(~kNetControlOk)};
  std::memcpy(memory_.data(), &exchange, sizeof exchange);
  const Virtqueue::Buffer command{memory_.physical(), sizeof exchange.command};
  const Virtqueue::Buffer answer{memory_.physical() + offsetof(Exchange, answer), 1};
  const Instant deadline = now() + kPatience;
  if (!queue_->add({&command, 1}, {&answer, 1})) return fail(Errno::kIo);
  if (queue_->publish()) queue_->notify();
  for (; !queue_->take_used(); arch::relax()) {
    if (queue_->is_broken()) return fail(Errno::kIo);
    if (now() > deadline) return fail(Errno::kTimedOut);
  }
  uint8_t said;
  std::memcpy(&said, memory_.data() + offsetof(Exchange, answer), sizeof said);
  if (said != kNetControlOk) return fail(Errno::kProto);
  return {};
}

}  // namespace aril::virtio
