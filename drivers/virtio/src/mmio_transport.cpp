#include <array>
#include <new>

#include "kernel/log/log.hpp"
#include "transport.hpp"

namespace aril::virtio {
namespace {

/// Registers [virtio-1.2] 4.2.2, Table 4.1.
enum Register : uint16_t {
  kMagic = 0x000,
  kVersion = 0x004,
  kDeviceId = 0x008,
  kDeviceFeatures = 0x010,
  kDeviceFeaturesSelect = 0x014,
  kDriverFeatures = 0x020,
  kDriverFeaturesSelect = 0x024,
  kQueueSelect = 0x030,
  kQueueSizeMax = 0x034,
  kQueueSize = 0x038,
  kQueueReady = 0x044,
  kQueueNotify = 0x050,
  kInterruptStatus = 0x060,
  kInterruptAcknowledge = 0x064,
  kStatus = 0x070,
  kQueueDescriptorsLow = 0x080,
  kQueueDescriptorsHigh = 0x084,
  kQueueAvailableLow = 0x090,
  kQueueAvailableHigh = 0x094,
  kQueueUsedLow = 0x0a0,
  kQueueUsedHigh = 0x0a4,
  kConfigGeneration = 0x0fc,
  kConfig = 0x100,
};

constexpr uint32_t kMagicValue = 0x74726976;  // "virt"
constexpr uint32_t kInterruptQueue = 1, kInterruptConfig = 2;

class MmioTransport final : public Transport {
 public:
  MmioTransport(std::byte* registers, const MmioLocation& location, uint32_t device_id)
      : registers_(registers), location_(location), device_id_(device_id) {
    format_to(place_, "mmio 0x%lx", static_cast<unsigned long>(location.address));
  }

  uint32_t device_id() const override { return device_id_; }
  const char* place() const override { return place_.data(); }
  uint8_t status() override { return static_cast<uint8_t>(read(kStatus)); }
  void set_status(uint8_t status) override { write(kStatus, status); }

  bool reset() override {
    write(kStatus, 0);
    return read(kStatus) == 0;
  }

  uint64_t offered_features() override {
    write(kDeviceFeaturesSelect, 1);
    uint64_t features = uint64_t{read(kDeviceFeatures)} << 32;
    write(kDeviceFeaturesSelect, 0);
    return features | read(kDeviceFeatures);
  }
  void accept_features(uint64_t features) override {
    write(kDriverFeaturesSelect, 1);
    write(kDriverFeatures, static_cast<uint32_t>(features >> 32));
    write(kDriverFeaturesSelect, 0);
    write(kDriverFeatures, static_cast<uint32_t>(features));
  }

  Result<void> connect_interrupts(InterruptSink& sink, unsigned queues) override {
    queues_ = queues;
    if (sink_ != nullptr) return {};
    sink_ = &sink;
    return arch::connect_global_interrupt(location_.gsi, location_.trigger, location_.polarity,
                                          on_interrupt, this);
  }

  uint16_t queue_limit(unsigned queue) override {
    write(kQueueSelect, queue);
    return static_cast<uint16_t>(std::min<uint32_t>(read(kQueueSizeMax), 0x8000));
  }

  Result<void> start_queue(unsigned queue, const QueueLayout& layout) override {
    // [virtio-1.2] 4.2.3.2: the queue must not be in use.
    write(kQueueSelect, queue);
    if (read(kQueueReady) != 0) return fail(Errno::kBusy);
    write(kQueueSize, layout.size);
    write_address(kQueueDescriptorsLow, layout.descriptors);
    write_address(kQueueAvailableLow, layout.available);
    write_address(kQueueUsedLow, layout.used);
    write(kQueueReady, 1);
    return {};
  }

  void notify(unsigned queue) override { write(kQueueNotify, queue); }

  uint32_t read_config(unsigned offset, unsigned width) override {
    if (kConfig + offset + width > location_.size) return 0;
    // [virtio-1.2] 4.2.2.2: accesses as wide as the field; device registers.
    auto* field = registers_ + kConfig + offset;
    if (width == 1) return *reinterpret_cast<volatile uint8_t*>(field);
    if (width == 2) return *reinterpret_cast<volatile uint16_t*>(field);
    return *reinterpret_cast<volatile uint32_t*>(field);
  }
  uint32_t config_generation() override { return read(kConfigGeneration); }

 private:
  static void on_interrupt(void* argument) {
    auto& self = *static_cast<MmioTransport*>(argument);
    // Acknowledged before the rings are looked at, so that no later buffer goes unannounced; and
    // until nothing is left, because only then does the line fall, and an edge-triggered pin needs
    // that to see the next one. Bounded, as the device decides what is left.
    for (int rounds = 0; rounds < 16; ++rounds) {
      uint32_t pending = self.read(kInterruptStatus) & (kInterruptQueue | kInterruptConfig);
      if (pending == 0) return;
      self.write(kInterruptAcknowledge, pending);
      if ((pending & kInterruptQueue) != 0) {
        for (unsigned queue = 0; queue < self.queues_; ++queue)
          self.sink_->on_queue_interrupt(queue);
      }
      if ((pending & kInterruptConfig) != 0) self.sink_->on_config_interrupt();
    }
  }

  [[nodiscard]] volatile uint32_t& word(uint16_t offset) const {
    // Device registers are 32 bits wide and aligned [virtio-1.2] 4.2.2.
    return *reinterpret_cast<volatile uint32_t*>(registers_ + offset);
  }
  [[nodiscard]] uint32_t read(Register offset) const { return word(offset); }
  void write(Register offset, uint32_t value) { word(offset) = value; }
  void write_address(Register low, PhysicalAddress address) {
    word(low) = static_cast<uint32_t>(address);
    word(low + 4) = static_cast<uint32_t>(address >> 32);
  }

  std::byte* registers_;
  MmioLocation location_;
  uint32_t device_id_;
  InterruptSink* sink_ = nullptr;
  unsigned queues_ = 0;
  std::array<char, 32> place_{};
};

}  // namespace

std::unique_ptr<Transport> open_mmio(std::byte* registers, const MmioLocation& location) {
  auto read = [&](Register offset) {
    return *reinterpret_cast<volatile uint32_t*>(registers + offset);  // device registers
  };
  auto address = static_cast<unsigned long>(location.address);
  if (read(kMagic) != kMagicValue) {
    ARIL_LOG_WARNING("virtio", "mmio 0x%lx: no virtio device there", address);
    return nullptr;
  }
  uint32_t id = read(kDeviceId);
  if (id == 0) return nullptr;  // [virtio-1.2] 4.2.2: an empty slot
  if (uint32_t version = read(kVersion); version != 2) {
    ARIL_LOG_ERROR("virtio",
                   "mmio 0x%lx: device %u has the legacy interface (version %u), which is not "
                   "supported: start QEMU with -global virtio-mmio.force-legacy=false",
                   address, id, version);
    return nullptr;
  }
  std::unique_ptr<Transport> transport(new (std::nothrow) MmioTransport(registers, location, id));
  if (transport == nullptr) ARIL_LOG_ERROR("virtio", "mmio 0x%lx: out of memory", address);
  return transport;
}

}  // namespace aril::virtio
