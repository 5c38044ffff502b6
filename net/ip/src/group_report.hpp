#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/endian.hpp"
#include "base/time.hpp"
#include "net/wire/address.hpp"

namespace aril::net {

inline constexpr Duration kOlderQuerierPresent = Duration::seconds(260);  // [RFC 3376] 8.12

/// What a querier asks for, in either family [RFC 3376] 4.1, [RFC 3810] 5.1.
struct GroupQuery {
  IpAddress group;  ///< unspecified: all
  Duration longest_wait = {};
  bool is_plain = false;                    ///< of a version that knows no sources
  uint8_t robustness = 0;                   ///< 0: not said
  std::span<const std::byte> sources = {};  ///< as on the wire
};

/// What a record says of a group [RFC 3376] 4.2.12, [RFC 3810] 5.2.12.
enum class GroupRecordType : uint8_t {
  kIsInclude = 1,
  kIsExclude = 2,
  kToInclude = 3,
  kToExclude = 4,
  kAllowNew = 5,
  kBlockOld = 6,
};

/// A report of IGMPv3 or MLDv2 while it is written: both are a header of eight bytes, whose last
/// two count the records, and records that differ in the addresses' size only.
class GroupReport {
 public:
  static constexpr size_t kMaxSize = 1200;  ///< with all headers a packet that every link carries
  static constexpr size_t kRoom = 24;       ///< in front, for a network header

  GroupReport(bool is_v4, size_t limit) : is_v4_(is_v4), limit_(limit) {}

  [[nodiscard]] bool is_v4() const { return is_v4_; }

  /// Starts a record. False: there is no room for it any more.
  bool begin(GroupRecordType type, IpAddress group);
  bool add(IpAddress source);
  /// Ends it; one without sources stays when these are not what it is about.
  void end(bool may_be_empty);
  /// Takes back the record that has been begun.
  void cancel() { size_ = record_at_; }

  [[nodiscard]] bool empty() const { return count_ == 0; }
  /// The message, its checksum to be filled in, behind `room` free bytes (at most kRoom).
  std::span<std::byte> finish(uint8_t type, size_t room);
  void clear() {
    size_ = kHeader;
    count_ = 0;
  }

 private:
  static constexpr size_t kHeader = 8, kRecordHeader = 4;
  [[nodiscard]] size_t address_size() const { return is_v4_ ? 4 : 16; }
  void put(IpAddress address);

  std::byte room_and_bytes_[kRoom + kMaxSize];
  std::byte* const bytes_ = room_and_bytes_ + kRoom;
  size_t size_ = kHeader, record_at_ = kHeader;
  const bool is_v4_;
  const size_t limit_;
  uint16_t count_ = 0, sources_ = 0;
};

}  // namespace aril::net
