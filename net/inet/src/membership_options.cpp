#include <algorithm>
#include <memory>
#include <new>

#include "base/endian.hpp"
#include "base/image_use.hpp"
#include "datagram_file.hpp"
#include "net/socket/option_names.hpp"

/// The options about groups and whom to hear in them [ip(7), RFC 3678], of either family.
namespace aril::net {

namespace {

/// struct ip_mreqn; struct ip_mreq is its beginning.
struct GroupRequest {
  Be<uint32_t> group;
  Be<uint32_t> local;
  int32_t interface = 0;
};

/// struct ip_mreq_source.
struct SourceRequest {
  Be<uint32_t> group, local, source;
};
static_assert(sizeof(SourceRequest) == 12);

/// struct ipv6_mreq.
struct Ipv6GroupRequest {
  Be<uint64_t> high, low;
  int32_t interface = 0;
};
static_assert(sizeof(Ipv6GroupRequest) == 20);

/// struct ip_msfilter, without its sources.
struct Ipv4Filter {
  Be<uint32_t> group, local;
  uint32_t mode = 0, source_count = 0;
};
static_assert(sizeof(Ipv4Filter) == 16);

/// struct group_req and, with the source behind, group_source_req.
using Address = std::array<std::byte, SocketAddress::kMaxLength>;
struct AnyGroupRequest {
  uint32_t interface = 0, padding = 0;
  Address group{};
};
static_assert(sizeof(AnyGroupRequest) == 136);

/// struct group_filter, without its sources.
struct AnyFilter {
  AnyGroupRequest group;
  uint32_t mode = 0, source_count = 0;
};
static_assert(sizeof(AnyFilter) == 144);

Result<IpAddress> address_in(std::span<const std::byte> bytes, Family family) {
  SocketAddress address;
  address.length = static_cast<uint32_t>(std::min(bytes.size(), address.bytes.size()));
  memcpy(address.bytes.data(), bytes.data(), address.length);
  IpAddress result = ARIL_TRY(endpoint_of(address, family)).address;
  if (result.is_v4() != (family == Family::kInet)) return fail(Errno::kInval);
  return result;
}

template <typename T>
Result<T> front_of(std::span<const std::byte> value) {
  T front;
  if (value.size() < sizeof(front)) return fail(Errno::kInval);
  memcpy(&front, value.data(), sizeof(front));
  return front;
}

Result<FilterMode> filter_mode(uint32_t mode) {
  if (mode > std::to_underlying(FilterMode::kInclude)) return fail(Errno::kInval);
  return static_cast<FilterMode>(mode);
}

std::optional<SourceChange> source_change(int name) {
  switch (name) {
    case IP_ADD_SOURCE_MEMBERSHIP:
    case MCAST_JOIN_SOURCE_GROUP:
      return SourceChange::kJoin;
    case IP_DROP_SOURCE_MEMBERSHIP:
    case MCAST_LEAVE_SOURCE_GROUP:
      return SourceChange::kLeave;
    case IP_BLOCK_SOURCE:
    case MCAST_BLOCK_SOURCE:
      return SourceChange::kBlock;
    case IP_UNBLOCK_SOURCE:
    case MCAST_UNBLOCK_SOURCE:
      return SourceChange::kUnblock;
    default:
      return std::nullopt;
  }
}

/// The interface that has `address`; 0 for none named. kNoDev.
Result<uint32_t> interface_with(IpLayer& ip, IpAddress address) {
  if (address.is_unspecified()) return 0;
  for (uint32_t i = 1; i <= ip.interface_count(); ++i)
    if (ip.interface(i)->has_address(address)) return i;
  return fail(Errno::kNoDev);
}

}  // namespace

ARIL_ONLY_FOR(group_options)
Result<void> DatagramFile::change_ipv4_membership(int name, std::span<const std::byte> value) {
  constexpr size_t kShortRequest = 8;
  if (value.size() < kShortRequest) return fail(Errno::kInval);
  GroupRequest request;
  memcpy(&request, value.data(), std::min(value.size(), sizeof(request)));
  Runtime::Guard guard(runtime_);
  IpAddress group = IpAddress::v4(request.group.get());
  auto interface = static_cast<uint32_t>(request.interface);
  if (interface == 0)
    interface = ARIL_TRY(interface_with(guard->ip(), IpAddress::v4(request.local.get())));
  return name == IP_ADD_MEMBERSHIP ? handle_->join_group(group, interface)
                                   : handle_->leave_group(group, interface);
}

ARIL_ONLY_FOR(group_options)
Result<void> DatagramFile::change_ipv6_membership(int name, std::span<const std::byte> value) {
  auto request = ARIL_TRY(front_of<Ipv6GroupRequest>(value));
  IpAddress group = IpAddress::v6(request.high, request.low);
  if (group.is_v4()) return fail(Errno::kInval);
  auto interface = static_cast<uint32_t>(request.interface);
  Runtime::Guard guard(runtime_);
  return name == IPV6_ADD_MEMBERSHIP ? handle_->join_group(group, interface)
                                     : handle_->leave_group(group, interface);
}

ARIL_ONLY_FOR(group_options)
Result<void> DatagramFile::change_membership(Family family, int name,
                                             std::span<const std::byte> value) {
  if (name == MCAST_JOIN_GROUP || name == MCAST_LEAVE_GROUP) {
    // A sockaddr of IPv4 may be all that there is behind the index.
    constexpr size_t kAddressAt = offsetof(AnyGroupRequest, group);
    if (value.size() < kAddressAt + 16) return fail(Errno::kInval);
    auto interface = ARIL_TRY(front_of<uint32_t>(value));
    IpAddress group = ARIL_TRY(address_in(value.subspan(kAddressAt), family));
    Runtime::Guard guard(runtime_);
    return name == MCAST_JOIN_GROUP ? handle_->join_group(group, interface)
                                    : handle_->leave_group(group, interface);
  }
  if constexpr (!kHasSourceFilters) return fail(Errno::kNoProtoOpt);
  if (name == IP_MSFILTER || name == MCAST_MSFILTER) return set_source_filter(family, name, value);
  SourceChange change = *source_change(name);
  if (name < MCAST_JOIN_GROUP) {
    auto request = ARIL_TRY(front_of<SourceRequest>(value));
    Runtime::Guard guard(runtime_);
    auto interface = ARIL_TRY(interface_with(guard->ip(), IpAddress::v4(request.local.get())));
    return handle_->change_source(change, IpAddress::v4(request.group.get()), interface,
                                  IpAddress::v4(request.source.get()));
  }
  auto request = ARIL_TRY(front_of<AnyGroupRequest>(value));
  if (value.size() < sizeof(request) + sizeof(Address)) return fail(Errno::kInval);
  auto group = address_in(request.group, family);
  auto source = address_in(value.subspan(sizeof(request)), family);
  if (!group || !source) return fail(Errno::kAddrNotAvail);
  Runtime::Guard guard(runtime_);
  return handle_->change_source(change, *group, request.interface, *source);
}

Result<void> DatagramFile::set_source_filter(Family family, int name,
                                             std::span<const std::byte> value) {
  SourceList sources;
  uint32_t interface = 0, mode = 0;
  IpAddress group;
  auto take = [&](uint32_t count, size_t header, size_t size) -> Result<void> {
    if (count > MulticastGroup::kMaxSources) return fail(Errno::kNoBufs);
    if (value.size() < header + count * size) return fail(Errno::kInval);
    for (uint32_t i = 0; i < count; ++i) {
      auto bytes = value.subspan(header + i * size, size);
      if (name == MCAST_MSFILTER) {
        auto source = address_in(bytes, family);
        if (!source) return fail(Errno::kAddrNotAvail);
        ARIL_TRY(sources.add(*source));
      } else {
        auto source = ARIL_TRY(front_of<Be<uint32_t>>(bytes));
        ARIL_TRY(sources.add(IpAddress::v4(source.get())));
      }
    }
    return {};
  };
  if (name == MCAST_MSFILTER) {
    auto filter = ARIL_TRY(front_of<AnyFilter>(value));
    auto named = address_in(filter.group.group, family);
    if (!named) return fail(Errno::kAddrNotAvail);
    group = *named;
    interface = filter.group.interface;
    mode = filter.mode;
    ARIL_TRY(take(filter.source_count, sizeof(filter), sizeof(Address)));
  } else {
    auto filter = ARIL_TRY(front_of<Ipv4Filter>(value));
    group = IpAddress::v4(filter.group.get());
    mode = filter.mode;
    ARIL_TRY(take(filter.source_count, sizeof(filter), sizeof(uint32_t)));
    Runtime::Guard guard(runtime_);
    interface = ARIL_TRY(interface_with(guard->ip(), IpAddress::v4(filter.local.get())));
  }
  FilterMode wanted = ARIL_TRY(filter_mode(mode));
  Runtime::Guard guard(runtime_);
  return handle_->set_source_filter(group, interface, {wanted, sources.get()});
}

// [Linux ip_mc_gsfget] All are counted, and as many given as there is room for.
Result<size_t> DatagramFile::get_option_in_place(int level, int name, std::span<std::byte> buffer) {
  if constexpr (!kHasSourceFilters) return fail(Errno::kNoProtoOpt);
  Family family = level == SOL_IPV6 ? Family::kInet6 : Family::kInet;
  bool is_known = (level == SOL_IP && (name == IP_MSFILTER || name == MCAST_MSFILTER)) ||
                  (level == SOL_IPV6 && this->family() == family && name == MCAST_MSFILTER);
  if (!is_known) return fail(Errno::kNoProtoOpt);
  auto answer = [&](auto header, size_t size, const SourceFilter& filter) {
    size_t count = std::min<size_t>(filter.sources.size(), header.source_count);
    count = std::min(count, (buffer.size() - sizeof(header)) / size);
    header.mode = std::to_underlying(filter.mode);
    header.source_count = static_cast<uint32_t>(filter.sources.size());
    memcpy(buffer.data(), &header, sizeof(header));
    for (size_t i = 0; i < count; ++i) {
      auto out = buffer.subspan(sizeof(header) + i * size, size);
      if (name == MCAST_MSFILTER) {
        SocketAddress address = address_of({.address = filter.sources[i]}, family);
        memcpy(out.data(), address.bytes.data(), size);
      } else {
        Be<uint32_t> address = filter.sources[i].v4_value();
        memcpy(out.data(), &address, sizeof(address));
      }
    }
    return sizeof(header) + count * size;
  };
  if (name == IP_MSFILTER) {
    auto header = ARIL_TRY(front_of<Ipv4Filter>(buffer));
    Runtime::Guard guard(runtime_);
    auto interface = ARIL_TRY(interface_with(guard->ip(), IpAddress::v4(header.local.get())));
    return answer(header, sizeof(uint32_t),
                  ARIL_TRY(handle_->source_filter(IpAddress::v4(header.group.get()), interface)));
  }
  auto header = ARIL_TRY(front_of<AnyFilter>(buffer));
  auto group = address_in(header.group.group, family);
  if (!group) return fail(Errno::kAddrNotAvail);
  Runtime::Guard guard(runtime_);
  return answer(header, sizeof(Address),
                ARIL_TRY(handle_->source_filter(*group, header.group.interface)));
}

}  // namespace aril::net
