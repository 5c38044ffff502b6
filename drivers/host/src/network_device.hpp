#pragma once
#include <array>
#include <atomic>

#include "arch/host_calls.hpp"
#include "arch/host_events.hpp"
#include "drivers/host/network.hpp"

namespace aril::host {

inline constexpr short kReadable = 1, kWritable = 4;
inline constexpr size_t kEthernetHeader = 14;
inline constexpr size_t kMaxFrame = 65536 + kEthernetHeader;

/// What both kinds of interface share: the descriptor's readiness as interrupts.
class NetworkDevice : public NetDevice {
 public:
  explicit NetworkDevice(const NetworkConfig& config) : config_(config) {}

  void start() {
    receive_watch_.descriptor = transmit_watch_.descriptor = config_.descriptor;
    receive_watch_.events = kReadable;
    transmit_watch_.events = kWritable;
    receive_watch_.argument = transmit_watch_.argument = this;
    receive_watch_.handler =
        transmit_watch_.handler = [](void* device) { static_cast<NetworkDevice*>(device)->wake(); };
    arch::add_watch(receive_watch_);
    arch::add_watch(transmit_watch_);
  }

  [[nodiscard]] MacAddress mac() const override { return config_.address; }
  [[nodiscard]] uint32_t mtu() const override { return config_.mtu; }
  [[nodiscard]] bool link_up() const override { return !failed_.load(std::memory_order_relaxed); }
  void flush_transmit(unsigned) override {}

  bool arm_interrupt(unsigned) override {
    // The host tells of what is there already as well.
    if (link_up()) arch::arm(receive_watch_);
    if (blocked_.exchange(false)) arch::arm(transmit_watch_);
    return true;
  }
  [[nodiscard]] QueueCounters queue_counters(unsigned) const override { return frames_; }
  void set_callback(unsigned, void (*callback)(void*), void* context) override {
    callback_context_ = context;
    // Release: the handler that sees the function sees its context.
    callback_.store(callback, std::memory_order_release);
  }

 protected:
  [[nodiscard]] int descriptor() const { return config_.descriptor; }
  void hand_on(Sink sink, void* context, std::span<const std::byte> bytes, RxChecksum checksum) {
    const RxFrame frame{bytes.data(), static_cast<uint32_t>(bytes.size()), checksum};
    ++frames_.received;
    sink(context, {&frame, 1});
  }
  void note_sent() { ++frames_.sent; }
  void wake() {
    if (auto callback = callback_.load(std::memory_order_acquire)) callback(callback_context_);
  }
  /// The next arm_interrupt() also waits for room.
  void set_blocked() { blocked_.store(true); }
  /// The host's end is gone: ends the instance with a report.
  void fail_device(const char* what, Errno error);

 private:
  const NetworkConfig config_;
  QueueCounters frames_;
  arch::HostWatch receive_watch_, transmit_watch_;
  std::atomic<void (*)(void*)> callback_{nullptr};
  void* callback_context_ = nullptr;
  std::atomic<bool> blocked_{false}, failed_{false};
};

/// A frame's pieces for one host call, after what goes before them.
class Vectors {
 public:
  static constexpr size_t kMax = 64;
  /// False when the frame has too many pieces.
  [[nodiscard]] bool add(const void* data, size_t length) {
    if (count_ == kMax) return false;
    if (length != 0) pieces_[count_++] = {const_cast<void*>(data), length};
    total_ += length;
    return true;
  }
  [[nodiscard]] std::span<const arch::HostVector> all() const {
    return std::span(pieces_).first(count_);
  }
  [[nodiscard]] size_t total() const { return total_; }

 private:
  std::array<arch::HostVector, kMax> pieces_;
  size_t count_ = 0, total_ = 0;
};

}  // namespace aril::host
