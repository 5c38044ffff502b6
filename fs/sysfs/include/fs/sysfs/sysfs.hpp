#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "fs/synthetic/synthetic.hpp"

namespace aril::sysfs {

/// A network interface as /sys/class/net shows it.
struct NetworkInterface {
  std::string name;  ///< "eth0"
  std::array<uint8_t, 6> address{};
  uint32_t index = 1;
  uint32_t mtu = 1500;
  uint32_t type = 1;  ///< ARPHRD_*: 1 Ethernet, 772 loopback
  std::function<bool()> link_up;
  struct Counters {
    uint64_t rx_bytes, rx_packets, rx_dropped, tx_bytes, tx_packets, tx_dropped;
  };
  std::function<Counters()> counters;
};

/// /sys, as far as programs read it. Built at start-up, after all CPUs are known.
class Sysfs {
 public:
  static constexpr uint64_t kMagic = 0x62656572;  ///< SYSFS_MAGIC
  static Result<std::unique_ptr<Sysfs>> create();

  [[nodiscard]] const RefPtr<synthetic::SyntheticFileSystem>& file_system() const {
    return file_system_;
  }
  void add_network_interface(const NetworkInterface& interface);
  void add_block_device(std::string_view name, uint64_t sectors, uint64_t device_number);

 private:
  explicit Sysfs(RefPtr<synthetic::SyntheticFileSystem> file_system)
      : file_system_(std::move(file_system)) {}
  RefPtr<synthetic::SyntheticFileSystem> file_system_;
};

}  // namespace aril::sysfs
