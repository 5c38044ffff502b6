#include <array>
#include <new>

#include "base/unique.hpp"
#include "driver.hpp"
#include "drivers/virtio/device_set.hpp"
#include "kernel/random/random.hpp"
#include "kernel/sync/spin_lock.hpp"

namespace aril::virtio {
namespace {

/// virtio-rng [virtio-1.2] 5.4. Asks once, at start, for one block of random bytes and feeds it to
/// the generator when it comes: the boot does not wait for it.
class EntropyDriver final : public Driver {
 public:
  using Driver::Driver;

  Result<void> start() override {
    ARIL_TRY(negotiate(0));
    ARIL_TRY(transport().connect_interrupts(*this, 1));
    queue_ = ARIL_TRY(make_queue(0, 1));
    Virtqueue::Buffer buffer{arch::virtual_to_physical(bytes_.data()),
                             static_cast<uint32_t>(bytes_.size())};
    queue_->add({}, {&buffer, 1});
    set_live();
    if (queue_->publish()) queue_->notify();
    return {};
  }

  void on_queue_interrupt(unsigned) override {
    LockGuard guard(lock_);
    if (has_failed()) return;
    std::optional<Virtqueue::Used> used = queue_->take_used();
    if (used) {
      // Half of what a perfect source would give: the host's generator is trusted, cautiously.
      random::add_entropy(std::span(bytes_).first(used->length), used->length * 4);
      // The bytes are in the generator's state now and must not be found elsewhere. volatile: the
      // compiler sees nobody read them again.
      for (volatile std::byte& byte : bytes_) byte = std::byte{0};
    } else if (queue_->is_broken()) {
      fail_device("the entropy device broke the ring protocol");
    }
  }

 private:
  SpinLock lock_{LockRank::kDevice};
  std::unique_ptr<Virtqueue> queue_;
  std::array<std::byte, 64> bytes_{};
};

}  // namespace

std::unique_ptr<Driver> make_entropy_driver(std::unique_ptr<Transport> transport) {
  return std::unique_ptr<Driver>(new (std::nothrow) EntropyDriver(std::move(transport)));
}

constinit const DriverKind kEntropyDriver = {
    .device_id = kDeviceEntropy,
    .name = "entropy source",
    .make =
        [](DeviceSet&, std::unique_ptr<Transport> transport) {
          return make_entropy_driver(std::move(transport));
        },
    .started = [](DeviceSet&, Driver&) {},
    // The CPU's own generator does to begin with.
    .can_wait = [] { return random::is_seeded(); },
};

}  // namespace aril::virtio
