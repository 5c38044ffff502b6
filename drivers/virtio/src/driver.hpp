#pragma once
#include <atomic>
#include <cstdint>
#include <memory>

#include "transport.hpp"
#include "virtqueue.hpp"

namespace aril::virtio {

/// What all drivers share: the life of a device [virtio-1.2] 3.1, and its end when it misbehaves.
///
/// Life cycle: constructed over a transport -> start() -> running -> stop(), or failed at any time.
/// A failed device has been reset: it touches no memory and every operation answers kIo.
class Driver : public InterruptSink {
 public:
  explicit Driver(std::unique_ptr<Transport> transport) : transport_(std::move(transport)) {}
  virtual ~Driver() = default;
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  /// Negotiates and makes the device live. On an error the caller stops and deletes the driver.
  virtual Result<void> start() = 0;
  /// Resets the device so that its memory can be freed; before destruction.
  void stop() { stopped_.store(transport_->reset(), std::memory_order_release); }
  [[nodiscard]] const char* place() const { return transport_->place(); }
  [[nodiscard]] bool has_failed() const { return failed_.load(std::memory_order_acquire); }

  /// It was reset and touches no memory any more.
  [[nodiscard]] bool device_is_stopped() const { return stopped_.load(std::memory_order_acquire); }

  void on_config_interrupt() override;

 protected:
  /// Steps 1 to 6 of [virtio-1.2] 3.1.1: resets, accepts what is both offered and `wanted`.
  /// kNoDev when the device does not speak version 1, or refuses.
  Result<void> negotiate(uint64_t wanted);
  [[nodiscard]] bool has(uint64_t feature) const { return (features_ & feature) != 0; }

  /// Step 7: after connect_interrupts. As Virtqueue::create.
  Result<std::unique_ptr<Virtqueue>> make_queue(unsigned index, uint16_t max_size) {
    return Virtqueue::create(*transport_, index, max_size, features_);
  }
  /// Step 8: the device is live.
  void set_live();

  /// The device did what it must not (`what`), or asked for it: logs, resets it, and ends it for
  /// good, once. Any context.
  void fail_device(const char* what);
  /// After fail_device, wakes who waits. Any context, no lock held.
  virtual void on_failed() {}
  /// The configuration changed. Interrupt context.
  virtual void on_config_change() {}

  /// A 64-bit field read without tearing [virtio-1.2] 2.5.1.
  [[nodiscard]] uint64_t read_config64(unsigned offset);
  [[nodiscard]] Transport& transport() { return *transport_; }

 private:
  std::unique_ptr<Transport> transport_;
  uint64_t features_ = 0;
  std::atomic<bool> failed_{false};
  std::atomic<bool> stopped_{false};
};

/// virtio-rng; null when memory is short.
std::unique_ptr<Driver> make_entropy_driver(std::unique_ptr<Transport> transport);

}  // namespace aril::virtio
