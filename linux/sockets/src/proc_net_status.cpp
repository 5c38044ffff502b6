#include <algorithm>
#include <bit>
#include <string>

#include "family_table.hpp"
#include "fs/procfs/procfs.hpp"
#include "linux/proc/proc_files.hpp"

/// /proc/net/{snmp,netstat,snmp6,dev,route,ipv6_route,arp,igmp,igmp6,mcfilter,mcfilter6,raw,raw6,packet,sockstat,
/// sockstat6} and
/// aril_drops, and the tunables of the network [proc(5), ip(7), tcp(7)].
namespace aril::linux_abi {

namespace {

using net::Counter;
using net::Counters;
using synthetic::append_format;

/// What Linux shows of a group, in its order. What we do not count is 0 there.
struct CounterGroup {
  std::string_view name, shown;
};
constexpr CounterGroup kSnmp[] = {
    {"Ip",
     "Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos "
     "InDiscards InDelivers OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs "
     "ReasmFails FragOKs FragFails FragCreates"},
    {"Icmp",
     "InMsgs InErrors InCsumErrors InDestUnreachs InTimeExcds InParmProbs InSrcQuenchs InRedirects "
     "InEchos InEchoReps InTimestamps InTimestampReps InAddrMasks InAddrMaskReps OutMsgs OutErrors "
     "OutRateLimitGlobal OutRateLimitHost OutDestUnreachs OutTimeExcds OutParmProbs OutSrcQuenchs "
     "OutRedirects OutEchos OutEchoReps OutTimestamps OutTimestampReps OutAddrMasks "
     "OutAddrMaskReps"},
    {"Tcp",
     "RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets "
     "CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors"},
    {"Udp",
     "InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors "
     "IgnoredMulti MemErrors"},
};

bool is_named(Counter counter, std::string_view group, std::string_view name) {
  Counters::Name own = Counters::name(counter);
  return own.group == group && own.name == name;
}

long long constant_of(net::Stack& stack, std::string_view name) {
  if (name == "Forwarding") return stack.ip().forwards_v4() ? 1 : 2;
  if (name == "DefaultTTL") return 64;
  if (name == "RtoAlgorithm") return 1;
  if (name == "RtoMin") return 200;
  if (name == "RtoMax") return 120000;
  return name == "MaxConn" ? -1 : 0;
}

long long value_of(net::Stack& stack, std::string_view group, std::string_view name) {
  for (size_t i = 0; i < Counters::kCount; ++i)
    if (auto counter = static_cast<Counter>(i); is_named(counter, group, name))
      return static_cast<long long>(stack.counters().get(counter));
  return constant_of(stack, name);
}

void append_word(std::string& out, std::string_view word) {
  out += ' ';
  out += word;
}

/// A line of names and a line of values, as Linux's programs parse them.
void append_group(std::string& out, net::Stack& stack, const CounterGroup& group) {
  std::string values(group.name);
  values += ':';
  out += values;
  for (std::string_view rest = group.shown; !rest.empty();) {
    std::string_view name = rest.substr(0, rest.find(' '));
    rest.remove_prefix(std::min(name.size() + 1, rest.size()));
    append_word(out, name);
    append_format(values, " %lld", value_of(stack, group.name, name));
  }
  out += '\n';
  out += values;
  out += '\n';
}

Result<void> list_snmp(std::string& out) {
  if (inet_runtime() == nullptr) return {};
  net::Runtime::Guard guard(*inet_runtime());
  for (const CounterGroup& group : kSnmp) append_group(out, guard.stack(), group);
  return {};
}

Result<void> list_netstat(std::string& out) {
  if (inet_runtime() == nullptr) return {};
  net::Runtime::Guard guard(*inet_runtime());
  std::string values = "TcpExt:";
  out += values;
  for (size_t i = 0; i < Counters::kCount; ++i) {
    auto counter = static_cast<Counter>(i);
    if (Counters::name(counter).group != "TcpExt") continue;
    append_word(out, Counters::name(counter).name);
    append_format(values, " %llu", static_cast<unsigned long long>(guard->counters().get(counter)));
  }
  uint64_t received = 0, sent = 0, groups = 0;
  for (uint32_t i = 1; i <= guard->ip().interface_count(); ++i) {
    const auto& statistics = guard->ip().interface(i)->statistics();
    received += statistics.received_bytes;
    sent += statistics.sent_bytes;
    groups += statistics.received_multicast;
  }
  append_format(out, "\n%s\nIpExt: InMcastPkts InOctets OutOctets\nIpExt: %llu %llu %llu\n",
                values.c_str(), static_cast<unsigned long long>(groups),
                static_cast<unsigned long long>(received), static_cast<unsigned long long>(sent));
  return {};
}

Result<void> list_snmp6(std::string& out) {
  if (inet_runtime() == nullptr) return {};
  net::Runtime::Guard guard(*inet_runtime());
  for (size_t i = 0; i < Counters::kCount; ++i) {
    auto counter = static_cast<Counter>(i);
    Counters::Name name = Counters::name(counter);
    if (name.group != "Ip6" && name.group != "Icmp6") continue;
    std::string whole(name.group);
    whole += name.name;
    append_format(out, "%-32s\t%llu\n", whole.c_str(),
                  static_cast<unsigned long long>(guard->counters().get(counter)));
  }
  return {};
}

/// Not Linux's: why packets were thrown away, a line for each reason.
Result<void> list_drops(std::string& out) {
  if (inet_runtime() == nullptr) return {};
  net::Runtime::Guard guard(*inet_runtime());
  for (size_t i = 0; i < Counters::kDropCount; ++i) {
    auto reason = static_cast<net::DropReason>(i);
    out += Counters::name(reason);
    append_format(out, " %llu\n", static_cast<unsigned long long>(guard->counters().get(reason)));
  }
  return {};
}

/// A name in a column, from the right.
void append_name(std::string& out, std::string_view name, size_t width) {
  out.append(width - std::min(width, name.size()), ' ');
  out += name;
}

Result<void> list_devices(std::string& out) {
  out +=
      "Inter-|   Receive                                                |  Transmit\n"
      " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs "
      "drop "
      "fifo colls carrier compressed\n";
  if (inet_runtime() == nullptr) return {};
  net::Runtime::Guard guard(*inet_runtime());
  for (uint32_t i = 1; i <= guard->ip().interface_count(); ++i) {
    const net::Interface& link = *guard->ip().interface(i);
    const auto& count = link.statistics();
    append_name(out, link.name(), 6);
    append_format(out, ": %7llu %7llu    0 %4llu    0     0          0 %9llu",
                  static_cast<unsigned long long>(count.received_bytes),
                  static_cast<unsigned long long>(count.received_frames),
                  static_cast<unsigned long long>(count.receive_dropped),
                  static_cast<unsigned long long>(count.received_multicast));
    append_format(out, " %8llu %7llu    0 %4llu    0     0       0          0\n",
                  static_cast<unsigned long long>(count.sent_bytes),
                  static_cast<unsigned long long>(count.sent_frames),
                  static_cast<unsigned long long>(count.send_dropped));
  }
  return {};
}

constexpr unsigned kRouteUp = 1, kRouteGateway = 2, kRouteHost = 4;

unsigned flags_of(const net::RouteEntry& route) {
  unsigned flags = kRouteUp;
  if (!route.gateway.is_unspecified()) flags |= kRouteGateway;
  if (route.prefix_length == net::max_prefix(route.network)) flags |= kRouteHost;
  return flags;
}

Result<void> list_routes(std::string& out) {
  out += "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
  if (inet_runtime() == nullptr) return {};
  net::Runtime::Guard guard(*inet_runtime());
  for (const net::RouteEntry& route : guard->ip().routes()) {
    // Linux keeps loopback's and each address's own in another table.
    if (!route.network.is_v4() || route.interface->is_loopback()) continue;
    uint32_t mask = route.prefix_length == 0 ? 0 : ~uint32_t{0} << (32 - route.prefix_length);
    out += route.interface->name();
    append_format(out, "\t%08X\t%08X\t%04X\t0\t0\t0\t%08X\t0\t0\t0\n",
                  std::byteswap(route.network.v4_value()), std::byteswap(route.gateway.v4_value()),
                  flags_of(route), std::byteswap(mask));
  }
  return {};
}

Result<void> list_ipv6_routes(std::string& out) {
  if (inet_runtime() == nullptr) return {};
  net::Runtime::Guard guard(*inet_runtime());
  for (const net::RouteEntry& route : guard->ip().routes()) {
    if (route.network.is_v4()) continue;
    append_format(out, "%016lx%016lx %02x %032x %02x %016lx%016lx %08x %08x %08x %08x ",
                  route.network.high(), route.network.low(), unsigned{route.prefix_length}, 0u, 0u,
                  route.gateway.high(), route.gateway.low(), 1024u, 1u, 0u, flags_of(route));
    append_name(out, route.interface->name(), 8);
    out += '\n';
  }
  return {};
}

Result<void> list_neighbours(std::string& out) {
  out += "IP address       HW type     Flags       HW address            Mask     Device\n";
  if (inet_runtime() == nullptr) return {};
  net::Runtime::Guard guard(*inet_runtime());
  guard->ip().neighbours().for_each([&](const net::Neighbours::View& view) {
    if (!view.address.is_v4()) return;
    uint32_t value = view.address.v4_value();
    std::string address;
    append_format(address, "%u.%u.%u.%u", value >> 24, value >> 16 & 0xff, value >> 8 & 0xff,
                  value & 0xff);
    const auto& mac = view.hardware;
    append_format(out, "%-16s 0x1         0x%x         %02x:%02x:%02x:%02x:%02x:%02x     *        ",
                  address.c_str(), view.is_complete ? 2u : 0u, mac[0], mac[1], mac[2], mac[3],
                  mac[4], mac[5]);
    out += view.interface->name();
    out += '\n';
  });
  return {};
}

Result<void> list_ipv4_groups(std::string& out) {
  out += "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n";
  if (inet_runtime() == nullptr) return {};
  net::Runtime::Guard guard(*inet_runtime());
  for (uint32_t i = 1; i <= guard->ip().interface_count(); ++i) {
    const net::Interface& link = *guard->ip().interface(i);
    auto is_v4 = [](const net::MulticastGroup& group) {
      return group.users() != 0 && group.address().is_v4();
    };
    append_format(out, "%u\t%-10s: %5lu %7s\n", i, std::string(link.name()).c_str(),
                  static_cast<unsigned long>(std::ranges::count_if(link.groups(), is_v4) + 1),
                  "V3");
    for (const auto& group : link.groups())
      if (is_v4(group))
        append_format(out, "\t\t\t\t%08X %5u 0:00000000\t\t0\n",
                      std::byteswap(group.address().v4_value()), group.users());
    append_format(out, "\t\t\t\t%08X %5u 0:00000000\t\t0\n", 0x010000e0u, 1u);
  }
  return {};
}

Result<void> list_ipv6_groups(std::string& out) {
  if (inet_runtime() == nullptr) return {};
  net::Runtime::Guard guard(*inet_runtime());
  for (uint32_t i = 1; i <= guard->ip().interface_count(); ++i) {
    const net::Interface& link = *guard->ip().interface(i);
    for (const auto& group : link.groups())
      if (group.users() != 0 && !group.address().is_v4())
        append_format(out, "%-4u %-15s %016lx%016lx %5u %08X %u\n", i,
                      std::string(link.name()).c_str(), group.address().high(),
                      group.address().low(), group.users(), 4u, 0u);
  }
  return {};
}

/// Whom the groups' members named, and how many of them to hear it, or not to.
void append_source_filters(std::string& out, bool is_v4) {
  if (!net::kHasSourceFilters || inet_runtime() == nullptr) return;
  net::Runtime::Guard guard(*inet_runtime());
  auto append = [&](net::IpAddress address) {
    if (is_v4) {
      append_format(out, " 0x%08x", address.v4_value());
    } else {
      append_format(out, " %016lx%016lx", address.high(), address.low());
    }
  };
  for (uint32_t i = 1; i <= guard->ip().interface_count(); ++i) {
    const net::Interface& link = *guard->ip().interface(i);
    for (const net::MulticastGroup& group : link.groups()) {
      if (group.address().is_v4() != is_v4) continue;
      for (const auto& source : group.sources()) {
        append_format(out, "%3u %6s", i, std::string(link.name()).c_str());
        append(group.address());
        append(source.address);
        append_format(out, " %6u %6u\n", source.includers, source.excluders);
      }
    }
  }
}

Result<void> list_ipv4_source_filters(std::string& out) {
  out += "Idx Device        MCA        SRC    INC    EXC\n";
  append_source_filters(out, true);
  return {};
}

Result<void> list_ipv6_source_filters(std::string& out) {
  append_format(out, "Idx %6s %32s %32s %6s %6s\n", "Device", "Multicast Address", "Source Address",
                "INC", "EXC");
  append_source_filters(out, false);
  return {};
}

Result<void> list_packet_sockets(std::string& out) {
  out += "sk       RefCnt Type Proto  Iface R Rmem   User   Inode\n";
  if (inet_runtime() == nullptr) return {};
  net::Runtime::Guard guard(*inet_runtime());
  guard->packets().for_each_socket([&](net::PacketSocket& socket) {
    unsigned type = socket.kind() == net::PacketKind::kRaw ? 3 : 2;
    append_format(out, "%08x 3      %-4u %04x   %-5u 1 0      0      0\n", 0u, type,
                  unsigned{socket.protocol()}, socket.interface());
  });
  return {};
}

/// Of each kind, by the family of its addresses.
struct SocketCounts {
  unsigned tcp[2] = {}, udp[2] = {}, raw[2] = {}, orphans = 0;  // IPv4's first

  static SocketCounts of(net::Stack& stack) {
    SocketCounts counts;
    stack.tcp().for_each(
        [](void* context, const net::TcpView& view) {
          auto& all = *static_cast<SocketCounts*>(context);
          if (view.state == net::TcpState::kTimeWait || view.options == nullptr) return;
          ++all.tcp[view.local.address.is_v4() ? 0 : 1];
          all.orphans += view.connection != nullptr && view.is_orphan;
        },
        &counts);
    auto family = [](const auto& socket) { return socket.local().address.is_v4() ? 0 : 1; };
    stack.udp().for_each_socket([&](net::UdpSocket& socket) { ++counts.udp[family(socket)]; });
    stack.raw().for_each_socket([&](net::RawSocket& socket) { ++counts.raw[family(socket)]; });
    return counts;
  }
  [[nodiscard]] unsigned total() const {
    return tcp[0] + tcp[1] + udp[0] + udp[1] + raw[0] + raw[1];
  }
};

Result<void> list_socket_counts(std::string& out) {
  if (inet_runtime() == nullptr) return {};
  net::Runtime::Guard guard(*inet_runtime());
  SocketCounts counts = SocketCounts::of(guard.stack());
  size_t pages = guard->ip().context().memory.used() / 4096;
  append_format(out,
                "sockets: used %u\nTCP: inuse %u orphan %u tw %zu alloc %u mem %zu\n"
                "UDP: inuse %u mem 0\nUDPLITE: inuse 0\nRAW: inuse %u\nFRAG: inuse 0 memory 0\n",
                counts.total(), counts.tcp[0], counts.orphans, guard->tcp().time_wait_count(),
                counts.tcp[0] + counts.tcp[1], pages, counts.udp[0], counts.raw[0]);
  return {};
}

Result<void> list_ipv6_socket_counts(std::string& out) {
  if (inet_runtime() == nullptr) return {};
  net::Runtime::Guard guard(*inet_runtime());
  SocketCounts counts = SocketCounts::of(guard.stack());
  append_format(out,
                "TCP6: inuse %u\nUDP6: inuse %u\nUDPLITE6: inuse 0\nRAW6: inuse %u\n"
                "FRAG6: inuse 0 memory 0\n",
                counts.tcp[1], counts.udp[1], counts.raw[1]);
  return {};
}

/// A tunable of the stack: `read(stack)` gives its number, `write(stack, number)` sets it.
template <typename Read, typename Write>
void add_tunable(procfs::Procfs& procfs, std::string_view name, int largest, Read read,
                 Write write) {
  procfs.add_file(
      name,
      [read](std::string& out) -> Result<void> {
        if (inet_runtime() == nullptr) return {};
        net::Runtime::Guard guard(*inet_runtime());
        append_format(out, "%d\n", static_cast<int>(read(guard.stack())));
        return {};
      },
      [write, largest](std::string_view text) -> Result<void> {
        size_t digits = text.find_first_not_of("0123456789");
        std::string_view number = text.substr(0, digits);
        if (number.empty() || number.size() > 1 || number[0] - '0' > largest)
          return fail(Errno::kInval);
        if (inet_runtime() == nullptr) return {};
        net::Runtime::Guard guard(*inet_runtime());
        write(guard.stack(), number[0] - '0');
        return {};
      });
}

void add_files(procfs::Procfs& procfs) {
  procfs.add_file("net/snmp", list_snmp);
  procfs.add_file("net/netstat", list_netstat);
  procfs.add_file("net/snmp6", list_snmp6);
  procfs.add_file("net/aril_drops", list_drops);
  procfs.add_file("net/dev", list_devices);
  procfs.add_file("net/route", list_routes);
  procfs.add_file("net/ipv6_route", list_ipv6_routes);
  procfs.add_file("net/arp", list_neighbours);
  procfs.add_file("net/igmp", list_ipv4_groups);
  procfs.add_file("net/igmp6", list_ipv6_groups);
  procfs.add_file("net/mcfilter", list_ipv4_source_filters);
  procfs.add_file("net/mcfilter6", list_ipv6_source_filters);
  procfs.add_file("net/packet", list_packet_sockets);
  procfs.add_file("net/sockstat", list_socket_counts);
  procfs.add_file("net/sockstat6", list_ipv6_socket_counts);
  add_tunable(
      procfs, "sys/net/ipv4/tcp_ecn", 2, [](net::Stack& stack) { return stack.tcp().ecn(); },
      [](net::Stack& stack, int value) { stack.tcp().set_ecn(static_cast<net::Ecn>(value)); });
  add_tunable(
      procfs, "sys/net/ipv4/ip_forward", 1,
      [](net::Stack& stack) { return stack.ip().forwards_v4(); },
      [](net::Stack& stack, int value) {
        stack.ip().set_forwarding(value != 0, stack.ip().forwards_v6());
      });
  add_tunable(
      procfs, "sys/net/ipv6/conf/all/forwarding", 1,
      [](net::Stack& stack) { return stack.ip().forwards_v6(); },
      [](net::Stack& stack, int value) {
        stack.ip().set_forwarding(stack.ip().forwards_v4(), value != 0);
      });
  add_tunable(
      procfs, "sys/net/ipv4/conf/all/accept_redirects", 1,
      [](net::Stack& stack) { return stack.ip().accepts_redirects_v4(); },
      [](net::Stack& stack, int value) {
        stack.ip().set_accept_redirects(value != 0, stack.ip().accepts_redirects_v6());
      });
  add_tunable(
      procfs, "sys/net/ipv6/conf/all/accept_redirects", 1,
      [](net::Stack& stack) { return stack.ip().accepts_redirects_v6(); },
      [](net::Stack& stack, int value) {
        stack.ip().set_accept_redirects(stack.ip().accepts_redirects_v4(), value != 0);
      });
}
ARIL_PROC_FILES(add_files);

}  // namespace
}  // namespace aril::linux_abi
