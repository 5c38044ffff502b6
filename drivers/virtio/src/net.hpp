#pragma once
#include <array>
#include <memory>
#include <span>

#include "driver.hpp"
#include "kernel/io/devices.hpp"
#include "net_control.hpp"

namespace aril::virtio {

/// virtio-net [virtio-1.2] 5.1: what concerns the whole device. Frames pass its pairs of queues,
/// net_pair.hpp: one, or, where the device offers several and the machine has as many CPUs, one for
/// each CPU, so that none waits for another's ring. A device that offers several and then does not
/// keep to the standard is started again with one.
///
/// With several pairs a device steers what it receives by what it was sent [virtio-1.2] 5.1.6.5.5:
/// a flow's frames come back by the pair that it last left by.
class NetDriver final : public Driver, public NetDevice {
 public:
  /// How much memory the device gets. Powers of two.
  struct Sizes {
    uint16_t receive_buffers;  ///< of each pair, like the others
    uint16_t transmit_slots;
    bool merge_segments;  ///< accept frames of up to 64 KiB, which needs the staging buffer
    unsigned pairs = 1;   ///< at most
  };
  static Sizes sizes_for(size_t total_ram, unsigned cpus);

  /// What went wrong or was dropped.
  struct Counters {
    uint64_t receive_errors = 0;     ///< frames with impossible lengths or headers
    uint64_t transmit_full = 0;      ///< transmit() calls that found no room
    uint64_t multiqueue_errors = 0;  ///< several pairs were offered, but did not work
  };

  NetDriver(std::unique_ptr<Transport> transport, Sizes sizes);
  ~NetDriver() override;

  Result<void> start() override;
  void on_queue_interrupt(unsigned queue) override;
  [[nodiscard]] unsigned cpu_of_queue(unsigned queue) const override;

  unsigned queue_count() const override { return pair_count_; }
  MacAddress mac() const override { return mac_; }
  uint32_t mtu() const override { return mtu_; }
  NetOffload offloads() const override { return offloads_; }
  bool link_up() const override {
    return link_up_.load(std::memory_order_relaxed) && !has_failed();
  }
  Result<void> transmit(const TxFrame& frame, void (*release)(void*), void* context) override;
  void flush_transmit(unsigned queue) override;
  unsigned poll_receive(unsigned queue, unsigned budget, Sink sink, void* context) override;
  bool arm_interrupt(unsigned queue) override;
  void set_callback(unsigned queue, void (*callback)(void*), void* context) override;
  QueueCounters queue_counters(unsigned queue) const override;

  [[nodiscard]] Counters counters() const;

 private:
  class Pair;

  static constexpr size_t kMaxFrame = 65536 + 14;
  static constexpr size_t kEthernetHeader = 14;

  /// What a pair's interrupts touch. Not in the pair, so that a late one finds it whatever has
  /// become of that.
  struct Signal {
    std::atomic<void (*)(void*)> callback{nullptr};
    void* context = nullptr;
    std::atomic<bool> receive_armed{false};
    /// transmit() found no room and nobody has been told of room since.
    std::atomic<bool> transmit_blocked{false};
    void wake();
  };

  [[nodiscard]] Pair& pair(unsigned queue) const { return *pairs_[kMaxQueues == 1 ? 0 : queue]; }
  /// Up to `pairs`, as many as the device has.
  Result<void> start_with(unsigned pairs);
  [[nodiscard]] bool offers_pairs();
  Result<unsigned> count_pairs(unsigned most);
  Result<void> give_up_pairs(Errno error);

  void on_failed() override;
  void on_config_change() override;
  void read_config();
  void broken(const char* what);

  const Sizes sizes_;
  MacAddress mac_{};
  uint32_t mtu_ = 1500;
  NetOffload offloads_ = NetOffload::kNone;
  bool merge_buffers_ = false;
  std::atomic<bool> link_up_{true};
  unsigned pair_count_ = 1;
  uint64_t multiqueue_errors_ = 0;

  std::array<Signal, kMaxQueues> signals_;
  std::array<std::unique_ptr<Pair>, kMaxQueues> pairs_;
  std::unique_ptr<NetControl> control_;
};

}  // namespace aril::virtio
