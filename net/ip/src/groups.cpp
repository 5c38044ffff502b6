#include <algorithm>
#include <cstring>

#include "group_report.hpp"
#include "net/ip/ip_layer.hpp"
#include "net/wire/ndp.hpp"

/// Groups of either family: who is a member, and when routers are told [RFC 3376] 5, [RFC 3810] 6.
/// What goes over the wire is in igmp.cpp and mld.cpp.
namespace aril::net {
namespace {

constexpr IpAddress kAllSystems = IpAddress::v4(224, 0, 0, 1);

/// [RFC 3376] 5, [RFC 3810] 6: never all-nodes, nor what does not leave the interface.
bool is_reported(IpAddress group) {
  if (group.is_v4()) return group != kAllSystems;
  return group != kAllNodes && (group.high() >> 48 & 0xf) > 1;
}

// Of a group's sources, those that a record names.
bool is_in_state(const MulticastGroup& group, const MulticastGroup::Source& source) {
  return group.is_listed(source);
}
bool is_newly_heard(const MulticastGroup& group, const MulticastGroup::Source& source) {
  return source.reports_left != 0 && group.hears(source);
}
bool is_heard_no_more(const MulticastGroup& group, const MulticastGroup::Source& source) {
  return source.reports_left != 0 && !group.hears(source);
}

}  // namespace

Result<void> IpLayer::change_group(Interface& interface, IpAddress group, const SourceFilter* from,
                                   const SourceFilter* to) {
  std::span<MulticastGroup> all = std::span(interface.groups_).first(interface.group_count_);
  auto found = std::ranges::find(all, group, &MulticastGroup::address);
  if (found == all.end()) {
    if (to == nullptr || all.size() == Interface::kMaxGroups) return fail(Errno::kNoBufs);
    interface.groups_[interface.group_count_++] = MulticastGroup(group);
  }
  MulticastGroup& changed = *found;
  GroupReporting& reporting = interface.group_reporting_[group.is_v4()];
  auto result = reporting.is_plain(context_.now)
                    ? changed.change_plain(from, to, reporting.robustness)
                    : changed.change(from, to, reporting.robustness);
  if (interface.is_loopback() || !is_reported(group)) {
    changed.forget_changes();
  } else if (result && *result == MulticastGroup::Change::kOfMerge) {
    report_changes(interface, changed);
  }
  drop_left_groups(interface);
  if (!result) return fail(result.error());
  return {};
}

void IpLayer::drop_left_groups(Interface& interface) {
  for (size_t i = interface.group_count_; i-- > 0;) {
    if (!interface.groups_[i].is_over()) continue;
    interface.groups_[i] = std::move(interface.groups_[--interface.group_count_]);
    interface.groups_[interface.group_count_] = {};
  }
}

Instant IpLayer::random_instant_within(Duration time) {
  auto milliseconds = static_cast<uint64_t>(std::max<int64_t>(time.ns / 1'000'000, 1));
  return context_.now +
         Duration::milliseconds(static_cast<int64_t>(context_.random() % milliseconds));
}

// [RFC 3376] 5.1: at once, and again within a second, in case that one was lost.
void IpLayer::report_changes(Interface& interface, MulticastGroup& group) {
  bool is_v4 = group.address().is_v4();
  GroupReporting& reporting = interface.group_reporting_[is_v4];
  if (reporting.is_plain(context_.now)) {
    report_plainly(interface, group.address(), !group.hears_any());
    group.hears_any() ? group.changes_reported() : group.forget_changes();
  } else {
    GroupReport report(is_v4, report_limit(interface));
    if (group.has_new_mode()) {
      bool excludes = group.mode() == FilterMode::kExclude;
      write_record(interface, report,
                   excludes ? GroupRecordType::kToExclude : GroupRecordType::kToInclude, group,
                   is_in_state);
    } else if (kHasSourceFilters) {
      write_record(interface, report, GroupRecordType::kAllowNew, group, is_newly_heard);
      write_record(interface, report, GroupRecordType::kBlockOld, group, is_heard_no_more);
    }
    send_report(interface, report);
    group.changes_reported();
  }
  if (!group.has_changes()) return;
  reporting.changes_at =
      std::min(reporting.changes_at, random_instant_within(Duration::seconds(1)));
  arm_ipv6_timer(reporting.changes_at);
}

size_t IpLayer::report_limit(const Interface& interface) {
  constexpr size_t kHeaders = 60;  // of either family, with the router alert
  return interface.mtu() - kHeaders;
}

void IpLayer::write_record(Interface& interface, GroupReport& report, GroupRecordType type,
                           const MulticastGroup& group, SourceChoice is_meant) {
  auto write = [&] {
    if (!report.begin(type, group.address())) return false;
    if constexpr (kHasSourceFilters) {
      for (const MulticastGroup::Source& source : group.sources())
        if (is_meant(group, source) && !report.add(source.address)) return false;
    }
    return true;
  };
  if (!write()) {
    report.cancel();
    // In a packet of its own it has room, or says as much as fits [RFC 3376] 4.2.16.
    send_report(interface, report);
    (void)write();
  }
  report.end(type == GroupRecordType::kIsExclude || type == GroupRecordType::kToExclude ||
             type == GroupRecordType::kToInclude);
}

// [RFC 3376] 5.2
void IpLayer::answer_query(Interface& interface, GroupReport& report, MulticastGroup& group) {
  if (interface.group_reporting_[group.address().is_v4()].is_plain(context_.now)) {
    if (group.hears_any()) report_plainly(interface, group.address(), false);
  } else if (group.asked().empty()) {
    bool excludes = group.mode() == FilterMode::kExclude;
    write_record(interface, report,
                 excludes ? GroupRecordType::kIsExclude : GroupRecordType::kIsInclude, group,
                 is_in_state);
  } else if constexpr (kHasSourceFilters) {
    // Those that were asked about and are heard, whatever the mode.
    send_report(interface, report);
    if (!report.begin(GroupRecordType::kIsInclude, group.address())) return;
    for (IpAddress source : group.asked())
      if (group.hears(source) && !report.add(source)) break;
    report.end(false);
  }
  group.answered();
}

void IpLayer::run_group_timers(Interface& interface, Instant& next) {
  for (bool is_v4 : {false, true}) {
    GroupReporting& reporting = interface.group_reporting_[is_v4];
    std::span<MulticastGroup> all = std::span(interface.groups_).first(interface.group_count_);
    auto concerns = [&](const MulticastGroup& group) {
      return group.address().is_v4() == is_v4 && group.users() != 0 && is_reported(group.address());
    };
    {
      GroupReport report(is_v4, report_limit(interface));
      bool everything = reporting.general_at <= context_.now;
      if (everything) reporting.general_at = Instant::never();
      for (MulticastGroup& group : all) {
        if (!concerns(group)) continue;
        if (everything) group.answered();
        if (everything || (kHasSourceFilters && group.answer_at() <= context_.now))
          answer_query(interface, report, group);
        next = std::min(next, group.answer_at());
      }
      send_report(interface, report);
    }
    if (reporting.changes_at <= context_.now) {
      reporting.changes_at = Instant::never();
      for (MulticastGroup& group : all)
        if (group.address().is_v4() == is_v4 && group.has_changes())
          report_changes(interface, group);
    }
    next = std::min({next, reporting.general_at, reporting.changes_at});
  }
  drop_left_groups(interface);
}

void IpLayer::take_group_query(Interface& interface, const GroupQuery& query) {
  bool is_v4 = query.group.is_v4();
  GroupReporting& reporting = interface.group_reporting_[is_v4];
  if (query.robustness != 0) reporting.robustness = query.robustness;
  std::span<MulticastGroup> all = std::span(interface.groups_).first(interface.group_count_);
  if (query.is_plain) {
    // [RFC 3376] 7.2.1: what was to be said in the newer version is not said.
    if (!reporting.is_plain(context_.now)) {
      reporting.general_at = reporting.changes_at = Instant::never();
      for (MulticastGroup& group : all) {
        if (group.address().is_v4() != is_v4) continue;
        group.forget_changes();
        group.answered();
      }
      drop_left_groups(interface);
      all = all.first(interface.group_count_);
    }
    reporting.plain_until = context_.now + kOlderQuerierPresent;
  }
  bool is_plain = reporting.is_plain(context_.now);
  Instant at = random_instant_within(query.longest_wait);
  if (reporting.general_at <= at) return;
  bool is_general = query.group.is_unspecified();
  // Older versions' hosts answer for each group at its own time, so that others hear them.
  if (!kHasSourceFilters || (is_general && !is_plain)) {
    reporting.general_at = at;
    return arm_ipv6_timer(at);
  }
  for (MulticastGroup& group : all) {
    if (group.address().is_v4() != is_v4 || !is_reported(group.address())) continue;
    if (!is_general && group.address() != query.group) continue;
    if (is_general) at = random_instant_within(query.longest_wait);
    if (is_plain || is_general) {
      group.ask(at);
    } else {
      ask_about(group, query, at);
    }
    arm_ipv6_timer(group.answer_at());
  }
}

void IpLayer::ask_about(MulticastGroup& group, const GroupQuery& query, Instant at) {
  IpAddress sources[MulticastGroup::kMaxSources];
  size_t count = 0;
  size_t size = query.group.is_v4() ? sizeof(Be<uint32_t>) : sizeof(Ipv6Bytes);
  for (auto rest = query.sources; rest.size() >= size; rest = rest.subspan(size)) {
    if (count == std::size(sources)) return group.ask(at);
    if (query.group.is_v4()) {
      Be<uint32_t> source;
      std::memcpy(&source, rest.data(), sizeof source);
      sources[count++] = IpAddress::v4(source.get());
    } else {
      Ipv6Bytes source;
      std::memcpy(&source, rest.data(), sizeof source);
      sources[count++] = source.get();
    }
  }
  group.ask_about(std::span(sources).first(count), at);
}

// [RFC 2236] 3, [RFC 2710] 4: one answer is enough for those versions' routers.
void IpLayer::other_member_reported(Interface& interface, IpAddress group) {
  if (!kHasSourceFilters || !interface.group_reporting_[group.is_v4()].is_plain(context_.now))
    return;
  for (MulticastGroup& ours : std::span(interface.groups_).first(interface.group_count_))
    if (ours.address() == group) ours.answered();
}

void IpLayer::report_plainly(Interface& interface, IpAddress group, bool leaves) {
  // Tiny kernels speak MLDv2 whoever asks.
  group.is_v4() || !kHasSourceFilters ? report_by_igmp2(interface, group, leaves)
                                      : report_by_mld1(interface, group, leaves);
}

void IpLayer::send_report(Interface& interface, GroupReport& report) {
  if (report.empty()) return;
  report.is_v4() ? send_igmp3_report(interface, report) : send_mld2_report(interface, report);
  report.clear();
}

}  // namespace aril::net
