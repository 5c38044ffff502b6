#include <algorithm>
#include <utility>

#include "net/datagram/datagram_socket.hpp"

/// A socket's groups, and whom it hears in each [RFC 3376] 3.1.
namespace aril::net {
namespace {

/// Linux's igmp_max_msf and mld_max_msf.
constexpr size_t max_sources(IpAddress group) {
  return group.is_v4() ? 10 : MulticastGroup::kMaxSources;
}

}  // namespace

bool DatagramSocket::wants_group(const IpPacketInfo& info) const {
  if (!info.destination.is_multicast()) return true;
  for (size_t i = 0; i < groups_.size(); ++i) {
    const Group& group = groups_[i];
    if (group.address == info.destination && group.interface == info.interface->index())
      return !kHasSourceFilters || group.filter().hears(info.source);
  }
  // [ip(7)] IP_MULTICAST_ALL: also groups that any socket of the machine joined.
  return info.destination.is_v4() ? options_.multicast_all : options_.ipv6_multicast_all;
}

Result<Interface*> DatagramSocket::link_for(IpAddress group, uint32_t interface) {
  if (!group.is_multicast()) return fail(Errno::kInval);
  Interface* link = interface != 0 ? ip_.interface(interface) : ip_.group_interface(group, 0);
  if (link == nullptr) return fail(Errno::kNoDev);
  return link;
}

DatagramSocket::Group* DatagramSocket::find_group(IpAddress group, const Interface& link) {
  for (size_t i = 0; i < groups_.size(); ++i)
    if (groups_[i].address == group && groups_[i].interface == link.index()) return &groups_[i];
  return nullptr;
}

Result<void> DatagramSocket::add_group(Interface& link, Group group) {
  if (groups_.size() == kMaxGroups) return fail(Errno::kNoBufs);
  ARIL_TRY(groups_.push_back(std::move(group)));
  auto joined = ip_.join_group(link, groups_.back().address, groups_.back().filter());
  if (!joined) groups_.pop_back();
  return joined;
}

Result<void> DatagramSocket::join_group(IpAddress group, uint32_t interface) {
  Interface* link = ARIL_TRY(link_for(group, interface));
  if (find_group(group, *link) != nullptr) return fail(Errno::kAddrInUse);
  return add_group(*link, {.address = group, .interface = link->index()});
}

void DatagramSocket::leave_link(const Group& group) {
  ip_.leave_group(*ip_.interface(group.interface), group.address, group.filter());
}

void DatagramSocket::remove_group(Group& group) {
  leave_link(group);
  if (&group != &groups_.back()) group = std::move(groups_.back());
  groups_.pop_back();
}

Result<void> DatagramSocket::leave_group(IpAddress group, uint32_t interface) {
  for (size_t i = 0; i < groups_.size(); ++i) {
    bool is_it =
        groups_[i].address == group && (interface == 0 || groups_[i].interface == interface);
    if (!is_it) continue;
    remove_group(groups_[i]);
    return {};
  }
  return fail(Errno::kAddrNotAvail);
}

Result<void> DatagramSocket::change_filter(Group& group, FilterMode mode, SourceList sources) {
  SourceFilter from = group.filter(), to{mode, sources.get()};
  ARIL_TRY(ip_.change_group(*ip_.interface(group.interface), group.address, &from, &to));
  group.mode = mode;
  group.sources = std::move(sources);
  return {};
}

// [Linux ip_mc_source] For the order of the errors.
Result<void> DatagramSocket::change_source(SourceChange change, IpAddress group, uint32_t interface,
                                           IpAddress source) {
  Interface* link = ARIL_TRY(link_for(group, interface));
  bool adds = change == SourceChange::kJoin || change == SourceChange::kBlock;
  FilterMode mode = change == SourceChange::kJoin || change == SourceChange::kLeave
                        ? FilterMode::kInclude
                        : FilterMode::kExclude;
  Group* joined = find_group(group, *link);
  if (joined == nullptr) {
    if (change != SourceChange::kJoin) return fail(Errno::kInval);
    Group first{.address = group, .interface = link->index(), .mode = mode};
    ARIL_TRY(first.sources.add(source));
    return add_group(*link, std::move(first));
  }
  if (joined->mode != mode && !joined->sources.empty()) return fail(Errno::kInval);
  if (joined->sources.contains(source) == adds) return fail(Errno::kAddrNotAvail);
  SourceList sources = ARIL_TRY(SourceList::copy_of(joined->sources.get()));
  if (!adds) {
    sources.remove(source);
    if (mode == FilterMode::kInclude && sources.empty()) {
      remove_group(*joined);
      return {};
    }
  } else {
    if (sources.get().size() == max_sources(group)) return fail(Errno::kNoBufs);
    ARIL_TRY(sources.add(source));
  }
  return change_filter(*joined, mode, std::move(sources));
}

Result<void> DatagramSocket::set_source_filter(IpAddress group, uint32_t interface,
                                               const SourceFilter& filter) {
  Interface* link = ARIL_TRY(link_for(group, interface));
  if (filter.sources.size() > max_sources(group)) return fail(Errno::kNoBufs);
  if (filter.mode == FilterMode::kInclude && filter.sources.empty())
    return leave_group(group, link->index());
  Group* joined = find_group(group, *link);
  if (joined == nullptr) return fail(Errno::kInval);
  return change_filter(*joined, filter.mode, ARIL_TRY(SourceList::copy_of(filter.sources)));
}

Result<SourceFilter> DatagramSocket::source_filter(IpAddress group, uint32_t interface) {
  Interface* link = ARIL_TRY(link_for(group, interface));
  const Group* joined = find_group(group, *link);
  if (joined == nullptr) return fail(Errno::kAddrNotAvail);
  return joined->filter();
}

}  // namespace aril::net
