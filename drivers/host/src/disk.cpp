#include "drivers/host/disk.hpp"

#include <algorithm>

#include "arch/host_calls.hpp"
#include "arch/layout.hpp"

namespace aril::host {

Result<void> Disk::transfer(uint64_t sector, std::span<const Segment> segments,
                            Direction direction) {
  constexpr size_t kBatch = 16;
  uint64_t length = 0;
  for (const Segment& segment : segments) length += segment.length;
  if (sector > sector_count() || length > config_.size - sector * kSectorSize)
    return fail(Errno::kInval);
  uint64_t offset = sector * kSectorSize;
  size_t done = 0;  // of the first segment
  while (!segments.empty()) {
    std::array<arch::HostVector, kBatch> pieces;
    size_t count = std::min(segments.size(), kBatch);
    for (size_t i = 0; i < count; ++i) {
      size_t skip = i == 0 ? done : 0;
      pieces[i] = {arch::physical_to_virtual(segments[i].address) + skip,
                   segments[i].length - skip};
    }
    auto all = std::span(pieces).first(count);
    Result<size_t> moved = direction == Direction::kRead
                               ? arch::host_read_at(config_.descriptor, all, offset)
                               : arch::host_write_at(config_.descriptor, all, offset);
    if (!moved && moved.error() == Errno::kIntr) continue;
    if (!moved && moved.error() == Errno::kNoSpc) return fail(Errno::kNoSpc);
    if (!moved || *moved == 0) return fail(Errno::kIo);
    offset += *moved;
    done += *moved;
    while (!segments.empty() && done >= segments.front().length) {
      done -= segments.front().length;
      segments = segments.subspan(1);
    }
  }
  return {};
}

Result<void> Disk::read(uint64_t sector, std::span<const Segment> segments) {
  return transfer(sector, segments, Direction::kRead);
}

Result<void> Disk::write(uint64_t sector, std::span<const Segment> segments) {
  if (config_.read_only) return fail(Errno::kRoFs);
  return transfer(sector, segments, Direction::kWrite);
}

Result<void> Disk::flush() {
  if (config_.read_only) return {};
  if (!arch::host_synchronize(config_.descriptor)) return fail(Errno::kIo);
  return {};
}

}  // namespace aril::host
