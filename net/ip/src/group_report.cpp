#include "group_report.hpp"

#include <algorithm>
#include <cstring>

#include "net/wire/ipv6.hpp"

namespace aril::net {

void GroupReport::put(IpAddress address) {
  if (is_v4_) {
    Be<uint32_t> bytes = address.v4_value();
    std::memcpy(bytes_ + size_, &bytes, sizeof bytes);
  } else {
    Ipv6Bytes bytes = Ipv6Bytes::of(address);
    std::memcpy(bytes_ + size_, &bytes, sizeof bytes);
  }
  size_ += address_size();
}

bool GroupReport::begin(GroupRecordType type, IpAddress group) {
  size_t limit = std::min(limit_, kMaxSize);
  if (size_ + kRecordHeader + address_size() > limit) return false;
  record_at_ = size_;
  sources_ = 0;
  std::memset(bytes_ + size_, 0, kRecordHeader);
  bytes_[size_] = static_cast<std::byte>(type);
  size_ += kRecordHeader;
  put(group);
  return true;
}

bool GroupReport::add(IpAddress source) {
  if (size_ + address_size() > std::min(limit_, kMaxSize)) return false;
  put(source);
  ++sources_;
  return true;
}

void GroupReport::end(bool may_be_empty) {
  if (sources_ == 0 && !may_be_empty) return cancel();
  Be<uint16_t> count = sources_;
  std::memcpy(bytes_ + record_at_ + 2, &count, sizeof count);
  ++count_;
}

std::span<std::byte> GroupReport::finish(uint8_t type, size_t room) {
  std::memset(bytes_, 0, kHeader);
  bytes_[0] = std::byte{type};
  Be<uint16_t> count = count_;
  std::memcpy(bytes_ + kHeader - sizeof count, &count, sizeof count);
  return std::span(room_and_bytes_).subspan(kRoom - room, room + size_);
}

}  // namespace aril::net
