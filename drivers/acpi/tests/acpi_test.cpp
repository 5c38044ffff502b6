#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "drivers/acpi/mp_table.hpp"
#include "drivers/acpi/namespace_scan.hpp"
#include "drivers/acpi/tables.hpp"

namespace aril::acpi {
namespace {

/// Simulated physical memory from address 0.
std::vector<std::byte> memory;

std::span<const std::byte> view(uint64_t address, size_t size) {
  if (address > memory.size() || size > memory.size() - address) return {};
  return std::span(memory).subspan(address, size);
}

void put(std::vector<std::byte>& to, uint64_t value, size_t size) {
  for (size_t i = 0; i < size; ++i) to.push_back(static_cast<std::byte>(value >> (8 * i)));
}
void put(std::vector<std::byte>& to, std::string_view text) {
  for (char c : text) to.push_back(static_cast<std::byte>(c));
}

void fix_checksum(std::span<std::byte> bytes, size_t at) {
  bytes[at] = std::byte{0};
  uint8_t sum = 0;
  for (std::byte byte : bytes) sum = static_cast<uint8_t>(sum + static_cast<uint8_t>(byte));
  bytes[at] = static_cast<std::byte>(-sum);
}

std::vector<std::byte> make_table(const char* signature, const std::vector<std::byte>& body) {
  std::vector<std::byte> table;
  put(table, std::string_view(signature, 4));
  put(table, 36 + body.size(), 4);
  put(table, 2, 1);
  table.resize(36);
  table.insert(table.end(), body.begin(), body.end());
  fix_checksum(table, 9);
  return table;
}

void place(uint64_t address, const std::vector<std::byte>& bytes) {
  std::memcpy(memory.data() + address, bytes.data(), bytes.size());
}

std::vector<std::byte> bytes_of(std::initializer_list<int> values) {
  std::vector<std::byte> bytes;
  for (int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

std::vector<std::byte> sample_madt_body() {
  std::vector<std::byte> body;
  put(body, 0xfee00000, 4);
  put(body, 1, 4);
  for (uint32_t id : {0u, 1u}) {
    put(body, 0, 1), put(body, 8, 1), put(body, id, 1), put(body, id * 2, 1), put(body, 1, 4);
  }
  put(body, 0, 1), put(body, 8, 1), put(body, 9, 1), put(body, 9, 1), put(body, 0, 4);  // disabled
  put(body, 1, 1), put(body, 12, 1), put(body, 0, 2), put(body, 0xfec00000, 4), put(body, 0, 4);
  put(body, 2, 1), put(body, 10, 1), put(body, 0, 1), put(body, 9, 1), put(body, 9, 4);
  put(body, 0x000d, 2);  // active high, level
  return body;
}

class AcpiTables : public testing::Test {
 protected:
  void SetUp() override {
    memory.assign(0x100000, std::byte{0});
    place(0x2000, make_table("APIC", sample_madt_body()));
    std::vector<std::byte> root;
    put(root, 0x3000, 4);  // nothing there: skipped
    put(root, 0x2000, 4);
    place(0x1000, make_table("RSDT", root));
    std::vector<std::byte> rsdp;
    put(rsdp, "RSD PTR ");
    rsdp.resize(16);
    put(rsdp, 0x1000, 4);
    fix_checksum(rsdp, 8);
    place(0xf0010, rsdp);
  }
};

TEST_F(AcpiTables, AreFoundInTheBiosArea) {
  auto tables = Tables::find(0, view);
  ASSERT_TRUE(tables.has_value());
  auto model = parse_madt(tables->table("APIC"));
  ASSERT_TRUE(model.has_value());
  EXPECT_TRUE(model->has_legacy_pic);
  ASSERT_EQ(model->cpu_count, 2u);
  EXPECT_EQ(model->cpus[1], 2u);
  ASSERT_EQ(model->io_apic_count, 1u);
  EXPECT_EQ(model->io_apics[0].address, 0xfec00000u);
  ASSERT_EQ(model->override_count, 1u);
  EXPECT_TRUE(model->overrides[0].level_triggered);
  EXPECT_FALSE(model->overrides[0].active_low);
  EXPECT_FALSE(tables->table("MCFG"));
}

TEST_F(AcpiTables, BadChecksumIsNoTable) {
  memory[0x2000 + 40] ^= std::byte{1};
  auto tables = Tables::find(0, view);
  ASSERT_TRUE(tables.has_value());
  EXPECT_FALSE(tables->table("APIC"));
}

TEST_F(AcpiTables, NoRsdp) {
  memory.assign(0x100000, std::byte{0});
  EXPECT_EQ(Tables::find(0, view).error(), Errno::kNoEnt);
  EXPECT_EQ(Tables::find(0x5000, view).error(), Errno::kBadMsg);
}

TEST_F(AcpiTables, EveryTruncationOfTheMadtIsSurvived) {
  std::vector<std::byte> body = sample_madt_body();
  for (size_t size = 0; size <= body.size(); ++size) {
    std::vector<std::byte> table = make_table("APIC", {body.begin(), body.begin() + long(size)});
    auto model = parse_madt(Table(table));
    if (size >= 8) {
      EXPECT_TRUE(model.has_value());
    }
  }
}

TEST(MpTable, IsFoundAndSurvivesTruncation) {
  memory.assign(0x100000, std::byte{0});
  EXPECT_EQ(find_mp_table(view).error(), Errno::kNoEnt);
  std::vector<std::byte> table;
  put(table, "PCMP");
  table.resize(36);
  put(table, 0xfee00000, 4);
  table.resize(44);
  for (uint32_t id : {0u, 3u}) {
    size_t at = table.size();
    table.resize(at + 20);
    table[at + 1] = static_cast<std::byte>(id);
    table[at + 3] = std::byte{1};
  }
  put(table, 2, 1), put(table, 0, 1), put(table, 0x11, 1), put(table, 1, 1);
  put(table, 0xfec00000, 4);
  std::vector<std::byte> pointer;
  put(pointer, "_MP_");
  put(pointer, 0xe0000, 4);
  pointer.resize(16);
  fix_checksum(pointer, 10);
  place(0xf0100, pointer);
  size_t whole = table.size();
  for (size_t size = 44; size <= whole; ++size) {
    table[4] = static_cast<std::byte>(size);
    fix_checksum(std::span(table).first(size), 7);
    place(0xe0000, table);
    auto model = find_mp_table(view);
    ASSERT_TRUE(model.has_value());
    EXPECT_EQ(model->cpu_count, (size - 44) / 20 > 2 ? 2 : (size - 44) / 20);
  }
  auto model = find_mp_table(view);
  EXPECT_EQ(model->cpus[1], 3u);
  ASSERT_EQ(model->io_apic_count, 1u);
  EXPECT_EQ(model->io_apics[0].address, 0xfec00000u);
  table[20] ^= std::byte{1};
  place(0xe0000, table);
  EXPECT_EQ(find_mp_table(view).error(), Errno::kBadMsg);
}

TEST(AcpiNamespace, FindsSoftOff) {
  auto aml = bytes_of({0x70, 0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x0a, 0x05, 0x01, 0, 0});
  auto types = find_soft_off(aml);
  ASSERT_TRUE(types.has_value());
  EXPECT_EQ(types->a, 5);
  EXPECT_EQ(types->b, 1);
  for (size_t size = 0; size < 12; ++size)
    EXPECT_FALSE(find_soft_off(std::span(aml).first(size)).has_value()) << size;
}

/// As QEMU writes its microvm's virtio-mmio devices.
std::vector<std::byte> virtio_device() {
  std::vector<std::byte> crs;
  put(crs, 0x86, 1), put(crs, 9, 2), put(crs, 1, 1), put(crs, 0xfeb00e00, 4), put(crs, 0x200, 4);
  put(crs, 0x89, 1), put(crs, 6, 2), put(crs, 3, 1), put(crs, 1, 1), put(crs, 23, 4);
  put(crs, 0x79, 1), put(crs, 0, 1);
  std::vector<std::byte> body;
  put(body, "VR07");
  put(body, 0x08, 1), put(body, "_HID"), put(body, 0x0d, 1), put(body, "LNRO0005"), put(body, 0, 1);
  put(body, 0x08, 1), put(body, "_CRS"), put(body, 0x11, 1);
  put(body, crs.size() + 3, 1), put(body, 0x0a, 1), put(body, crs.size(), 1);
  body.insert(body.end(), crs.begin(), crs.end());
  std::vector<std::byte> device = bytes_of({0x5b, 0x82});
  size_t length = body.size() + 2;
  device.push_back(static_cast<std::byte>(0x40 | (length & 15)));
  device.push_back(static_cast<std::byte>(length >> 4));
  device.insert(device.end(), body.begin(), body.end());
  return device;
}

TEST(AcpiNamespace, FindsVirtioMmio) {
  std::vector<std::byte> aml = virtio_device();
  std::vector<std::byte> second = virtio_device();
  aml.insert(aml.end(), second.begin(), second.end());
  std::array<VirtioMmioDevice, 4> devices;
  ASSERT_EQ(find_virtio_mmio(aml, devices), 2u);
  EXPECT_EQ(devices[1].address, 0xfeb00e00u);
  EXPECT_EQ(devices[1].size, 0x200u);
  EXPECT_EQ(devices[1].gsi, 23u);
  EXPECT_FALSE(devices[1].level_triggered);
  EXPECT_EQ(find_virtio_mmio(aml, std::span(devices).first(1)), 1u);
}

TEST(AcpiNamespace, HostileBytesAreSurvived) {
  std::vector<std::byte> aml = virtio_device();
  std::array<VirtioMmioDevice, 4> devices;
  for (size_t size = 0; size < aml.size(); ++size)
    EXPECT_EQ(find_virtio_mmio(std::span(aml).first(size), devices), 0u) << size;
  std::minstd_rand random(1);
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::byte> damaged = aml;
    for (int i = 0; i < 4; ++i) damaged[random() % damaged.size()] = std::byte(random());
    find_virtio_mmio(damaged, devices);
    find_soft_off(damaged);
  }
}

}  // namespace
}  // namespace aril::acpi
