#include "drivers/pci/pci.hpp"

#include <gtest/gtest.h>

#include <map>
#include <vector>

namespace aril::pci {
namespace {

/// Configuration space made of words; BARs answer size probes with the masks given.
class FakeConfigSpace final : public ConfigSpace {
 public:
  uint32_t read(Address address, uint16_t offset) override {
    auto function = functions_.find(address);
    return function == functions_.end() ? ~uint32_t{0} : function->second[offset / 4];
  }
  void write(Address address, uint16_t offset, uint32_t value) override {
    auto function = functions_.find(address);
    if (function == functions_.end()) return;
    if (auto bar = bars_.find(offset); bar != bars_.end()) {
      value = (value & bar->second.mask) | bar->second.type;
    } else if (offset >= 0x10 && offset < 0x28) {
      value = 0;  // a BAR that is not there
    }
    function->second[offset / 4] = value;
  }
  uint8_t last_bus() const override { return 255; }

  std::vector<uint32_t>& add(Address address, uint32_t identity) {
    auto& words = functions_[address];
    words.assign(64, 0);
    words[0] = identity;
    return words;
  }
  void set_bar(uint16_t offset, uint32_t mask, uint32_t type) { bars_[offset] = {mask, type}; }

 private:
  struct Bar {
    uint32_t mask, type;
  };
  std::map<Address, std::vector<uint32_t>> functions_;
  std::map<uint16_t, Bar> bars_;
};

std::vector<Address> addresses(Host& host) {
  std::vector<Address> found;
  enumerate(
      host,
      [](void* context, const Device& device) {
        static_cast<std::vector<Address>*>(context)->push_back(device.address());
      },
      &found);
  return found;
}

TEST(Enumerate, FollowsFunctionsAndBridgesOnce) {
  FakeConfigSpace config;
  config.add({0, 0, 0}, 0x29c08086);
  config.add({0, 2, 0}, 0x10411af4)[3] = 0x00800000;  // multifunction
  config.add({0, 2, 3}, 0x10421af4);
  config.add({0, 5, 1}, 0x10421af4);  // no function 0: does not exist
  auto& bridge = config.add({0, 3, 0}, 0x00011b36);
  bridge[2] = 0x06040000;
  bridge[6] = 0x00010100;
  auto& looped = config.add({1, 0, 0}, 0x00011b36);  // a bridge that leads back
  looped[2] = 0x06040000;
  looped[6] = 0x00010001;
  config.add({1, 4, 0}, 0x10401af4);
  Host host{config};
  std::vector<Address> expected{{0, 0, 0}, {0, 2, 0}, {0, 2, 3}, {0, 3, 0}, {1, 0, 0}, {1, 4, 0}};
  EXPECT_EQ(addresses(host), expected);
}

TEST(Device, CapabilityLoopEnds) {
  FakeConfigSpace config;
  auto& words = config.add({0, 1, 0}, 0x10411af4);
  words[1] = 0x00100000;
  words[0x34 / 4] = 0x40;
  words[0x40 / 4] = 0x5009;
  words[0x50 / 4] = 0x4009;
  Host host{config};
  Device device(host, {0, 1, 0}, words[0]);
  EXPECT_EQ(device.find_capability(kCapabilityVendor), 0x40);
  EXPECT_EQ(device.find_capability(kCapabilityVendor, 0x40), 0x50);
  EXPECT_FALSE(device.find_capability(kCapabilityMsix).has_value());
}

TEST(Device, AssignsUnsetBarFromWindow) {
  FakeConfigSpace config;
  auto& words = config.add({0, 1, 0}, 0x10411af4);
  words[0x10 / 4] = 0x4;
  config.set_bar(0x10, 0xffffc000, 0x4);
  config.set_bar(0x14, 0xffffffff, 0);
  Host host{config, MemoryWindow({0xc0001000, 0xc0010000})};
  Device device(host, {0, 1, 0}, words[0]);
  EXPECT_EQ(device.memory_bar(0, 0x4000), PhysicalAddress{0xc0004000});
  EXPECT_EQ(words[0x10 / 4], 0xc0004004u);
  EXPECT_EQ(words[0x14 / 4], 0u);

  Host without{config};
  words[0x10 / 4] = 0x4;
  EXPECT_EQ(Device(without, {0, 1, 0}, words[0]).memory_bar(0, 1).error(), Errno::kNoSpc);
}

TEST(Device, KeepsAssignedBar) {
  FakeConfigSpace config;
  auto& words = config.add({0, 1, 0}, 0x10411af4);
  words[0x14 / 4] = 0xfebd1000;
  config.set_bar(0x14, 0xfffff000, 0);
  config.set_bar(0x10, 0xffffffe0, 1);
  words[0x10 / 4] = 0xc001;
  Host host{config};
  Device device(host, {0, 1, 0}, words[0]);
  EXPECT_EQ(device.memory_bar(1, 0x1000), PhysicalAddress{0xfebd1000});
  EXPECT_EQ(device.memory_bar(0, 16).error(), Errno::kNoDev);  // I/O space
  EXPECT_EQ(device.memory_bar(2, 16).error(), Errno::kNoDev);  // absent
  EXPECT_EQ(device.memory_bar(6, 16).error(), Errno::kNoDev);
}

TEST(MemoryWindow, RefusesOverflow) {
  MemoryWindow window({0xfffffffffffff000, 0xffffffffffffffff});
  EXPECT_FALSE(window.allocate(0x2000).has_value());
  EXPECT_FALSE(window.allocate(uint64_t{1} << 63).has_value());
}

}  // namespace
}  // namespace aril::pci
