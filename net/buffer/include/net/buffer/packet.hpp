#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/result.hpp"
#include "net/buffer/ring.hpp"

namespace aril::net {

/// One packet in contiguous memory of its own, for what must be kept: queued datagrams,
/// fragments, packets that wait for ARP, loopback. Not shared.
class Packet {
 public:
  /// `size` bytes, contents undefined. kNoMem.
  static Result<std::unique_ptr<Packet>> allocate(size_t size);
  /// kNoMem.
  static Result<std::unique_ptr<Packet>> copy_of(std::span<const std::byte> bytes);

  // The bytes follow the object in the same allocation.
  [[nodiscard]] std::span<std::byte> bytes() {
    return {reinterpret_cast<std::byte*>(this + 1), size_};
  }
  [[nodiscard]] size_t size() const { return size_; }
  static void operator delete(void* memory);

 private:
  explicit Packet(size_t size) : size_(size) {}
  static void* operator new(size_t, void* place) { return place; }
  size_t size_;
};

using PacketPtr = std::unique_ptr<Packet>;

}  // namespace aril::net
