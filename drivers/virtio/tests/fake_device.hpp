#pragma once
#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "../src/spec.hpp"
#include "../src/transport.hpp"
#include "arch/layout.hpp"
#include "base/units.hpp"
#include "kernel/memory/page_allocator.hpp"

namespace aril::virtio::testing {

/// The device's side of one split queue, for well-behaved and hostile devices alike.
class DeviceQueue {
 public:
  struct Piece {
    std::byte* data;
    uint32_t length;
    bool writable;
  };
  struct Chain {
    uint16_t head;
    std::vector<Piece> pieces;
    [[nodiscard]] std::vector<std::byte> readable() const {
      std::vector<std::byte> bytes;
      for (const Piece& piece : pieces)
        if (!piece.writable) bytes.insert(bytes.end(), piece.data, piece.data + piece.length);
      return bytes;
    }
    /// Scatters `bytes` over the writable pieces.
    uint32_t fill(std::span<const std::byte> bytes) const {
      uint32_t written = 0;
      for (const Piece& piece : pieces) {
        if (!piece.writable) continue;
        size_t part = std::min<size_t>(piece.length, bytes.size());
        std::copy_n(bytes.begin(), part, piece.data);
        bytes = bytes.subspan(part);
        written += static_cast<uint32_t>(part);
      }
      return written;
    }
  };

  DeviceQueue() = default;
  DeviceQueue(const Transport::QueueLayout& layout, bool event_index)
      : size_(layout.size),
        event_index_(event_index),
        descriptors_(at<Descriptor>(layout.descriptors)),
        available_(at<uint16_t>(layout.available)),
        used_(at<uint16_t>(layout.used)) {}

  [[nodiscard]] uint16_t size() const { return size_; }
  [[nodiscard]] uint16_t waiting() const { return available_[1] - next_; }

  std::optional<Chain> pop() {
    if (waiting() == 0) return std::nullopt;
    Chain chain{available_[2 + next_++ % size_], {}};
    // Asks to be told of the next one [virtio-1.2] 2.7.10.
    if (event_index_) used_[2 + size_ * 4] = next_;
    follow(chain, descriptors_, chain.head);
    return chain;
  }

  void push(uint32_t id, uint32_t length) {
    put(id, length);
    advance(1);
  }
  /// Writes an entry without showing it.
  void put(uint32_t id, uint32_t length) {
    auto* entry = reinterpret_cast<uint32_t*>(used_ + 2) + 2 * (put_++ % size_);
    entry[0] = id;
    entry[1] = length;
  }
  void advance(uint16_t by) { used_[1] = static_cast<uint16_t>(used_[1] + by); }
  void suppress_notifications() {
    if (event_index_) {
      used_[2 + size_ * 4] = static_cast<uint16_t>(next_ - 2);
    } else {
      used_[0] = kUsedNoNotify;
    }
  }

  /// Whether the driver asked for an interrupt since the last time this was asked.
  bool interrupt_wanted() {
    uint16_t before = signalled_;
    signalled_ = used_[1];
    if (signalled_ == before) return false;
    if (!event_index_) return (available_[0] & kAvailNoInterrupt) == 0;
    uint16_t event = available_[2 + size_];
    return static_cast<uint16_t>(signalled_ - event - 1) <
           static_cast<uint16_t>(signalled_ - before);
  }

 private:
  template <typename T>
  static T* at(PhysicalAddress address) {
    // Not physical_to_virtual: what a test sends may lie outside the arena, on the host's heap.
    return reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(arch::host_ram()) + address);
  }
  void follow(Chain& chain, const Descriptor* table, uint16_t index) {
    for (;;) {
      const Descriptor& descriptor = table[index];
      if ((descriptor.flags & kDescriptorIndirect) != 0) {
        follow(chain, at<Descriptor>(descriptor.address), 0);
        return;
      }
      chain.pieces.push_back({at<std::byte>(descriptor.address), descriptor.length,
                              (descriptor.flags & kDescriptorWrite) != 0});
      if ((descriptor.flags & kDescriptorNext) == 0) return;
      index = descriptor.next;
    }
  }

  uint16_t size_ = 0;
  bool event_index_ = false;
  uint16_t next_ = 0, signalled_ = 0, put_ = 0;
  Descriptor* descriptors_ = nullptr;
  uint16_t* available_ = nullptr;
  uint16_t* used_ = nullptr;
};

/// What a test sees of the device, whose queues are gone when it is started again; outlives the
/// transport, which the driver owns.
struct FakeDevice {
  uint32_t id = 0;
  uint64_t offered = kFeatureVersion1 | kFeatureEventIndex | kFeatureIndirect;
  uint64_t accepted = 0;
  bool refuses_features = false;
  uint8_t status = 0;
  unsigned resets = 0;
  uint16_t queue_limit = 256;
  static constexpr unsigned kMaxQueues = 32;
  unsigned queue_count = kMaxQueues;
  std::array<std::byte, 64> config{};
  std::array<DeviceQueue, kMaxQueues> queues;
  std::array<unsigned, kMaxQueues> notifications{};
  InterruptSink* sink = nullptr;
  /// Called at every notification.
  void (*on_notify)(FakeDevice& device, unsigned queue) = nullptr;

  template <typename T>
  void set_config(unsigned offset, T value) {
    std::memcpy(config.data() + offset, &value, sizeof value);
  }
  [[nodiscard]] bool is_live() const { return (status & kStatusDriverOk) != 0; }
  /// Interrupts if the driver asked for it.
  bool interrupt(unsigned queue) {
    if (!queues[queue].interrupt_wanted()) return false;
    sink->on_queue_interrupt(queue);
    return true;
  }
};

class FakeTransport final : public Transport {
 public:
  explicit FakeTransport(FakeDevice& device) : device_(device) {}
  uint32_t device_id() const override { return device_.id; }
  const char* place() const override { return "fake"; }
  uint8_t status() override { return device_.status; }
  void set_status(uint8_t status) override {
    if (device_.refuses_features) status &= static_cast<uint8_t>(~kStatusFeaturesOk);
    device_.status = status;
  }
  bool reset() override {
    device_.status = 0;
    ++device_.resets;
    return true;
  }
  uint64_t offered_features() override { return device_.offered; }
  void accept_features(uint64_t features) override {
    device_.accepted = features;
    device_.queues = {};
  }
  Result<void> connect_interrupts(InterruptSink& sink, unsigned) override {
    device_.sink = &sink;
    return {};
  }
  uint16_t queue_limit(unsigned queue) override {
    return queue < device_.queue_count ? device_.queue_limit : uint16_t{0};
  }
  Result<void> start_queue(unsigned queue, const QueueLayout& layout) override {
    device_.queues[queue] = DeviceQueue(layout, (device_.accepted & kFeatureEventIndex) != 0);
    return {};
  }
  void notify(unsigned queue) override {
    ++device_.notifications[queue];
    if (device_.on_notify != nullptr) device_.on_notify(device_, queue);
  }
  uint32_t read_config(unsigned offset, unsigned width) override {
    uint32_t value = 0;
    if (offset + width <= device_.config.size())
      std::memcpy(&value, device_.config.data() + offset, width);
    return value;
  }
  uint32_t config_generation() override { return 0; }

 private:
  FakeDevice& device_;
};

/// Simulated RAM, made once per process.
inline void initialize_memory() {
  static const bool done = [] {
    PhysicalRange usable{kMiB, arch::kHostRamSize};
    page_allocator::initialize({&usable, 1}, {});
    return true;
  }();
  static_cast<void>(done);
}

inline std::vector<std::byte> bytes_of(std::string_view text) {
  auto data = std::as_bytes(std::span(text));
  return {data.begin(), data.end()};
}

}  // namespace aril::virtio::testing
