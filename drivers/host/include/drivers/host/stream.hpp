#pragma once
#include <atomic>

#include "arch/host_events.hpp"
#include "kernel/io/devices.hpp"
#include "kernel/sched/wait_queue.hpp"

namespace aril::host {

/// A stream descriptor of the host, for the program's standard streams: pipe, terminal, file or
/// socket. The descriptor may be shared with other processes and therefore blocks: each call is
/// made only when the host says that it will not.
class Stream final : public CharDevice {
 public:
  explicit Stream(int descriptor) : descriptor_(descriptor) {}

  /// Once, before the first use. Thread context.
  void start();

  /// What cannot be delivered any more, because the reader is gone, is dropped and counted.
  Result<void> write(std::span<const std::byte> bytes) override;
  size_t read_available(std::span<std::byte> bytes) override;
  void set_receive_callback(void (*callback)(void*), void* context) override;

  /// Called once, with the number of bytes that have come in all, when the host's stream ends; from
  /// read_available().
  void set_end_callback(void (*callback)(uint64_t count)) { end_callback_ = callback; }

 private:
  // [pipe(7)]: a pipe that polls as writable takes this much.
  static constexpr size_t kUnit = 4096;

  const int descriptor_;
  arch::HostWatch input_watch_, output_watch_;
  WaitQueue room_;
  std::atomic<void (*)(void*)> receive_callback_{nullptr};
  void* receive_context_ = nullptr;
  void (*end_callback_)(uint64_t) = nullptr;
  uint64_t received_ = 0;
  bool ended_ = false;
};

}  // namespace aril::host
