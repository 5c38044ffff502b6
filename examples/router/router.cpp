// A NAT router and packet filter between two Ethernet links, over packet sockets, without a C++
// run-time library. It owns the addresses in its configuration: it answers ARP and echo for them
// itself, so the interfaces have none. Sources inside leave with the outside address [RFC 3022];
// answers, errors about them and forwarded ports come in. Fragments are not passed on.
//   router [CONFIGURATION]     default: /etc/router.conf
// On Linux: interfaces without addresses and without offloads (ethtool -K eth0 rx off gro off).
#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "configuration.hpp"

namespace {

constexpr size_t kFrameSize = 2048, kNeighbours = 64;

struct Mac {
  uint8_t bytes[6];
};
constexpr Mac kBroadcast = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

/// [RFC 826] for Ethernet and IPv4.
struct [[gnu::packed]] Arp {
  uint16_t hardware, protocol;
  uint8_t hardware_size, protocol_size;
  uint16_t operation;
  Mac sender_mac;
  uint32_t sender;
  Mac target_mac;
  uint32_t target;
};
static_assert(sizeof(Arp) == 28);

struct Link {
  LinkConfiguration configuration = {};
  int fd = -1;
  Mac mac = {};
  struct Neighbour {
    uint32_t address;
    Mac mac;
  } neighbours[kNeighbours] = {};
};

/// A received frame, parsed: `ip` and what follows it are whole, and all lengths fit.
struct Packet {
  uint8_t* frame;
  size_t size;  ///< of the frame, without padding
  iphdr* ip;
  uint8_t* payload;
  size_t payload_size;
};

RouterConfiguration configuration;
Nat nat(configuration.nat);
Link inside, outside;

[[noreturn]] void fail(const char* what, const char* name) {
  fprintf(stderr, "router: %s: %s: %s\n", name, what, strerror(errno));
  exit(1);
}

uint32_t seconds() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return uint32_t(now.tv_sec) + 1;
}

// [RFC 1071, RFC 1624]

uint16_t checksum(const void* data, size_t size) {
  auto* bytes = static_cast<const uint8_t*>(data);
  uint32_t sum = 0;
  for (size_t i = 0; i + 1 < size; i += 2) sum += uint32_t(bytes[i]) << 8 | bytes[i + 1];
  if (size % 2 != 0) sum += uint32_t(bytes[size - 1]) << 8;
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return htons(uint16_t(~sum));
}

void adjust(uint16_t& check, uint16_t before, uint16_t after) {
  uint32_t sum = uint32_t(uint16_t(~check)) + uint16_t(~before) + after;
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  check = uint16_t(~sum);
}
void adjust(uint16_t& check, uint32_t before, uint32_t after) {
  adjust(check, uint16_t(before), uint16_t(after));
  adjust(check, uint16_t(before >> 16), uint16_t(after >> 16));
}

void open_link(Link& link, const LinkConfiguration& wanted) {
  link.configuration = wanted;
  link.fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
  ifreq request = {};
  strcpy(request.ifr_name, wanted.name);
  if (link.fd < 0 || ioctl(link.fd, SIOCGIFINDEX, &request) != 0) fail("no such link", wanted.name);
  sockaddr_ll address = {};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = request.ifr_ifindex;
  if (bind(link.fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    fail("cannot be bound", wanted.name);
  if (ioctl(link.fd, SIOCGIFHWADDR, &request) != 0) fail("has no address", wanted.name);
  memcpy(&link.mac, request.ifr_hwaddr.sa_data, sizeof link.mac);
}

void send_frame(Link& link, const Mac& to, uint16_t type, uint8_t* frame, size_t size) {
  memcpy(frame, &to, sizeof to);
  memcpy(frame + 6, &link.mac, sizeof link.mac);
  type = htons(type);
  memcpy(frame + 12, &type, sizeof type);
  send(link.fd, frame, size, 0);  // what the link does not take is lost, as on any wire
}

void send_arp(Link& link, uint16_t operation, const Mac& to, uint32_t target) {
  uint8_t frame[ETH_HLEN + sizeof(Arp)];
  Arp arp = {htons(ARPHRD_ETHER),
             htons(ETH_P_IP),
             6,
             4,
             htons(operation),
             link.mac,
             htonl(link.configuration.address),
             to,
             htonl(target)};
  memcpy(frame + ETH_HLEN, &arp, sizeof arp);
  send_frame(link, operation == ARPOP_REQUEST ? kBroadcast : to, ETH_P_ARP, frame, sizeof frame);
}

Link::Neighbour& neighbour(Link& link, uint32_t address) {
  return link.neighbours[(address ^ address >> 8) % kNeighbours];
}

/// Towards `destination`; a packet whose next hop is not known asks for it and is lost, as its
/// sender will try again.
void send_ip(Link& link, Packet& packet, uint32_t destination) {
  const LinkConfiguration& own = link.configuration;
  uint32_t hop = (destination & own.mask) == (own.address & own.mask) ? destination : own.gateway;
  if (hop == 0) return;
  Link::Neighbour& found = neighbour(link, hop);
  if (found.address != hop) return send_arp(link, ARPOP_REQUEST, Mac{}, hop);
  send_frame(link, found.mac, ETH_P_IP, packet.frame, packet.size);
}

void receive_arp(Link& link, const uint8_t* frame, size_t size) {
  Arp arp;
  if (size < ETH_HLEN + sizeof arp) return;
  memcpy(&arp, frame + ETH_HLEN, sizeof arp);
  if (arp.hardware != htons(ARPHRD_ETHER) || arp.protocol != htons(ETH_P_IP) ||
      arp.target != htonl(link.configuration.address))
    return;
  neighbour(link, ntohl(arp.sender)) = {ntohl(arp.sender), arp.sender_mac};
  if (arp.operation == htons(ARPOP_REQUEST))
    send_arp(link, ARPOP_REPLY, arp.sender_mac, ntohl(arp.sender));
}

bool parse(uint8_t* frame, size_t size, Packet& packet) {
  auto* ip = reinterpret_cast<iphdr*>(frame + ETH_HLEN);
  if (size < ETH_HLEN + sizeof *ip || ip->version != 4 || ip->ihl < 5) return false;
  size_t header = ip->ihl * 4u, total = ntohs(ip->tot_len);
  if (total < header || total > size - ETH_HLEN || checksum(ip, header) != 0) return false;
  if ((ip->frag_off & htons(IP_MF | IP_OFFMASK)) != 0) return false;
  uint8_t* payload = frame + ETH_HLEN + header;
  packet = {frame, ETH_HLEN + total, ip, payload, total - header};
  size_t needed = ip->protocol == IPPROTO_TCP    ? sizeof(tcphdr)
                  : ip->protocol == IPPROTO_UDP  ? sizeof(udphdr)
                  : ip->protocol == IPPROTO_ICMP ? sizeof(icmphdr)
                                                 : SIZE_MAX;
  return packet.payload_size >= needed;
}

icmphdr* icmp_of(Packet& packet) { return reinterpret_cast<icmphdr*>(packet.payload); }

/// The field that names the conversation at the packet's source or destination.
uint16_t* port_of(uint8_t protocol, uint8_t* payload, bool is_source) {
  if (protocol == IPPROTO_ICMP) return &reinterpret_cast<icmphdr*>(payload)->un.echo.id;
  return reinterpret_cast<uint16_t*>(payload) + (is_source ? 0 : 1);
}

/// Where the transport's checksum is; null: there is none to keep.
uint16_t* checksum_of(Packet& packet) {
  if (packet.ip->protocol == IPPROTO_TCP) return &reinterpret_cast<tcphdr*>(packet.payload)->check;
  if (packet.ip->protocol == IPPROTO_ICMP) return &icmp_of(packet)->checksum;
  auto* udp = reinterpret_cast<udphdr*>(packet.payload);
  return udp->check != 0 ? &udp->check : nullptr;
}

/// Gives the packet another source (or destination), and its checksums with it.
void rewrite(Packet& packet, bool is_source, Endpoint to) {
  uint32_t& address = is_source ? packet.ip->saddr : packet.ip->daddr;
  uint16_t& port = *port_of(packet.ip->protocol, packet.payload, is_source);
  uint32_t new_address = htonl(to.address);
  uint16_t new_port = htons(to.port);
  if (uint16_t* check = checksum_of(packet)) {
    // ICMP's does not cover the addresses.
    if (packet.ip->protocol != IPPROTO_ICMP) adjust(*check, address, new_address);
    adjust(*check, port, new_port);
    if (packet.ip->protocol == IPPROTO_UDP && *check == 0) *check = 0xffff;
  }
  adjust(packet.ip->check, address, new_address);
  address = new_address;
  port = new_port;
}

/// An ICMP message about `packet` to its sender, from `link`'s address [RFC 792].
void send_error(Link& link, const Packet& packet, uint8_t type, uint8_t code) {
  if (packet.ip->protocol == IPPROTO_ICMP && packet.payload[0] != ICMP_ECHO) return;
  constexpr size_t kQuoted = 8;
  size_t quoted = packet.ip->ihl * 4u + kQuoted;
  uint8_t frame[ETH_HLEN + sizeof(iphdr) + sizeof(icmphdr) + 60 + kQuoted] = {};
  auto* ip = reinterpret_cast<iphdr*>(frame + ETH_HLEN);
  auto* icmp = reinterpret_cast<icmphdr*>(ip + 1);
  icmp->type = type;
  icmp->code = code;
  memcpy(icmp + 1, packet.ip, quoted);
  icmp->checksum = checksum(icmp, sizeof *icmp + quoted);
  size_t total = sizeof *ip + sizeof *icmp + quoted;
  ip->version = 4;
  ip->ihl = 5;
  ip->tot_len = htons(uint16_t(total));
  ip->ttl = 64;
  ip->protocol = IPPROTO_ICMP;
  ip->saddr = htonl(link.configuration.address);
  ip->daddr = packet.ip->saddr;
  ip->check = checksum(ip, sizeof *ip);
  Packet error = {frame, ETH_HLEN + total, ip, nullptr, 0};
  send_ip(link, error, ntohl(ip->daddr));
}

void answer_echo(Link& link, Packet& packet) {
  icmphdr* icmp = icmp_of(packet);
  if (packet.ip->protocol != IPPROTO_ICMP || icmp->type != ICMP_ECHO) return;
  adjust(icmp->checksum, htons(ICMP_ECHO << 8), htons(ICMP_ECHOREPLY << 8));
  icmp->type = ICMP_ECHOREPLY;
  uint32_t asker = packet.ip->saddr;
  packet.ip->saddr = packet.ip->daddr;
  packet.ip->daddr = asker;
  send_ip(link, packet, ntohl(asker));
}

/// One hop further; false when the packet has come to its last, which its sender is told.
bool take_hop(Link& link, Packet& packet) {
  if (packet.ip->ttl <= 1) {
    send_error(link, packet, ICMP_TIME_EXCEEDED, ICMP_EXC_TTL);
    return false;
  }
  adjust(packet.ip->check, htons(uint16_t(packet.ip->ttl << 8)),
         htons(uint16_t((packet.ip->ttl - 1) << 8)));
  --packet.ip->ttl;
  return true;
}

void note_end(Mapping& mapping, const Packet& packet) {
  if (packet.ip->protocol != IPPROTO_TCP) return;
  auto* tcp = reinterpret_cast<const tcphdr*>(packet.payload);
  mapping.is_ending |= tcp->fin || tcp->rst;
}

void leave(Packet& packet) {
  uint8_t protocol = packet.ip->protocol;
  if (protocol == IPPROTO_ICMP && icmp_of(packet)->type != ICMP_ECHO) return;
  if (!take_hop(inside, packet)) return;
  Endpoint source = {ntohl(packet.ip->saddr), ntohs(*port_of(protocol, packet.payload, true))};
  Endpoint peer = {ntohl(packet.ip->daddr), protocol == IPPROTO_ICMP
                                                ? uint16_t{0}
                                                : ntohs(*port_of(protocol, packet.payload, false))};
  Mapping* mapping = nat.outgoing(protocol, source, peer, seconds());
  if (mapping == nullptr) return send_error(inside, packet, ICMP_DEST_UNREACH, ICMP_PKT_FILTERED);
  note_end(*mapping, packet);
  rewrite(packet, true, {outside.configuration.address, mapping->outside_port});
  send_ip(outside, packet, peer.address);
}

/// An error about a packet that went out: goes to who sent it, with what it quotes put right.
void pass_error(Packet& packet) {
  uint8_t* quoted = packet.payload + sizeof(icmphdr);
  auto* ip = reinterpret_cast<iphdr*>(quoted);
  size_t size = packet.payload_size - sizeof(icmphdr);
  if (size < sizeof *ip || ip->version != 4 || ip->ihl < 5 || size < ip->ihl * 4u + 8) return;
  if (ntohl(ip->saddr) != outside.configuration.address) return;
  uint8_t* transport = quoted + ip->ihl * 4;
  uint16_t& port = *port_of(ip->protocol, transport, true);
  Mapping* mapping = nat.find_outside(ip->protocol, ntohl(ip->daddr), ntohs(port));
  if (mapping == nullptr) return;
  port = htons(mapping->inside.port);
  ip->saddr = htonl(mapping->inside.address);
  ip->check = 0;
  ip->check = checksum(ip, ip->ihl * 4u);
  icmphdr* icmp = icmp_of(packet);
  icmp->checksum = 0;
  icmp->checksum = checksum(icmp, packet.payload_size);
  adjust(packet.ip->check, packet.ip->daddr, ip->saddr);
  packet.ip->daddr = ip->saddr;
  send_ip(inside, packet, mapping->inside.address);
}

void enter(Packet& packet) {
  uint8_t protocol = packet.ip->protocol;
  if (protocol == IPPROTO_ICMP) {
    uint8_t type = icmp_of(packet)->type;
    if (type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB)
      return pass_error(packet);
    if (type == ICMP_ECHO) return answer_echo(outside, packet);
    if (type != ICMP_ECHOREPLY) return;
  }
  bool has_ports = protocol != IPPROTO_ICMP;
  Endpoint peer = {ntohl(packet.ip->saddr),
                   has_ports ? ntohs(*port_of(protocol, packet.payload, true)) : uint16_t{0}};
  uint16_t port = ntohs(*port_of(protocol, packet.payload, false));
  Mapping* mapping = nat.incoming(protocol, peer, port, seconds());
  if (mapping == nullptr || !take_hop(outside, packet)) return;
  note_end(*mapping, packet);
  rewrite(packet, false, mapping->inside);
  send_ip(inside, packet, mapping->inside.address);
}

void receive(Link& link) {
  // Aligned so that the IP header is.
  alignas(4) static uint8_t room[2 + kFrameSize];
  uint8_t* frame = room + 2;
  for (int budget = 64; budget != 0; --budget) {
    sockaddr_ll from = {};
    socklen_t from_size = sizeof from;
    ssize_t got = recvfrom(link.fd, frame, kFrameSize, MSG_DONTWAIT | MSG_TRUNC,
                           reinterpret_cast<sockaddr*>(&from), &from_size);
    if (got < 0) return;
    if (from.sll_pkttype == PACKET_OUTGOING || size_t(got) > kFrameSize || got < ETH_HLEN) continue;
    uint16_t type = uint16_t(frame[12] << 8 | frame[13]);
    if (type == ETH_P_ARP) {
      receive_arp(link, frame, size_t(got));
      continue;
    }
    Packet packet;
    if (type != ETH_P_IP || memcmp(frame, &link.mac, sizeof link.mac) != 0 ||
        !parse(frame, size_t(got), packet))
      continue;
    uint32_t destination = ntohl(packet.ip->daddr);
    if (&link == &outside) {
      if (destination == outside.configuration.address) enter(packet);
    } else if (destination == inside.configuration.address) {
      answer_echo(inside, packet);
    } else {
      leave(packet);
    }
  }
}

}  // namespace

int main(int argument_count, char** arguments) {
  read_configuration(argument_count > 1 ? arguments[1] : "/etc/router.conf", configuration);
  open_link(inside, configuration.inside);
  open_link(outside, configuration.outside);
  printf("router: %s inside, %s outside\n", configuration.inside.name, configuration.outside.name);
  fflush(stdout);
  for (;;) {
    pollfd links[2] = {{inside.fd, POLLIN, 0}, {outside.fd, POLLIN, 0}};
    if (poll(links, 2, -1) < 0 && errno != EINTR) fail("poll", "links");
    if (links[0].revents != 0) receive(inside);
    if (links[1].revents != 0) receive(outside);
  }
}
