#include <cstring>

#include "net/ip/ip_layer.hpp"

namespace aril::net {

void IpLayer::receive_ipv6(Interface& interface, std::span<const std::byte> bytes,
                           ChecksumState checksum) {
  context_.counters.add(Counter::kIp6InReceives);
  auto view = Ipv6View::parse(bytes);
  if (!view) return refuse_ipv6(interface, view.error(), bytes);
  if (!accept_ipv6(interface, *view, checksum)) return;
  if (!view->is_fragment()) return deliver_ipv6(interface, *view, checksum);
  PacketPtr whole = reassembly_.add(FragmentView(*view));
  if (!whole) return;
  auto joined = Ipv6View::parse_quoted(whole->bytes());
  if (!joined) return refuse_ipv6(interface, joined.error(), whole->bytes());
  // A fragment header inside what fragments carried would send the same bytes round again.
  if (joined->is_fragment()) return context_.counters.drop(DropReason::kFragmentInvalid);
  deliver_ipv6(interface, *joined, interface.is_loopback() ? checksum : ChecksumState::kUnknown);
}

void IpLayer::refuse_ipv6(Interface& interface, const Ipv6Problem& problem,
                          std::span<const std::byte> bytes) {
  context_.counters.add(Counter::kIp6InHdrErrors);
  switch (problem.error) {
    case Ipv6Error::kExtension:
      context_.counters.drop(DropReason::kIpv6Extension);
      break;
    case Ipv6Error::kRoutingHeader:
      context_.counters.drop(DropReason::kIpv6RoutingHeader);
      break;
    case Ipv6Error::kOption:
      context_.counters.drop(DropReason::kIpv6Option);
      break;
    default:
      context_.counters.drop(DropReason::kBadIpv6Header);
      break;
  }
  if (problem.pointer == 0) return;
  Ipv6Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  // What was not for us is not ours to complain about.
  IpAddress destination = header.destination.get();
  if (interface.has_address(destination) ||
      (destination.is_multicast() && interface.is_member(destination)))
    send_icmpv6_error(interface, Icmpv6::kParameterProblem, problem.code, problem.pointer, bytes,
                      problem.answer_group);
}

bool IpLayer::accept_ipv6(Interface& interface, const Ipv6View& view, ChecksumState checksum) {
  IpAddress source = view.source(), destination = view.destination();
  auto refuse = [&](DropReason reason) {
    context_.counters.add(Counter::kIp6InAddrErrors);
    context_.counters.drop(reason);
    return false;
  };
  // [RFC 4291] 2.5.2, 2.5.3, 2.7: these never are a source, or never leave a machine.
  bool is_icmp = view.protocol() == static_cast<uint8_t>(IpProtocol::kIcmpv6);
  bool martian = source.is_multicast() || (source.is_unspecified() && !is_icmp) ||
                 destination.is_unspecified();
  if (!interface.is_loopback() && !is_looped_) {
    // Who has an address that we also want says so from that very address.
    bool is_claim = is_icmp && !view.payload().empty() &&
                    view.payload()[0] == std::byte{Icmpv6::kNeighbourAdvertisement};
    martian |= source.is_loopback() || destination.is_loopback() ||
               (interface.has_address(source) && !is_claim);
  }
  if (martian) return refuse(DropReason::kIpMartianSource);
  if (destination.is_multicast()) {
    context_.counters.add(Counter::kIp6InMcastPkts);
    // A group's members hear what routers ask about it, whoever they listen to.
    bool is_taken =
        is_icmp ? interface.is_member(destination) : interface.hears(destination, source);
    return is_taken || refuse(DropReason::kGroupNotJoined);
  }
  bool ours = interface.has_address(destination) ||
              (is_local(destination) && (interface.is_loopback() || !destination.needs_scope()));
  if (!ours && forwards_v6_) {
    forward_ipv6(interface, view, checksum);
    return false;
  }
  return ours || refuse(DropReason::kIpNotForUs);
}

void IpLayer::deliver_ipv6(Interface& interface, const Ipv6View& view, ChecksumState checksum) {
  IpPacketInfo info{.interface = &interface,
                    .source = view.source(),
                    .destination = view.destination(),
                    .time_to_live = view.hop_limit(),
                    .type_of_service = view.traffic_class(),
                    .checksum = checksum,
                    .is_broadcast = view.destination().is_multicast(),
                    .packet = view.packet()};
  context_.counters.add(Counter::kIp6InDelivers);
  bool taken = receive_raw(info, view.protocol(), view.payload());
  switch (static_cast<IpProtocol>(view.protocol())) {
    case IpProtocol::kTcp:
      return tcp_->receive(info, view.payload());
    case IpProtocol::kUdp:
      return udp_->receive(info, view.payload());
    case IpProtocol::kIcmpv6:
      return receive_icmpv6(info, view.payload());
    case IpProtocol::kIcmp:
    case IpProtocol::kIgmp:
      break;
  }
  if (taken || view.protocol() == Ipv6Extension::kNone) return;
  context_.counters.add(Counter::kIp6InUnknownProtos);
  context_.counters.drop(DropReason::kIpUnknownProtocol);
  send_icmpv6_error(interface, Icmpv6::kParameterProblem, Icmpv6::kUnrecognizedNextHeader,
                    view.next_header_offset(), view.packet());
}

}  // namespace aril::net
