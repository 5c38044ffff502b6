#include <algorithm>
#include <cstring>

#include "net/ip/ip_layer.hpp"

namespace aril::net {
namespace {

// [RFC 791] 3.1: loose and strict source routes let a stranger choose our replies' path.
bool has_source_route(std::span<const std::byte> options) {
  constexpr uint8_t kEnd = 0, kNop = 1, kLoose = 131, kStrict = 137;
  while (!options.empty()) {
    auto kind = static_cast<uint8_t>(options[0]);
    if (kind == kEnd) return false;
    if (kind == kNop) {
      options = options.subspan(1);
      continue;
    }
    if (kind == kLoose || kind == kStrict || options.size() < 2) return true;
    auto length = static_cast<size_t>(options[1]);
    if (length < 2 || length > options.size()) return true;
    options = options.subspan(length);
  }
  return false;
}

}  // namespace

void IpLayer::receive_frame(Interface& interface, std::span<const std::byte> frame,
                            ChecksumState checksum) {
  ++interface.statistics_.received_frames;
  interface.statistics_.received_bytes += frame.size();
  auto drop = [&](DropReason reason) {
    ++interface.statistics_.receive_dropped;
    context_.counters.drop(reason);
  };
  if (frame.size() < sizeof(EthernetHeader)) return drop(DropReason::kFrameTooShort);
  EthernetHeader header;
  std::memcpy(&header, frame.data(), sizeof header);
  bool is_ours = is_group(header.destination) || header.destination == interface.hardware();
  if (is_group(header.destination)) ++interface.statistics_.received_multicast;
  if (tap_ != nullptr) {
    FrameDirection direction = header.destination == kEthernetBroadcast ? FrameDirection::kBroadcast
                               : is_group(header.destination)           ? FrameDirection::kMulticast
                               : is_ours                                ? FrameDirection::kHost
                                         : FrameDirection::kOtherHost;
    tap_->frame(interface, direction, {.header = frame, .payload = {}});
  }
  if (!is_ours) return drop(DropReason::kFrameNotForUs);
  auto body = frame.subspan(sizeof header);
  switch (header.type.get()) {
    case kEtherTypeIpv4:
      return receive_ipv4(interface, body, checksum);
    case kEtherTypeIpv6:
      return receive_ipv6(interface, body, checksum);
    case kEtherTypeArp:
      return receive_arp(interface, body);
    default:
      return drop(DropReason::kUnknownEtherType);
  }
}

void IpLayer::receive_arp(Interface& interface, std::span<const std::byte> bytes) {
  auto packet = ArpPacket::parse(bytes);
  if (!packet) return context_.counters.drop(DropReason::kBadArp);
  IpAddress target = IpAddress::v4(packet->target_protocol);
  bool is_for_us = std::ranges::any_of(interface.addresses(),
                                       [&](const auto& own) { return own.address == target; });
  // A sender that claims our own address is a conflict or a forgery, never a neighbour.
  if (interface.has_address(IpAddress::v4(packet->sender_protocol)))
    return context_.counters.drop(DropReason::kBadArp);
  neighbours_.receive(interface, *packet, is_for_us);
  if (packet->operation == ArpPacket::kRequest && is_for_us)
    send_arp(interface,
             ArpPacket::make(ArpPacket::kReply, interface.hardware(), packet->target_protocol,
                             packet->sender_hardware, packet->sender_protocol),
             packet->sender_hardware);
}

bool IpLayer::deliver_one_loopback() {
  if (loopback_.empty()) return false;
  PacketPtr packet = std::move(loopback_.front().packet);
  Interface& interface = *loopback_.front().interface;
  bool is_version6 = std::to_integer<uint8_t>(packet->bytes()[0]) >> 4 == 6;
  EthernetHeader header = loopback_.front().header.value_or(
      EthernetHeader{{}, {}, is_version6 ? kEtherTypeIpv6 : kEtherTypeIpv4});
  loopback_.pop_front();
  if (tap_ != nullptr && interface.is_loopback()) {
    TxPiece piece{packet->bytes().data(), static_cast<uint32_t>(packet->size()), nullptr};
    TxPacket frame{.header = std::as_bytes(std::span(&header, 1)), .payload = {&piece, 1}};
    tap_->frame(interface, FrameDirection::kOutgoing, frame);
    tap_->frame(interface, FrameDirection::kHost, frame);
  }
  is_looped_ = true;
  ++interface.statistics_.sent_frames;
  ++interface.statistics_.received_frames;
  interface.statistics_.sent_bytes += packet->size();
  interface.statistics_.received_bytes += packet->size();
  if (header.type == kEtherTypeIpv6) {
    receive_ipv6(interface, packet->bytes(), ChecksumState::kVerified);
  } else if (header.type == kEtherTypeIpv4) {
    receive_ipv4(interface, packet->bytes(), ChecksumState::kVerified);
  } else {
    context_.counters.drop(DropReason::kUnknownEtherType);
  }
  is_looped_ = false;
  return true;
}

void IpLayer::receive_ipv4(Interface& interface, std::span<const std::byte> bytes,
                           ChecksumState checksum) {
  context_.counters.add(Counter::kIpInReceives);
  auto view = Ipv4View::parse(bytes);
  if (!view) {
    context_.counters.add(Counter::kIpInHdrErrors);
    return context_.counters.drop(view.error() == Ipv4Error::kChecksum ? DropReason::kBadIpChecksum
                                                                       : DropReason::kBadIpHeader);
  }
  if (!view->options().empty() && has_source_route(view->options())) {
    context_.counters.add(Counter::kIpInHdrErrors);
    return context_.counters.drop(DropReason::kIpSourceRoute);
  }
  bool is_broadcast = false;
  if (!accept_addresses(interface, *view, checksum, is_broadcast)) return;
  if (!view->is_fragment()) return deliver(interface, *view, checksum, is_broadcast);
  PacketPtr whole = reassembly_.add(FragmentView(*view));
  if (!whole) return;
  // The first fragment's header with the whole's payload behind it: its length field is not used.
  if (auto joined = Ipv4View::parse_quoted(whole->bytes()))
    deliver(interface, *joined, interface.is_loopback() ? checksum : ChecksumState::kUnknown,
            is_broadcast);
}

bool IpLayer::accept_addresses(Interface& interface, const Ipv4View& view, ChecksumState checksum,
                               bool& is_broadcast) {
  IpAddress source = view.source(), destination = view.destination();
  // [RFC 1122] 3.2.1.3: these never are a source.
  AddressRole source_role = interface.role_of_ipv4(source.v4_value());
  bool martian =
      source.is_multicast() || source_role == AddressRole::kBroadcast ||
      (!interface.is_loopback() && !is_looped_ &&
       (source.is_loopback() || destination.is_loopback() || source_role == AddressRole::kOwn));
  if (martian) {
    context_.counters.add(Counter::kIpInAddrErrors);
    context_.counters.drop(DropReason::kIpMartianSource);
    return false;
  }
  AddressRole role = interface.role_of_ipv4(destination.v4_value());
  if (role == AddressRole::kOwn) return true;
  is_broadcast = destination.is_multicast() || role == AddressRole::kBroadcast;
  // A DHCP server may address its reply to the address that we do not have yet [RFC 2131] 4.1.
  bool unconfigured = interface.addresses().empty() && view.protocol() == 17;
  // A group's members hear what routers ask about it, whoever they listen to.
  bool is_igmp = view.protocol() == static_cast<uint8_t>(IpProtocol::kIgmp);
  if (destination.is_multicast() &&
      !(is_igmp ? interface.is_member(destination) : interface.hears(destination, source))) {
    context_.counters.add(Counter::kIpInAddrErrors);
    context_.counters.drop(DropReason::kGroupNotJoined);
    return false;
  }
  if (is_broadcast || unconfigured || is_local(destination)) return true;
  if (forwards_v4_) {
    forward_ipv4(interface, view, checksum);
    return false;
  }
  context_.counters.add(Counter::kIpInAddrErrors);
  context_.counters.drop(DropReason::kIpNotForUs);
  return false;
}

void IpLayer::deliver(Interface& interface, const Ipv4View& view, ChecksumState checksum,
                      bool is_broadcast) {
  IpPacketInfo info{.interface = &interface,
                    .source = view.source(),
                    .destination = view.destination(),
                    .time_to_live = view.time_to_live(),
                    .type_of_service = view.type_of_service(),
                    .checksum = checksum,
                    .is_broadcast = is_broadcast,
                    .packet = view.packet()};
  context_.counters.add(Counter::kIpInDelivers);
  bool taken = receive_raw(info, view.protocol(), view.payload());
  switch (static_cast<IpProtocol>(view.protocol())) {
    case IpProtocol::kTcp:
      return tcp_->receive(info, view.payload());
    case IpProtocol::kUdp:
      return udp_->receive(info, view.payload());
    case IpProtocol::kIcmp:
      return receive_icmp(info, view.payload());
    case IpProtocol::kIgmp:
      return receive_igmp(info, view.payload());
    case IpProtocol::kIcmpv6:
      break;
  }
  if (taken) return;
  context_.counters.add(Counter::kIpInUnknownProtos);
  context_.counters.drop(DropReason::kIpUnknownProtocol);
  if (!is_broadcast)
    send_icmp_error(IcmpHeader::kUnreachable, IcmpHeader::kProtocolUnreachable, view.packet());
}

}  // namespace aril::net
