#include "image/code_split.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "base/code_fields.hpp"
#include "elf/elf_file.hpp"
#include "support/error.hpp"

namespace aril::tool {

namespace {

using namespace code_fields;

constexpr KindTable kKinds;
/// Shorter runs of zeroes are left to the compressor.
constexpr size_t kShortestZeroes = 4096;

/// Moves fields from code to streams.
class Splitter {
 public:
  Splitter(std::span<const std::byte> memory, const CodeRange& range)
      : memory_(memory), at_(range.offset) {
    const size_t end = range.offset + range.size;
    while (end - at_ >= kLongest) for_one_instruction(*this, kKinds);
    while (at_ < end) byte(kOpcodes);
  }

  uint8_t byte(uint32_t stream) {
    streams_[stream] += static_cast<char>(memory_[at_]);
    return static_cast<uint8_t>(memory_[at_++]);
  }
  void word(uint32_t stream) { take(stream, 0); }
  void target(uint32_t stream) { take(stream, static_cast<uint32_t>(at_ + sizeof(uint32_t))); }

  const std::array<std::string, kStreams>& streams() const { return streams_; }

 private:
  void take(uint32_t stream, uint32_t more) {
    uint32_t value = 0;
    std::memcpy(&value, memory_.data() + at_, sizeof value);
    value = std::byteswap(value + more);
    streams_[stream].append(reinterpret_cast<const char*>(&value), sizeof value);  // its bytes
    at_ += sizeof value;
  }

  std::span<const std::byte> memory_;
  size_t at_;
  std::array<std::string, kStreams> streams_;
};

/// Moves fields from the streams to the code, and finds out how far ahead these have to be.
class Joiner {
 public:
  Joiner(std::span<const std::byte> split, uint64_t size) : split_(split) {
    memory_.reserve(size);
    const auto header = read_at<Header>(split, 0);
    if (!header) fail();
    at_ = sizeof *header;
    for (const Region& region : header->regions) {
      if (uint64_t{region.raw} + region.code + region.zeroes > size - memory_.size()) fail();
      join(region);
    }
    if (memory_.size() != size) fail();
  }

  uint8_t byte(uint32_t stream) {
    const auto value = static_cast<uint8_t>(take(streams_[stream], 1).front());
    memory_ += static_cast<char>(value);
    return value;
  }
  void word(uint32_t stream) { put(stream, 0); }
  void target(uint32_t stream) {
    put(stream, static_cast<uint32_t>(memory_.size() + sizeof(uint32_t)));
  }

  std::string take_memory() { return std::move(memory_); }
  uint64_t gap() const { return gap_; }

 private:
  struct Source {
    size_t at = 0, end = 0;
  };

  [[noreturn]] static void fail() { throw Error("is damaged: its code cannot be put together"); }

  void join(const Region& region) {
    Source raw = {.at = at_, .end = split_.size()};
    copy(raw, region.raw);
    at_ = raw.at;
    for (size_t i = 0; i < kStreams; ++i) {
      if (region.streams[i] > split_.size() - at_) fail();
      streams_[i] = {.at = at_, .end = at_ + region.streams[i]};
      at_ = streams_[i].end;
    }
    const size_t end = memory_.size() + region.code;
    while (end - memory_.size() >= kLongest) {
      const std::array before = streams_;
      for_one_instruction(*this, kKinds);
      make_room(before);
    }
    copy(streams_[kOpcodes], end - memory_.size());
    memory_.append(region.zeroes, '\0');
    make_room(streams_);
    if (at_ < split_.size()) keep_behind(at_);
  }

  std::span<const std::byte> take(Source& from, size_t count) {
    if (count > from.end - from.at) fail();
    const auto bytes = split_.subspan(from.at, count);
    from.at += count;
    return bytes;
  }
  void put(uint32_t stream, uint32_t less) {
    uint32_t value = 0;
    std::memcpy(&value, take(streams_[stream], sizeof value).data(), sizeof value);
    value = std::byteswap(value) - less;
    memory_.append(reinterpret_cast<const char*>(&value), sizeof value);  // its bytes
  }
  void copy(Source& source, size_t count) {
    const auto bytes = take(source, count);
    memory_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());  // bytes are bytes
    keep_behind(source.at);  // it ends as far ahead as it begins
  }
  void keep_behind(size_t at) {
    if (memory_.size() > at) gap_ = std::max<uint64_t>(gap_, memory_.size() - at);
  }
  /// What was written up to now must end before anything that had not been read by then.
  void make_room(const std::array<Source, kStreams>& sources) {
    for (const Source& source : sources) {
      if (source.at < source.end) keep_behind(source.at);
    }
  }

  std::span<const std::byte> split_;
  size_t at_ = 0;  ///< all before are used, or streams of the region at hand
  std::array<Source, kStreams> streams_;
  std::string memory_;
  uint64_t gap_ = 0;
};

/// Writes down regions, as long as there is room without the long runs of zeroes.
class Regions {
 public:
  explicit Regions(std::span<const std::byte> memory) : memory_(memory) {}

  void add_code(const CodeRange& range) {
    add_raw(range.offset);
    const Splitter splitter(memory_, range);
    Region& region = header_.regions[used_++];
    region.code = static_cast<uint32_t>(range.size);
    for (size_t i = 0; i < kStreams; ++i) {
      region.streams[i] = static_cast<uint32_t>(splitter.streams()[i].size());
      bytes_ += splitter.streams()[i];
    }
    at_ = range.offset + range.size;
  }
  /// Up to `end`. Leaves a region for what follows.
  void add_raw(size_t end) {
    while (used_ + kReserved < kMostRegions) {
      const auto [zeroes, count] = next_zeroes(end);
      if (count == 0) break;
      append_raw(zeroes);
      header_.regions[used_++].zeroes = static_cast<uint32_t>(count);
      at_ = zeroes + count;
    }
    append_raw(end);
  }
  std::string finish() const {
    return std::string(reinterpret_cast<const char*>(&header_), sizeof header_) +  // its bytes
           bytes_;
  }

 private:
  /// For the code that is still to come, and what is behind it.
  static constexpr size_t kReserved = kMostCodeRanges + 1;

  void append_raw(size_t end) {
    // Bytes are bytes.
    bytes_.append(reinterpret_cast<const char*>(memory_.data() + at_), end - at_);
    header_.regions[used_].raw += static_cast<uint32_t>(end - at_);
    at_ = end;
  }
  std::pair<size_t, size_t> next_zeroes(size_t end) const {
    size_t begin = at_;
    for (size_t i = at_; i < end; ++i) {
      if (memory_[i] == std::byte{0}) continue;
      if (i - begin >= kShortestZeroes) return {begin, i - begin};
      begin = i + 1;
    }
    return {begin, end - begin >= kShortestZeroes ? end - begin : 0};
  }

  std::span<const std::byte> memory_;
  Header header_ = {};
  size_t at_ = 0, used_ = 0;
  std::string bytes_;
};

}  // namespace

SplitMemory split_code(std::span<const std::byte> memory, const std::vector<CodeRange>& code) {
  Regions regions(memory);
  for (const CodeRange& range : code) regions.add_code(range);
  regions.add_raw(memory.size());
  SplitMemory result = {.bytes = regions.finish()};
  result.gap = Joiner(std::as_bytes(std::span(result.bytes)), memory.size()).gap();
  return result;
}

std::string join_code(std::span<const std::byte> split, uint64_t size) {
  return Joiner(split, size).take_memory();
}

}  // namespace aril::tool
