// AF_INET6 over loopback: streams, datagrams, both families on one socket, options, addresses.
// Where the machine has no ::1 (a container without IPv6), every property passes untried.
// options: --net user
#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <initializer_list>

#include "check.hpp"

static sockaddr_in6 address6(const char* text, uint16_t port = 0) {
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  inet_pton(AF_INET6, text, &address.sin6_addr);
  return address;
}
static sockaddr_in address4(uint32_t host, uint16_t port = 0) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(host);
  return address;
}
static sockaddr_in6 name_of(int fd) {
  sockaddr_in6 address = {};
  socklen_t length = sizeof address;
  getsockname(fd, (sockaddr*)&address, &length);
  return address;
}
static bool has_ipv6() {
  static const bool answer = [] {
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    sockaddr_in6 address = address6("::1");
    bool bound = fd >= 0 && bind(fd, (sockaddr*)&address, sizeof address) == 0;
    close(fd);
    return bound;
  }();
  return answer;
}
#define NEED_IPV6() \
  if (!has_ipv6()) return
static int set(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value);
}
static int get(int fd, int level, int name) {
  int value = -1000;
  socklen_t length = sizeof value;
  return getsockopt(fd, level, name, &value, &length) == 0 ? value : -1000;
}
static int listener(const char* text, bool v6_only, uint16_t port = 0) {
  int fd = socket(AF_INET6, SOCK_STREAM, 0);
  set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  set(fd, IPPROTO_IPV6, IPV6_V6ONLY, v6_only);
  sockaddr_in6 address = address6(text, port);
  if (bind(fd, (sockaddr*)&address, sizeof address) || listen(fd, 8)) {
    close(fd);
    return -1;
  }
  return fd;
}

PROPERTY(streams_carry_bytes) {
  NEED_IPV6();
  int fd = listener("::1", false);
  CHECK(fd >= 0);
  sockaddr_in6 address = name_of(fd), peer = {};
  CHECK_EQ(address.sin6_family, AF_INET6);
  CHECK(IN6_IS_ADDR_LOOPBACK(&address.sin6_addr));
  int client = socket(AF_INET6, SOCK_STREAM, 0);
  CHECK_EQ(connect(client, (sockaddr*)&address, sizeof address), 0);
  socklen_t length = sizeof peer;
  int server = accept(fd, (sockaddr*)&peer, &length);
  CHECK(server >= 0);
  CHECK_EQ(length, sizeof peer);
  CHECK(IN6_IS_ADDR_LOOPBACK(&peer.sin6_addr));
  CHECK_EQ(peer.sin6_port, name_of(client).sin6_port);
  CHECK_EQ(peer.sin6_scope_id, 0u);
  CHECK_EQ(send(client, "ping", 4, 0), 4);
  char text[8];
  CHECK_EQ(recv(server, text, 8, 0), 4);
  for (int each : {fd, client, server}) close(each);
}
PROPERTY(a_stream_carries_a_megabyte) {
  NEED_IPV6();
  int fd = listener("::", false);
  sockaddr_in6 address = name_of(fd);
  int client = socket(AF_INET6, SOCK_STREAM, 0);
  CHECK_EQ(connect(client, (sockaddr*)&address, sizeof address), 0);
  int server = accept(fd, nullptr, nullptr);
  fcntl(client, F_SETFL, O_NONBLOCK);
  fcntl(server, F_SETFL, O_NONBLOCK);
  size_t sent = 0, received = 0;
  constexpr size_t kTotal = 1 << 20;
  static char out[65536], in[65536];
  for (size_t i = 0; i < sizeof out; ++i) out[i] = static_cast<char>(i * 7);
  while (received < kTotal) {
    size_t at = sent % sizeof out;
    ssize_t count = sent < kTotal ? send(client, out + at, sizeof out - at, 0) : 0;
    if (count > 0) sent += static_cast<size_t>(count);
    pollfd wait = {server, POLLIN, 0};
    poll(&wait, 1, 1000);
    count = recv(server, in, sizeof in, 0);
    for (ssize_t i = 0; i < count; ++i)
      CHECK_EQ(in[i], static_cast<char>((received + static_cast<size_t>(i)) % sizeof out * 7));
    if (count > 0) received += static_cast<size_t>(count);
  }
  for (int each : {fd, client, server}) close(each);
}
PROPERTY(one_listener_takes_both_families) {
  NEED_IPV6();
  int fd = listener("::", false);
  CHECK(fd >= 0);
  uint16_t port = ntohs(name_of(fd).sin6_port);
  int client = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = address4(INADDR_LOOPBACK, port);
  CHECK_EQ(connect(client, (sockaddr*)&address, sizeof address), 0);
  sockaddr_in6 peer = {};
  socklen_t length = sizeof peer;
  int server = accept(fd, (sockaddr*)&peer, &length);
  char text[INET6_ADDRSTRLEN];
  CHECK_EQ(peer.sin6_family, AF_INET6);
  CHECK(strcmp(inet_ntop(AF_INET6, &peer.sin6_addr, text, sizeof text), "::ffff:127.0.0.1") == 0);
  sockaddr_in6 own = name_of(server);
  CHECK(IN6_IS_ADDR_V4MAPPED(&own.sin6_addr));
  // The port is taken in IPv4 too.
  int other = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in any = address4(INADDR_ANY, port);
  CHECK_ERRNO(bind(other, (sockaddr*)&any, sizeof any), EADDRINUSE);
  for (int each : {fd, client, server, other}) close(each);
}
PROPERTY(v6_only_leaves_the_port_to_ipv4) {
  NEED_IPV6();
  int fd = listener("::", true);
  CHECK(fd >= 0);
  CHECK_EQ(get(fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
  CHECK_ERRNO(set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0), EINVAL);
  uint16_t port = ntohs(name_of(fd).sin6_port);
  int client = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = address4(INADDR_LOOPBACK, port);
  CHECK_ERRNO(connect(client, (sockaddr*)&address, sizeof address), ECONNREFUSED);
  int other = socket(AF_INET, SOCK_STREAM, 0);
  set(other, SOL_SOCKET, SO_REUSEADDR, 1);
  sockaddr_in any = address4(INADDR_ANY, port);
  CHECK_EQ(bind(other, (sockaddr*)&any, sizeof any), 0);
  CHECK_EQ(listen(other, 4), 0);
  close(client);
  client = socket(AF_INET, SOCK_STREAM, 0);
  CHECK_EQ(connect(client, (sockaddr*)&address, sizeof address), 0);
  sockaddr_in6 mapped = address6("::ffff:127.0.0.1", 0);
  int narrow = socket(AF_INET6, SOCK_STREAM, 0);
  set(narrow, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  CHECK_ERRNO(bind(narrow, (sockaddr*)&mapped, sizeof mapped), EINVAL);
  mapped.sin6_port = htons(port);
  CHECK_ERRNO(connect(narrow, (sockaddr*)&mapped, sizeof mapped), ENETUNREACH);
  for (int each : {fd, client, other, narrow}) close(each);
}
PROPERTY(mapped_addresses_reach_ipv4) {
  NEED_IPV6();
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = address4(INADDR_LOOPBACK);
  CHECK_EQ(bind(fd, (sockaddr*)&address, sizeof address), 0);
  CHECK_EQ(listen(fd, 4), 0);
  socklen_t length = sizeof address;
  getsockname(fd, (sockaddr*)&address, &length);
  sockaddr_in6 mapped = address6("::ffff:127.0.0.1", ntohs(address.sin_port));
  int client = socket(AF_INET6, SOCK_STREAM, 0);
  CHECK_EQ(connect(client, (sockaddr*)&mapped, sizeof mapped), 0);
  sockaddr_in peer = {};
  length = sizeof peer;
  int server = accept(fd, (sockaddr*)&peer, &length);
  CHECK_EQ(peer.sin_family, AF_INET);
  CHECK_EQ(length, sizeof peer);
  sockaddr_in6 seen = {};
  length = sizeof seen;
  CHECK_EQ(getpeername(client, (sockaddr*)&seen, &length), 0);
  CHECK(memcmp(&seen.sin6_addr, &mapped.sin6_addr, 16) == 0);
  for (int each : {fd, client, server}) close(each);
}
PROPERTY(addresses_are_checked) {
  NEED_IPV6();
  int fd = socket(AF_INET6, SOCK_STREAM, 0);
  sockaddr_in address = address4(INADDR_LOOPBACK, 1);
  CHECK_ERRNO(bind(fd, (sockaddr*)&address, sizeof address), EINVAL);
  sockaddr_in6 wrong = address6("::1");
  wrong.sin6_family = AF_INET;
  CHECK_ERRNO(bind(fd, (sockaddr*)&wrong, sizeof wrong), EAFNOSUPPORT);
  wrong = address6("2001:db8::77");
  CHECK_ERRNO(bind(fd, (sockaddr*)&wrong, sizeof wrong), EADDRNOTAVAIL);
  wrong = address6("fe80::77", 9);
  CHECK_ERRNO(connect(fd, (sockaddr*)&wrong, sizeof wrong), EINVAL);
  CHECK_ERRNO(bind(fd, (sockaddr*)&wrong, sizeof wrong), EINVAL);
  wrong = address6("::1", 1);
  CHECK_ERRNO(connect(fd, (sockaddr*)&wrong, sizeof wrong), ECONNREFUSED);
  CHECK_EQ(get(fd, SOL_SOCKET, SO_DOMAIN), AF_INET6);
  close(fd);
  CHECK_ERRNO(socket(AF_INET6, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
}
PROPERTY(an_unbound_socket_has_no_name) {
  NEED_IPV6();
  int fd = socket(AF_INET6, SOCK_STREAM, 0);
  sockaddr_in6 own = name_of(fd);
  CHECK_EQ(own.sin6_family, AF_INET6);
  CHECK(IN6_IS_ADDR_UNSPECIFIED(&own.sin6_addr));
  CHECK_EQ(own.sin6_port, 0);
  CHECK_EQ(listen(fd, 1), 0);
  own = name_of(fd);
  CHECK(IN6_IS_ADDR_UNSPECIFIED(&own.sin6_addr) && own.sin6_port != 0);
  close(fd);
}
PROPERTY(datagrams_go_between_families) {
  NEED_IPV6();
  int both = socket(AF_INET6, SOCK_DGRAM, 0);
  sockaddr_in6 any = address6("::");
  CHECK_EQ(bind(both, (sockaddr*)&any, sizeof any), 0);
  uint16_t port = ntohs(name_of(both).sin6_port);
  sockaddr_in6 to = address6("::1", port), from = {};
  int six = socket(AF_INET6, SOCK_DGRAM, 0), four = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK_EQ(sendto(six, "six", 3, 0, (sockaddr*)&to, sizeof to), 3);
  sockaddr_in to4 = address4(INADDR_LOOPBACK, port);
  char text[16];
  socklen_t length = sizeof from;
  CHECK_EQ(recvfrom(both, text, 16, 0, (sockaddr*)&from, &length), 3);
  CHECK(IN6_IS_ADDR_LOOPBACK(&from.sin6_addr));
  CHECK_EQ(sendto(four, "four", 4, 0, (sockaddr*)&to4, sizeof to4), 4);
  length = sizeof from;
  CHECK_EQ(recvfrom(both, text, 16, 0, (sockaddr*)&from, &length), 4);
  CHECK(IN6_IS_ADDR_V4MAPPED(&from.sin6_addr));
  CHECK_EQ(length, sizeof from);
  CHECK_EQ(sendto(both, "back", 4, 0, (sockaddr*)&from, sizeof from), 4);
  CHECK_EQ(recv(four, text, 16, 0), 4);
  for (int each : {both, six, four}) close(each);
}
PROPERTY(large_datagrams_are_joined) {
  NEED_IPV6();
  int fd = socket(AF_INET6, SOCK_DGRAM, 0);
  sockaddr_in6 own = address6("::1");
  CHECK_EQ(bind(fd, (sockaddr*)&own, sizeof own), 0);
  own = name_of(fd);
  static char out[60000], in[65536];
  for (size_t i = 0; i < sizeof out; ++i) out[i] = static_cast<char>(i % 251);
  CHECK_EQ(sendto(fd, out, sizeof out, 0, (sockaddr*)&own, sizeof own), sizeof out);
  CHECK_EQ(recv(fd, in, sizeof in, 0), sizeof out);
  CHECK(memcmp(in, out, sizeof out) == 0);
  CHECK_ERRNO(sendto(fd, in, 65528, 0, (sockaddr*)&own, sizeof own), EMSGSIZE);
  close(fd);
}
PROPERTY(a_refused_datagram_is_told) {
  NEED_IPV6();
  int fd = socket(AF_INET6, SOCK_DGRAM, 0), taken = socket(AF_INET6, SOCK_DGRAM, 0);
  sockaddr_in6 own = address6("::1");
  CHECK_EQ(bind(taken, (sockaddr*)&own, sizeof own), 0);
  own = name_of(taken);
  close(taken);
  CHECK_EQ(connect(fd, (sockaddr*)&own, sizeof own), 0);
  CHECK_EQ(send(fd, "x", 1, 0), 1);
  char byte;
  CHECK_ERRNO(recv(fd, &byte, 1, 0), ECONNREFUSED);
  close(fd);
}
PROPERTY(control_messages_tell_of_a_datagram) {
  NEED_IPV6();
  int fd = socket(AF_INET6, SOCK_DGRAM, 0);
  sockaddr_in6 own = address6("::1");
  CHECK_EQ(bind(fd, (sockaddr*)&own, sizeof own), 0);
  own = name_of(fd);
  CHECK_EQ(set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1), 0);
  CHECK_EQ(set(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1), 0);
  CHECK_EQ(set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1), 0);
  CHECK_EQ(set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 33), 0);
  CHECK_EQ(set(fd, IPPROTO_IPV6, IPV6_TCLASS, 0x28), 0);
  CHECK_EQ(sendto(fd, "x", 1, 0, (sockaddr*)&own, sizeof own), 1);
  char byte, control[256];
  iovec vector = {&byte, 1};
  msghdr message = {};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  CHECK_EQ(recvmsg(fd, &message, 0), 1);
  int found = 0;
  for (cmsghdr* each = CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each)) {
    CHECK_EQ(each->cmsg_level, IPPROTO_IPV6);
    if (each->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info;
      memcpy(&info, CMSG_DATA(each), sizeof info);
      CHECK(IN6_IS_ADDR_LOOPBACK(&info.ipi6_addr));
      CHECK_EQ(info.ipi6_ifindex, if_nametoindex("lo"));
      ++found;
    }
    int value;
    memcpy(&value, CMSG_DATA(each), sizeof value);
    if (each->cmsg_type == IPV6_HOPLIMIT) {
      CHECK_EQ(value, 33);
      ++found;
    }
    if (each->cmsg_type == IPV6_TCLASS) {
      CHECK_EQ(value, 0x28);
      ++found;
    }
  }
  CHECK_EQ(found, 3);
  close(fd);
}
PROPERTY(options_are_kept) {
  NEED_IPV6();
  for (int type : {SOCK_STREAM, SOCK_DGRAM}) {
    int fd = socket(AF_INET6, type, 0);
    CHECK_EQ(get(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS), 64);
    CHECK_EQ(set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 5), 0);
    CHECK_EQ(get(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS), 5);
    CHECK_EQ(set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, -1), 0);
    CHECK_EQ(get(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS), 64);
    CHECK_ERRNO(set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 256), EINVAL);
    CHECK_EQ(set(fd, IPPROTO_IPV6, IPV6_TCLASS, 16), 0);
    CHECK_EQ(get(fd, IPPROTO_IPV6, IPV6_TCLASS), 16);
    CHECK_EQ(get(fd, IPPROTO_IPV6, IPV6_V6ONLY), 0);
    CHECK_ERRNO(set(fd, IPPROTO_IPV6, 12345, 1), ENOPROTOOPT);
    CHECK_EQ(set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO), 0);
    close(fd);
  }
  int fd = socket(AF_INET6, SOCK_DGRAM, 0);
  CHECK_EQ(get(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS), 1);
  CHECK_EQ(set(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 7), 0);
  CHECK_EQ(get(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS), 7);
  CHECK_ERRNO(set(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, 4711), ENODEV);
  close(fd);
  fd = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK_ERRNO(set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1), ENOPROTOOPT);
  close(fd);
}
PROPERTY(groups_are_joined_and_left) {
  NEED_IPV6();
  int fd = socket(AF_INET6, SOCK_DGRAM, 0);
  ipv6_mreq request = {};
  inet_pton(AF_INET6, "ff02::4321", &request.ipv6mr_multiaddr);
  request.ipv6mr_interface = if_nametoindex("lo");
  auto change = [&](int name) {
    return setsockopt(fd, IPPROTO_IPV6, name, &request, sizeof request);
  };
  CHECK_EQ(change(IPV6_JOIN_GROUP), 0);
  CHECK_ERRNO(change(IPV6_JOIN_GROUP), EADDRINUSE);
  CHECK_EQ(change(IPV6_LEAVE_GROUP), 0);
  CHECK_ERRNO(change(IPV6_LEAVE_GROUP), EADDRNOTAVAIL);
  inet_pton(AF_INET6, "::1", &request.ipv6mr_multiaddr);
  CHECK_ERRNO(change(IPV6_JOIN_GROUP), EINVAL);
  close(fd);
}
PROPERTY(interfaces_tell_their_addresses) {
  NEED_IPV6();
  ifaddrs* all = nullptr;
  CHECK_EQ(getifaddrs(&all), 0);
  int loopbacks = 0;
  for (ifaddrs* each = all; each; each = each->ifa_next) {
    if (!each->ifa_addr || each->ifa_addr->sa_family != AF_INET6) continue;
    auto* address = (sockaddr_in6*)each->ifa_addr;
    if (!IN6_IS_ADDR_LOOPBACK(&address->sin6_addr)) continue;
    ++loopbacks;
    CHECK(strcmp(each->ifa_name, "lo") == 0);
    auto* mask = (sockaddr_in6*)each->ifa_netmask;
    CHECK_EQ(mask->sin6_addr.s6_addr[15], 0xff);
  }
  freeifaddrs(all);
  CHECK_EQ(loopbacks, 1);
}
PROPERTY(names_resolve_to_both_families) {
  NEED_IPV6();
  addrinfo hints = {}, *list = nullptr;
  hints.ai_flags = AI_NUMERICHOST;
  hints.ai_socktype = SOCK_STREAM;
  CHECK_EQ(getaddrinfo("::1", "80", &hints, &list), 0);
  CHECK_EQ(list->ai_family, AF_INET6);
  freeaddrinfo(list);
  hints.ai_flags = AI_PASSIVE;
  hints.ai_family = AF_INET6;
  CHECK_EQ(getaddrinfo(nullptr, "0", &hints, &list), 0);
  int fd = socket(list->ai_family, list->ai_socktype, list->ai_protocol);
  CHECK_EQ(bind(fd, list->ai_addr, list->ai_addrlen), 0);
  close(fd);
  freeaddrinfo(list);
}
