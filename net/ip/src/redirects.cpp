#include "net/ip/redirects.hpp"

#include <algorithm>
#include <cstring>

#include "net/ip/ip_layer.hpp"

namespace aril::net {

IpAddress Redirects::find(const Interface& interface, IpAddress destination, IpAddress gateway,
                          Instant now) const {
  for (size_t i = 0; i < count_; ++i) {
    const Entry& entry = entries_[i];
    if (entry.destination == destination && entry.gateway == gateway &&
        entry.interface == &interface && entry.expiry > now)
      return entry.next_hop;
  }
  return gateway;
}

void Redirects::add(const Redirect& redirect, IpAddress gateway, Instant now) {
  Entry* place = nullptr;
  for (size_t i = 0; i < count_; ++i)
    if (entries_[i].destination == redirect.destination && entries_[i].gateway == gateway &&
        entries_[i].interface == redirect.interface)
      place = &entries_[i];
  if (place == nullptr)
    place = count_ < kCapacity ? &entries_[count_++]
                               : &*std::ranges::min_element(entries_, {}, &Entry::expiry);
  *place = {redirect.interface, redirect.destination, gateway, redirect.next_hop, now + kLifetime};
}

void Redirects::forget(const Interface& interface, IpAddress next_hop) {
  auto* end = entries_.data() + count_;
  auto* kept = std::remove_if(entries_.data(), end, [&](const Entry& entry) {
    return entry.interface == &interface && entry.next_hop == next_hop;
  });
  count_ = static_cast<size_t>(kept - entries_.data());
}

// [RFC 1122] 3.2.2.2: only what a transport found to be about its own packets is accepted, as with
// Linux: anybody can forge the rest.
void IpLayer::receive_icmp_redirect(const IpPacketInfo& info, const IcmpHeader& header,
                                    std::span<const std::byte> quoted) {
  auto view = Ipv4View::parse_quoted(quoted);
  if (!view || view->payload().size() < 8 || view->fragment_offset() != 0 ||
      header.code > IcmpHeader::kLastRedirectCode)
    return context_.counters.drop(DropReason::kBadIcmp);
  if (!is_local(view->source())) return context_.counters.drop(DropReason::kIcmpErrorIrrelevant);
  Redirect redirect{.interface = info.interface,
                    .router = info.source,
                    .destination = view->destination(),
                    .next_hop = IpAddress::v4(header.rest)};
  IpError error{.source = view->source(),
                .destination = view->destination(),
                .offender = info.source,
                .type = header.type,
                .code = header.code,
                .redirect = &redirect};
  report_error(error, view->protocol(), view->payload());
}

// [RFC 4861] 8.1: it comes from the link itself, as its hop limit proved.
void IpLayer::receive_ndp_redirect(const IpPacketInfo& info, std::span<const std::byte> bytes) {
  auto told = RedirectInformation::parse(bytes);
  bool is_sound = told && info.source.is_link_local() && !told->destination.is_multicast() &&
                  (told->target.is_link_local() || told->target == told->destination);
  if (!is_sound) return context_.counters.drop(DropReason::kBadNdp);
  if (!accept_redirect({info.interface, info.source, told->destination, told->target})) return;
  if (told->link_address) neighbours_.heard_of(*info.interface, told->target, *told->link_address);
}

bool IpLayer::accept_redirect(const Redirect& redirect) {
  Interface& interface = *redirect.interface;
  IpAddress hop = redirect.next_hop;
  bool is_v4 = hop.is_v4();
  const RouteEntry* entry = find_route(redirect.destination, interface.index());
  bool is_accepted =
      is_v4 ? accepts_redirects_v4_ && !forwards_v4_ : accepts_redirects_v6_ && !forwards_v6_;
  is_accepted = is_accepted && entry != nullptr && !entry->gateway.is_unspecified() &&
                redirect.destination.is_v4() == is_v4 &&
                // Only the router that the packets went to may send them elsewhere.
                redirects_.find(interface, redirect.destination, entry->gateway, context_.now) ==
                    redirect.router &&
                hop != redirect.router && !hop.is_unspecified() && !hop.is_multicast() &&
                !is_local(hop) && !interface.is_loopback();
  if (is_accepted && is_v4) {
    is_accepted = !interface.is_broadcast(hop) &&
                  std::ranges::any_of(interface.addresses(), [&](const InterfaceAddress& own) {
                    return own.contains(hop);
                  });
  }
  if (!is_accepted) {
    context_.counters.drop(DropReason::kRedirectRefused);
    return false;
  }
  redirects_.add(redirect, entry->gateway, context_.now);
  return true;
}

void IpLayer::lost(Interface& interface, IpAddress address) {
  redirects_.forget(interface, address);
}

}  // namespace aril::net
