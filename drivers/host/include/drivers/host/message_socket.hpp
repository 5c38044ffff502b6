#pragma once
#include <array>
#include <atomic>

#include "arch/host_events.hpp"
#include "kernel/io/devices.hpp"
#include "kernel/sched/wait_queue.hpp"

namespace aril::host {

/// A socket of the host (SOCK_SEQPACKET) whose other end answers each message with one: a volume's
/// server. One exchange at a time, as the server is one thread.
class MessageSocket final : public MessageDevice {
 public:
  /// `number` is that of its tag, below 10.
  MessageSocket(int descriptor, unsigned number) : descriptor_(descriptor) {
    tag_[6] = static_cast<char>('0' + number);
  }

  /// Once, before the first use. Lives for ever. Thread context.
  void start();

  [[nodiscard]] std::string_view tag() const override { return tag_.data(); }
  Result<size_t> exchange(std::span<const Segment> message,
                          std::span<const Segment> answer) override;

 private:
  Result<size_t> converse(std::span<const Segment> message, std::span<const Segment> answer);

  const int descriptor_;
  std::array<char, 8> tag_{"volume0"};
  std::atomic<bool> busy_{false};
  arch::HostWatch watch_;
  WaitQueue turn_, answered_;
};

}  // namespace aril::host
