#include <algorithm>
#include <array>
#include <new>
#include <optional>

#include "base/units.hpp"
#include "kernel/log/log.hpp"
#include "kernel/memory/heap.hpp"
#include "transport.hpp"

namespace aril::virtio {
namespace {

constexpr uint16_t kVendor = 0x1af4;
// [virtio-1.2] 4.1.2.1: transitional devices have ids below, others this plus the device id.
constexpr uint16_t kFirstModernId = 0x1040;
constexpr uint16_t kFirstId = 0x1000, kLastId = 0x107f;

// [virtio-1.2] 4.1.4: what a vendor capability locates.
constexpr uint8_t kCommonConfig = 1, kNotifyConfig = 2, kInterruptConfig = 3, kDeviceConfig = 4;

/// [virtio-1.2] 4.1.4.3
enum CommonRegister : uint8_t {
  kDeviceFeatureSelect = 0,
  kDeviceFeature = 4,
  kDriverFeatureSelect = 8,
  kDriverFeature = 12,
  kConfigMsixVector = 16,
  kDeviceStatus = 20,
  kConfigGeneration = 21,
  kQueueSelect = 22,
  kQueueSize = 24,
  kQueueMsixVector = 26,
  kQueueEnable = 28,
  kQueueNotifyOffset = 30,
  kQueueDescriptors = 32,
  kQueueDriver = 40,
  kQueueDevice = 48,
  kCommonSize = 56,
};
constexpr uint16_t kNoVector = 0xffff;

/// A mapped piece of a BAR.
struct Window {
  std::byte* registers = nullptr;
  uint32_t size = 0;

  template <typename T>
  [[nodiscard]] volatile T& at(unsigned offset) const {
    // Device registers; each is aligned to its size in the structures that the standard lays out.
    return *reinterpret_cast<volatile T*>(registers + offset);
  }
};

struct Windows {
  Window common, notify, interrupt, device;
  uint32_t notify_multiplier = 0;
};

class PciTransport final : public Transport {
 public:
  PciTransport(const pci::Device& device, const Windows& windows, uint32_t device_id)
      : device_(device), windows_(windows), common_(windows.common), device_id_(device_id) {
    pci::Address address = device.address();
    format_to(place_, "pci %02x:%02x.%u", address.bus, address.device, address.function);
  }

  uint32_t device_id() const override { return device_id_; }
  const char* place() const override { return place_.data(); }
  uint8_t status() override { return common_.at<uint8_t>(kDeviceStatus); }
  void set_status(uint8_t status) override { common_.at<uint8_t>(kDeviceStatus) = status; }

  bool reset() override {
    set_status(0);
    // [virtio-1.2] 4.1.4.3.2: the reset is over when it reads zero. A VMM does it in the write; the
    // bound only keeps a broken one from hanging the boot.
    for (int reads = 0; reads < 100'000; ++reads) {
      if (status() == 0) return true;
    }
    return false;
  }

  uint64_t offered_features() override {
    common_.at<uint32_t>(kDeviceFeatureSelect) = 1;
    uint64_t features = uint64_t{common_.at<uint32_t>(kDeviceFeature)} << 32;
    common_.at<uint32_t>(kDeviceFeatureSelect) = 0;
    return features | common_.at<uint32_t>(kDeviceFeature);
  }
  void accept_features(uint64_t features) override {
    common_.at<uint32_t>(kDriverFeatureSelect) = 1;
    common_.at<uint32_t>(kDriverFeature) = static_cast<uint32_t>(features >> 32);
    common_.at<uint32_t>(kDriverFeatureSelect) = 0;
    common_.at<uint32_t>(kDriverFeature) = static_cast<uint32_t>(features);
  }

  Result<void> connect_interrupts(InterruptSink& sink, unsigned queues) override {
    queues_ = queues;
    if (sink_ != nullptr) return uses_msix_ ? set_config_vector() : Result<void>();
    // One more, for the queue without an interrupt.
    queue_states_.reset(new (std::nothrow) QueueState[queues + 1]);
    if (queue_states_ == nullptr) return fail(Errno::kNoMem);
    sink_ = &sink;
    if (Result<pci::MsixTable> table = pci::MsixTable::enable(device_)) {
      return connect_msix(*table);
    }
    // INTx is level-triggered and active low [PCI 3.0 2.2.6].
    std::optional<uint8_t> line = device_.interrupt_line();
    if (!line) return fail(Errno::kNoDev);
    return arch::connect_global_interrupt(*line, arch::TriggerMode::kLevel,
                                          arch::Polarity::kActiveLow, on_shared_line, this);
  }

  uint16_t queue_limit(unsigned queue) override {
    common_.at<uint16_t>(kQueueSelect) = static_cast<uint16_t>(queue);
    return common_.at<uint16_t>(kQueueSize);
  }

  Result<void> start_queue(unsigned queue, const QueueLayout& layout) override {
    common_.at<uint16_t>(kQueueSelect) = static_cast<uint16_t>(queue);
    // [virtio-1.2] 4.1.4.4: the queue's doorbell; it may be anywhere in the window.
    uint64_t doorbell =
        uint64_t{common_.at<uint16_t>(kQueueNotifyOffset)} * windows_.notify_multiplier;
    if (doorbell + sizeof(uint16_t) > windows_.notify.size || doorbell % 2 != 0)
      return fail(Errno::kInval);
    state_of(queue).doorbell = windows_.notify.registers + doorbell;

    common_.at<uint16_t>(kQueueSize) = layout.size;
    if (uses_msix_ && queue < queues_) {
      uint16_t vector = vector_of_queue(queue);
      common_.at<uint16_t>(kQueueMsixVector) = vector;
      // [virtio-1.2] 4.1.5.1.2.2: a device without resources answers "no vector".
      if (common_.at<uint16_t>(kQueueMsixVector) != vector) return fail(Errno::kNoSpc);
    }
    write_address(kQueueDescriptors, layout.descriptors);
    write_address(kQueueDriver, layout.available);
    write_address(kQueueDevice, layout.used);
    common_.at<uint16_t>(kQueueEnable) = 1;
    return {};
  }

  void notify(unsigned queue) override {
    // A device register. [virtio-1.2] 4.1.5.2: without NOTIFICATION_DATA, the queue's index.
    *reinterpret_cast<volatile uint16_t*>(state_of(queue).doorbell) = static_cast<uint16_t>(queue);
  }

  uint32_t read_config(unsigned offset, unsigned width) override {
    if (offset > windows_.device.size || windows_.device.size - offset < width) return 0;
    if (width == 1) return windows_.device.at<uint8_t>(offset);
    if (width == 2) return windows_.device.at<uint16_t>(offset);
    return windows_.device.at<uint32_t>(offset);
  }
  uint32_t config_generation() override { return common_.at<uint8_t>(kConfigGeneration); }

 private:
  /// A vector per queue and one for changes of configuration; where the table is smaller, the last
  /// entry serves the queues that are left.
  Result<void> connect_msix(pci::MsixTable& table) {
    vectors_ = std::min(table.size(), queues_ + 1);
    if (vectors_ < 2) {
      ARIL_TRY(table.connect(0, 0, on_any, this));
    } else {
      ARIL_TRY(table.connect(0, 0, on_config, this));
    }
    for (unsigned vector = 1; vector < vectors_; ++vector) {
      unsigned queue = vector - 1;
      bool shared = vector + 1 == vectors_ && vectors_ < queues_ + 1;
      unsigned cpu = sink_->cpu_of_queue(queue);
      queue_states_[queue].transport = this;
      queue_states_[queue].queue = queue;
      if (shared) {
        ARIL_TRY(table.connect(vector, cpu, on_all_queues, this));
      } else {
        ARIL_TRY(table.connect(vector, cpu, on_queue, &queue_states_[queue]));
      }
    }
    uses_msix_ = true;
    return set_config_vector();
  }
  Result<void> set_config_vector() {
    common_.at<uint16_t>(kConfigMsixVector) = 0;
    if (common_.at<uint16_t>(kConfigMsixVector) == kNoVector) return fail(Errno::kNoSpc);
    return {};
  }
  [[nodiscard]] uint16_t vector_of_queue(unsigned queue) const {
    return static_cast<uint16_t>(std::min(queue + 1, vectors_ - 1));
  }

  struct QueueState {
    PciTransport* transport = nullptr;
    unsigned queue = 0;
    std::byte* doorbell = nullptr;
  };
  /// Of one of the first queues, or of the further one.
  QueueState& state_of(unsigned queue) { return queue_states_[std::min(queue, queues_)]; }
  static void on_queue(void* argument) {
    auto& context = *static_cast<QueueState*>(argument);
    context.transport->sink_->on_queue_interrupt(context.queue);
  }
  static void on_all_queues(void* argument) {
    auto& self = *static_cast<PciTransport*>(argument);
    for (unsigned queue = 0; queue < self.queues_; ++queue) self.sink_->on_queue_interrupt(queue);
  }
  static void on_config(void* argument) {
    static_cast<PciTransport*>(argument)->sink_->on_config_interrupt();
  }
  static void on_any(void* argument) {
    on_all_queues(argument);
    on_config(argument);
  }
  static void on_shared_line(void* argument) {
    auto& self = *static_cast<PciTransport*>(argument);
    // [virtio-1.2] 4.1.4.5: reading acknowledges; zero when another device holds the line.
    uint8_t pending = self.windows_.interrupt.at<uint8_t>(0);
    if ((pending & 1) != 0) on_all_queues(argument);
    if ((pending & 2) != 0) on_config(argument);
  }

  void write_address(CommonRegister offset, PhysicalAddress address) {
    // [virtio-1.2] 4.1.3.1: 64-bit fields are written as two words.
    common_.at<uint32_t>(offset) = static_cast<uint32_t>(address);
    common_.at<uint32_t>(offset + 4u) = static_cast<uint32_t>(address >> 32);
  }

  pci::Device device_;
  Windows windows_;
  Window common_;
  uint32_t device_id_;
  InterruptSink* sink_ = nullptr;
  unsigned queues_ = 0;
  unsigned vectors_ = 0;
  bool uses_msix_ = false;
  std::unique_ptr<QueueState[]> queue_states_;
  std::array<char, 24> place_{};
};

/// Maps what capabilities point to. Structures in one page, as most are, share its mapping.
class WindowMapper {
 public:
  explicit WindowMapper(const pci::Device& device) : device_(device) {}

  Result<Window> map(uint8_t bar, uint32_t offset, uint32_t length) {
    // What the structures need is small; the doorbells of many queues may have pages of their own.
    length = std::min<uint32_t>(length, 16 * kKiB);
    if (length == 0 || offset % 4 != 0) return fail(Errno::kInval);
    PhysicalAddress start = ARIL_TRY(device_.memory_bar(bar, uint64_t{offset} + length)) + offset;
    PhysicalAddress page = align_down(start, kPageSize);
    if (registers_ == nullptr || page < page_ || start + length > page_ + size_) {
      page_ = page;
      size_ = align_up(start + length - page, kPageSize);
      registers_ = heap::map_device(page_, size_);
      if (registers_ == nullptr) return fail(Errno::kNoMem);
    }
    return Window{registers_ + (start - page_), length};
  }

 private:
  const pci::Device& device_;
  /// The mapping made last.
  PhysicalAddress page_ = 0;
  size_t size_ = 0;
  std::byte* registers_ = nullptr;
};

/// Reads the vendor capabilities [virtio-1.2] 4.1.4. The first of each kind counts. kNoDev when the
/// device has none: the legacy interface only.
Result<Windows> find_windows(const pci::Device& device) {
  Windows windows;
  WindowMapper mapper(device);
  std::optional<uint8_t> capability = device.find_capability(pci::kCapabilityVendor);
  for (int count = 0; capability && count < 16; ++count) {
    uint8_t at = *capability;
    uint8_t type = device.read8(at + 3);
    Window* window = nullptr;
    if (type == kCommonConfig) window = &windows.common;
    if (type == kNotifyConfig) window = &windows.notify;
    if (type == kInterruptConfig) window = &windows.interrupt;
    if (type == kDeviceConfig) window = &windows.device;
    if (window != nullptr && window->registers == nullptr) {
      *window =
          ARIL_TRY(mapper.map(device.read8(at + 4), device.read(at + 8), device.read(at + 12)));
      if (type == kNotifyConfig) windows.notify_multiplier = device.read(at + 16);
    }
    capability = device.find_capability(pci::kCapabilityVendor, at);
  }
  if (windows.common.size < kCommonSize || windows.notify.size == 0 || windows.interrupt.size == 0)
    return fail(Errno::kNoDev);
  return windows;
}

}  // namespace

std::unique_ptr<Transport> open_pci(const pci::Device& device) {
  if (device.vendor_id() != kVendor || device.device_id() < kFirstId ||
      device.device_id() > kLastId)
    return nullptr;
  pci::Address address = device.address();
  // [virtio-1.2] 4.1.2.1, and 4.1.2.3 for the subsystem id of transitional devices.
  uint32_t id = device.device_id() >= kFirstModernId ? device.device_id() - kFirstModernId
                                                     : device.subsystem_id();
  Result<Windows> windows = find_windows(device);
  if (!windows) {
    if (windows.error() == Errno::kNoDev) {
      ARIL_LOG_ERROR("virtio",
                     "pci %02x:%02x.%u: device %u has only the legacy interface, which is not "
                     "supported: give the device disable-modern=off",
                     address.bus, address.device, address.function, id);
    } else {
      ARIL_LOG_ERROR("virtio", "pci %02x:%02x.%u: registers of device %u cannot be used: error %d",
                     address.bus, address.device, address.function, id,
                     static_cast<int>(windows.error()));
    }
    return nullptr;
  }
  device.enable_bus_mastering();
  std::unique_ptr<Transport> transport(new (std::nothrow) PciTransport(device, *windows, id));
  if (transport == nullptr) ARIL_LOG_ERROR("virtio", "pci: out of memory");
  return transport;
}

}  // namespace aril::virtio
