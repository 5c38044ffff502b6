// Raw, ping and packet sockets over loopback [raw(7), packet(7), icmp(7)].
// On Linux in a network namespace of its own, for the quiet; where none can be made, every property
// passes untried.
// options: --net user
#include <arpa/inet.h>
#include <linux/filter.h>

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "check.hpp"
#include "own_network.hpp"

static bool is_ready() {
  static const bool answer = [] {
    enter_own_network();
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    close(fd);
    return fd >= 0;
  }();
  return answer;
}
#define NEED_RAW() \
  if (!is_ready()) return

static sockaddr_in address(uint16_t port = 0, uint32_t host = INADDR_LOOPBACK) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(host);
  return address;
}
static bool is_readable(int fd, int milliseconds = 2000) {
  pollfd wanted = {fd, POLLIN, 0};
  return poll(&wanted, 1, milliseconds) == 1;
}
static std::string receive(int fd, sockaddr_storage* from = nullptr, int flags = 0) {
  char buffer[4096];
  socklen_t length = sizeof(sockaddr_storage);
  if (!is_readable(fd)) return "";
  ssize_t count = recvfrom(fd, buffer, sizeof buffer, flags, (sockaddr*)from,
                           from != nullptr ? &length : nullptr);
  return std::string(buffer, count < 0 ? 0 : count);
}
static ssize_t send_to(int fd, const std::string& bytes, sockaddr_in to = address()) {
  return sendto(fd, bytes.data(), bytes.size(), 0, (sockaddr*)&to, sizeof to);
}
static uint16_t checksum(const std::string& bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes.size(); i += 2)
    sum += (uint8_t)bytes[i] << 8 | (i + 1 < bytes.size() ? (uint8_t)bytes[i + 1] : 0);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return htons((uint16_t)~sum);
}
static std::string echo(uint16_t id, uint16_t sequence, const char* text) {
  icmphdr header = {};
  header.type = ICMP_ECHO;
  header.un.echo = {htons(id), htons(sequence)};
  std::string message((char*)&header, sizeof header);
  message += text;
  header.checksum = checksum(message);
  message.replace(0, sizeof header, (char*)&header, sizeof header);
  return message;
}
static int set(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value);
}
// Of the answers that a raw ICMP socket hears, the next of this type; "" when there is none.
static std::string receive_icmp(int fd, uint8_t type) {
  for (int i = 0; i < 10; ++i) {
    std::string packet = receive(fd);
    if (packet.size() < 28 || (uint8_t)packet[20] == type) return packet;
  }
  return "";
}

PROPERTY(raw_icmp_hears_with_the_ip_header) {
  NEED_RAW();
  int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
  CHECK_EQ(send_to(fd, echo(77, 1, "hello")), 13);
  std::string packet = receive_icmp(fd, ICMP_ECHOREPLY);
  CHECK_EQ(packet.size(), 33);
  CHECK_EQ((uint8_t)packet[0], 0x45);
  CHECK_EQ((uint8_t)packet[9], IPPROTO_ICMP);
  CHECK(packet.substr(28) == "hello");
  close(fd);
}

PROPERTY(the_icmp_filter_blocks_types) {
  NEED_RAW();
  int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
  uint32_t filter = ~(1u << ICMP_ECHOREPLY);
  CHECK_EQ(setsockopt(fd, SOL_RAW, 1, &filter, sizeof filter), 0);
  uint32_t got = 0;
  socklen_t length = sizeof got;
  CHECK_EQ(getsockopt(fd, SOL_RAW, 1, &got, &length), 0);
  CHECK_EQ(got, filter);
  CHECK_EQ(send_to(fd, echo(78, 1, "x")), 9);
  std::string packet = receive(fd);
  CHECK_EQ(packet.size(), 29);
  CHECK_EQ((uint8_t)packet[20], ICMP_ECHOREPLY);
  CHECK(!is_readable(fd, 50));
  close(fd);
}

PROPERTY(raw_protocols_are_heard_by_their_number) {
  NEED_RAW();
  int hears = socket(AF_INET, SOCK_RAW, 200), other = socket(AF_INET, SOCK_RAW, 201);
  int sends = socket(AF_INET, SOCK_RAW, 200);
  CHECK_EQ(send_to(sends, "payload"), 7);
  std::string packet = receive(hears);
  CHECK_EQ(packet.size(), 27);
  CHECK_EQ((uint8_t)packet[9], 200);
  CHECK(packet.substr(20) == "payload");
  CHECK(!is_readable(other, 50));
  close(hears), close(other), close(sends);
}

PROPERTY(a_bound_and_connected_raw_socket_hears_its_peer_alone) {
  NEED_RAW();
  int fd = socket(AF_INET, SOCK_RAW, 200), sends = socket(AF_INET, SOCK_RAW, 200);
  sockaddr_in other = address(0, INADDR_LOOPBACK + 1), own = address();
  CHECK_EQ(connect(fd, (sockaddr*)&other, sizeof other), 0);
  CHECK_EQ(bind(sends, (sockaddr*)&own, sizeof own), 0);
  CHECK_EQ(send_to(sends, "from 1"), 6);
  CHECK(!is_readable(fd, 50));
  close(fd), close(sends);
}

PROPERTY(the_header_may_be_the_programs) {
  NEED_RAW();
  int hears = socket(AF_INET, SOCK_RAW, 202), fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
  iphdr header = {};
  header.version = 4;
  header.ihl = 5;
  header.ttl = 33;
  header.protocol = 202;
  header.daddr = htonl(INADDR_LOOPBACK);
  std::string packet((char*)&header, sizeof header);
  packet += "body";
  CHECK_EQ(send_to(fd, packet), 24);
  std::string got = receive(hears);
  CHECK_EQ(got.size(), 24);
  iphdr seen;
  memcpy(&seen, got.data(), sizeof seen);
  CHECK_EQ(seen.ttl, 33);
  CHECK_EQ(ntohs(seen.tot_len), 24);  // filled in, as are checksum and source
  CHECK_EQ(checksum(got.substr(0, 20)), 0);
  CHECK_EQ(seen.saddr, htonl(INADDR_LOOPBACK));
  CHECK(got.substr(20) == "body");
  close(hears), close(fd);
}

PROPERTY(raw_sockets_need_a_protocol) {
  NEED_RAW();
  CHECK_ERRNO(socket(AF_INET, SOCK_RAW, 0), EPROTONOSUPPORT);
}

PROPERTY(time_to_live_and_interface_are_told) {
  NEED_RAW();
  int fd = socket(AF_INET, SOCK_RAW, 203);
  CHECK_EQ(set(fd, IPPROTO_IP, IP_PKTINFO, 1), 0);
  CHECK_EQ(set(fd, IPPROTO_IP, IP_RECVTTL, 1), 0);
  CHECK_EQ(set(fd, IPPROTO_IP, IP_TTL, 9), 0);
  CHECK_EQ(send_to(fd, "x"), 1);
  CHECK(is_readable(fd));
  char data[64], control[256];
  iovec vector = {data, sizeof data};
  msghdr message = {};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  CHECK_EQ(recvmsg(fd, &message, 0), 21);
  int hops = 0, index = 0;
  for (cmsghdr* one = CMSG_FIRSTHDR(&message); one; one = CMSG_NXTHDR(&message, one)) {
    if (one->cmsg_level != IPPROTO_IP) continue;
    if (one->cmsg_type == IP_TTL) memcpy(&hops, CMSG_DATA(one), sizeof hops);
    if (one->cmsg_type == IP_PKTINFO) index = ((in_pktinfo*)CMSG_DATA(one))->ipi_ifindex;
  }
  CHECK_EQ(hops, 9);
  CHECK_EQ(index, (int)if_nametoindex("lo"));
  close(fd);
}

PROPERTY(filters_choose_what_raw_sockets_hear) {
  NEED_RAW();
  int fd = socket(AF_INET, SOCK_RAW, 204);
  // The first byte behind the IP header is 'y'.
  sock_filter code[] = {{BPF_LD | BPF_B | BPF_ABS, 0, 0, 20},
                        {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 'y'},
                        {BPF_RET | BPF_K, 0, 0, 0xffff},
                        {BPF_RET | BPF_K, 0, 0, 0}};
  sock_fprog program = {4, code};
  CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0);
  CHECK_EQ(send_to(fd, "no"), 2);
  CHECK_EQ(send_to(fd, "yes"), 3);
  CHECK(receive(fd).substr(20) == "yes");
  CHECK(!is_readable(fd, 50));
  close(fd);
}

namespace {
struct Packets {
  int fd, sender = socket(AF_INET, SOCK_DGRAM, 0), receiver = socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in to = address();
  explicit Packets(int type, int protocol = ETH_P_IP)
      : fd(socket(AF_PACKET, type, htons(protocol))) {
    socklen_t length = sizeof to;
    bind(receiver, (sockaddr*)&to, length);
    getsockname(receiver, (sockaddr*)&to, &length);
  }
  ~Packets() { close(fd), close(sender), close(receiver); }
  int bind_to_loopback(int protocol = ETH_P_IP) const {
    sockaddr_ll link = {};
    link.sll_family = AF_PACKET;
    link.sll_protocol = htons(protocol);
    link.sll_ifindex = (int)if_nametoindex("lo");
    return bind(fd, (sockaddr*)&link, sizeof link);
  }
};
}  // namespace

PROPERTY(packet_sockets_hear_both_ways_with_the_link_header) {
  NEED_RAW();
  Packets packets(SOCK_RAW, ETH_P_ALL);
  CHECK_EQ(packets.bind_to_loopback(ETH_P_ALL), 0);
  CHECK_EQ(send_to(packets.sender, "frame", packets.to), 5);
  int types = 0;
  for (int i = 0; i < 2; ++i) {
    sockaddr_storage from = {};
    std::string frame = receive(packets.fd, &from);
    CHECK_EQ(frame.size(), 14 + 20 + 8 + 5);
    CHECK_EQ((uint8_t)frame[12] << 8 | (uint8_t)frame[13], ETH_P_IP);
    CHECK(frame.substr(42) == "frame");
    auto* link = (sockaddr_ll*)&from;
    CHECK_EQ(link->sll_family, AF_PACKET);
    CHECK_EQ(ntohs(link->sll_protocol), ETH_P_IP);
    CHECK_EQ(link->sll_ifindex, (int)if_nametoindex("lo"));
    CHECK_EQ(link->sll_hatype, 772);
    types |= 1 << link->sll_pkttype;
  }
  CHECK_EQ(types, 1 << PACKET_HOST | 1 << PACKET_OUTGOING);
  CHECK(!is_readable(packets.fd, 50));
}

PROPERTY(those_of_one_protocol_hear_what_comes_in) {
  NEED_RAW();
  Packets packets(SOCK_RAW);
  CHECK_EQ(packets.bind_to_loopback(), 0);
  CHECK_EQ(send_to(packets.sender, "frame", packets.to), 5);
  sockaddr_storage from = {};
  CHECK_EQ(receive(packets.fd, &from).size(), 14 + 20 + 8 + 5);
  CHECK_EQ(((sockaddr_ll*)&from)->sll_pkttype, PACKET_HOST);
  CHECK(!is_readable(packets.fd, 50));
}

PROPERTY(datagram_packet_sockets_hear_without_it) {
  NEED_RAW();
  Packets packets(SOCK_DGRAM);
  CHECK_EQ(packets.bind_to_loopback(), 0);
  CHECK_EQ(set(packets.fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1), 0);
  CHECK_EQ(send_to(packets.sender, "body", packets.to), 4);
  std::string packet = receive(packets.fd);
  CHECK_EQ(packet.size(), 32);
  CHECK_EQ((uint8_t)packet[0], 0x45);
  CHECK(!is_readable(packets.fd, 50));
}

PROPERTY(packet_sockets_are_bound_to_a_protocol) {
  NEED_RAW();
  Packets packets(SOCK_RAW, ETH_P_ARP);
  CHECK_EQ(packets.bind_to_loopback(ETH_P_ARP), 0);
  CHECK_EQ(send_to(packets.sender, "frame", packets.to), 5);
  CHECK(!is_readable(packets.fd, 50));
  sockaddr_ll own = {};
  socklen_t length = sizeof own;
  CHECK_EQ(getsockname(packets.fd, (sockaddr*)&own, &length), 0);
  CHECK_EQ(own.sll_ifindex, (int)if_nametoindex("lo"));
  CHECK_EQ(ntohs(own.sll_protocol), ETH_P_ARP);
}

PROPERTY(frames_that_are_sent_arrive) {
  NEED_RAW();
  constexpr int kExperimental = 0x88b5;
  Packets hears(SOCK_RAW, kExperimental), sends(SOCK_RAW, 0), wraps(SOCK_DGRAM, 0);
  CHECK_EQ(hears.bind_to_loopback(kExperimental), 0);
  sockaddr_ll link = {};
  link.sll_family = AF_PACKET;
  link.sll_ifindex = (int)if_nametoindex("lo");
  std::string frame = std::string(12, '\0') + "\x88\xb5whole";
  CHECK_EQ(sendto(sends.fd, frame.data(), frame.size(), 0, (sockaddr*)&link, sizeof link),
           (ssize_t)frame.size());
  CHECK(receive(hears.fd) == frame);
  link.sll_protocol = htons(kExperimental);
  link.sll_halen = 6;
  CHECK_EQ(sendto(wraps.fd, "body", 4, 0, (sockaddr*)&link, sizeof link), 4);
  CHECK(receive(hears.fd) == std::string(12, '\0') + "\x88\xb5" + "body");
}

PROPERTY(statistics_are_taken) {
  NEED_RAW();
  Packets packets(SOCK_RAW, ETH_P_ALL);
  CHECK_EQ(packets.bind_to_loopback(ETH_P_ALL), 0);
  tpacket_stats stats = {};
  socklen_t length = sizeof stats;
  CHECK_EQ(getsockopt(packets.fd, SOL_PACKET, PACKET_STATISTICS, &stats, &length), 0);
  CHECK_EQ(send_to(packets.sender, "frame", packets.to), 5);
  CHECK(is_readable(packets.fd));
  CHECK(!receive(packets.receiver).empty());
  length = sizeof stats;
  CHECK_EQ(getsockopt(packets.fd, SOL_PACKET, PACKET_STATISTICS, &stats, &length), 0);
  CHECK_EQ(stats.tp_packets, 2);
  CHECK_EQ(stats.tp_drops, 0);
  length = sizeof stats;
  CHECK_EQ(getsockopt(packets.fd, SOL_PACKET, PACKET_STATISTICS, &stats, &length), 0);
  CHECK_EQ(stats.tp_packets, 0);
}

PROPERTY(long_frames_are_cut_and_their_length_told) {
  NEED_RAW();
  Packets packets(SOCK_RAW);
  CHECK_EQ(packets.bind_to_loopback(), 0);
  CHECK_EQ(send_to(packets.sender, std::string(500, 'z'), packets.to), 500);
  CHECK(is_readable(packets.fd));
  char small[60];
  CHECK_EQ(recv(packets.fd, small, sizeof small, MSG_PEEK), 60);
  CHECK_EQ(recv(packets.fd, small, sizeof small, MSG_TRUNC), 542);
}

PROPERTY(errors_of_packet_sockets) {
  NEED_RAW();
  Packets packets(SOCK_RAW);
  sockaddr_ll link = {};
  link.sll_family = AF_PACKET;
  link.sll_ifindex = 9999;
  CHECK_ERRNO(bind(packets.fd, (sockaddr*)&link, sizeof link), ENODEV);
  CHECK_ERRNO(sendto(packets.fd, "x", 1, 0, (sockaddr*)&link, sizeof link), ENXIO);
  CHECK_ERRNO(bind(packets.fd, (sockaddr*)&link, 4), EINVAL);
  CHECK_ERRNO(connect(packets.fd, (sockaddr*)&link, sizeof link), EOPNOTSUPP);
  CHECK_ERRNO(listen(packets.fd, 1), EOPNOTSUPP);
}
