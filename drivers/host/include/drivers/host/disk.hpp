#pragma once
#include <array>

#include "kernel/io/devices.hpp"

namespace aril::host {

/// A disk image: a file or block device that the tender has opened. Calls are made at once; the
/// calling virtual CPU waits for the host.
class Disk final : public BlockDevice {
 public:
  struct Config {
    int descriptor;
    bool read_only;
    uint64_t size;  ///< bytes
    char letter;    ///< 'a': vda
  };
  explicit Disk(const Config& config) : config_(config) { name_[2] = config.letter; }

  [[nodiscard]] uint64_t sector_count() const override { return config_.size / kSectorSize; }
  [[nodiscard]] bool is_read_only() const override { return config_.read_only; }
  [[nodiscard]] std::string_view name() const override { return {name_.data(), name_.size()}; }
  Result<void> read(uint64_t sector, std::span<const Segment> segments) override;
  Result<void> write(uint64_t sector, std::span<const Segment> segments) override;
  Result<void> flush() override;

 private:
  enum class Direction : uint8_t { kRead, kWrite };
  Result<void> transfer(uint64_t sector, std::span<const Segment> segments, Direction direction);

  const Config config_;
  std::array<char, 3> name_{'v', 'd', 'a'};
};

}  // namespace aril::host
