// What NETLINK_ROUTE tells without being asked: groups by bind() and by NETLINK_ADD_MEMBERSHIP,
// addresses and routes that come and go, and what is lost.
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>
#include <string>

#include "check.hpp"
#include "own_network.hpp"

namespace {

bool is_ready() {
  static const bool answer = [] {
    enter_own_network();
    return geteuid() == 0;
  }();
  return answer;
}
#define NEED_ROOT() \
  if (!is_ready()) return

struct Netlink {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  explicit Netlink(uint32_t groups = 0) {
    sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_pad = 0, .nl_pid = 0, .nl_groups = groups};
    bind(fd, (sockaddr*)&address, sizeof address);
  }
  ~Netlink() { close(fd); }
  sockaddr_nl address() const {
    sockaddr_nl result = {};
    socklen_t length = sizeof result;
    getsockname(fd, (sockaddr*)&result, &length);
    return result;
  }
  int member(int option, int group) const {
    return setsockopt(fd, SOL_NETLINK, option, &group, sizeof group);
  }
  bool is_quiet() const {
    pollfd wanted = {fd, POLLIN, 0};
    return poll(&wanted, 1, 0) == 0;
  }
};

struct Event {
  nlmsghdr header;
  std::string body;
  sockaddr_nl source;
};
/// The next message of a type, within two seconds; others before it are dropped.
std::optional<Event> next(const Netlink& socket, int type) {
  for (int i = 0; i < 100; ++i) {
    pollfd wanted = {socket.fd, POLLIN, 0};
    if (poll(&wanted, 1, 2000) != 1) return std::nullopt;
    char buffer[8192];
    Event event;
    socklen_t length = sizeof event.source;
    ssize_t count =
        recvfrom(socket.fd, buffer, sizeof buffer, 0, (sockaddr*)&event.source, &length);
    if (count < (ssize_t)sizeof event.header) return std::nullopt;
    memcpy(&event.header, buffer, sizeof event.header);
    if (event.header.nlmsg_type != type) continue;
    event.body.assign(buffer + NLMSG_HDRLEN, count - NLMSG_HDRLEN);
    return event;
  }
  return std::nullopt;
}

template <typename Body>
struct Request {
  nlmsghdr header;
  Body body;
  char attributes[128];
};
template <typename Body>
void add(Request<Body>& request, unsigned short type, const void* value, unsigned short size) {
  rtattr attribute = {(unsigned short)RTA_LENGTH(size), type};
  char* at = (char*)&request + NLMSG_ALIGN(request.header.nlmsg_len);
  memcpy(at, &attribute, sizeof attribute);
  memcpy(at + sizeof attribute, value, size);
  request.header.nlmsg_len = NLMSG_ALIGN(request.header.nlmsg_len) + RTA_ALIGN(attribute.rta_len);
}
/// Sends it and waits for the acknowledgement: its error.
template <typename Body>
int change(const Netlink& socket, Request<Body>& request, int type, int flags) {
  request.header.nlmsg_type = type;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
  if (send(socket.fd, &request, request.header.nlmsg_len, 0) < 0) return errno;
  auto answer = next(socket, NLMSG_ERROR);
  int error = -1;
  if (answer) memcpy(&error, answer->body.data(), sizeof error);
  return -error;
}
int change_address(const Netlink& socket, int type, int family, const char* text, int prefix,
                   uint32_t sequence = 0) {
  Request<ifaddrmsg> request = {};
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof request.body);
  request.header.nlmsg_seq = sequence;
  request.body = {(unsigned char)family, (unsigned char)prefix, 0, 0, if_nametoindex("lo")};
  char address[16];
  inet_pton(family, text, address);
  add(request, IFA_LOCAL, address, family == AF_INET ? 4 : 16);
  return change(socket, request, type, type == RTM_NEWADDR ? NLM_F_CREATE | NLM_F_EXCL : 0);
}
int change_route(const Netlink& socket, int type, int family, const char* text, int prefix) {
  Request<rtmsg> request = {};
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof request.body);
  request.body.rtm_family = family;
  request.body.rtm_dst_len = prefix;
  request.body.rtm_table = RT_TABLE_MAIN;
  request.body.rtm_protocol = RTPROT_BOOT;
  request.body.rtm_scope = family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  request.body.rtm_type = RTN_UNICAST;
  char address[16];
  inet_pton(family, text, address);
  int index = if_nametoindex("lo");
  add(request, RTA_DST, address, family == AF_INET ? 4 : 16);
  add(request, RTA_OIF, &index, sizeof index);
  return change(socket, request, type, type == RTM_NEWROUTE ? NLM_F_CREATE | NLM_F_EXCL : 0);
}
/// The bytes of an address are somewhere in the message.
bool names(const Event& event, int family, const char* text) {
  char address[16];
  inet_pton(family, text, address);
  return event.body.find(std::string(address, family == AF_INET ? 4 : 16)) != std::string::npos;
}
constexpr uint32_t bit(int group) { return 1u << (group - 1); }

}  // namespace

PROPERTY(bind_names_groups) {
  NEED_ROOT();
  Netlink socket(RTMGRP_LINK | RTMGRP_IPV4_IFADDR);
  CHECK_EQ(socket.address().nl_groups, uint32_t(RTMGRP_LINK | RTMGRP_IPV4_IFADDR));
  CHECK_EQ(socket.member(NETLINK_ADD_MEMBERSHIP, RTNLGRP_IPV4_ROUTE), 0);
  CHECK_EQ(socket.member(NETLINK_DROP_MEMBERSHIP, RTNLGRP_LINK), 0);
  CHECK_EQ(socket.address().nl_groups, uint32_t(RTMGRP_IPV4_ROUTE | RTMGRP_IPV4_IFADDR));
  CHECK_EQ(socket.member(NETLINK_ADD_MEMBERSHIP, 0), -1);
  CHECK_EQ(errno, EINVAL);
  CHECK_EQ(socket.member(NETLINK_ADD_MEMBERSHIP, 1000), -1);
  CHECK_EQ(errno, EINVAL);
}
PROPERTY(addresses_come_and_go) {
  NEED_ROOT();
  Netlink listener(RTMGRP_IPV4_IFADDR), other(RTMGRP_IPV6_IFADDR), actor;
  CHECK_EQ(change_address(actor, RTM_NEWADDR, AF_INET, "10.9.8.7", 32, 77), 0);
  auto event = next(listener, RTM_NEWADDR);
  CHECK(event && names(*event, AF_INET, "10.9.8.7"));
  CHECK_EQ(event->header.nlmsg_flags & NLM_F_MULTI, 0);
  CHECK_EQ(event->header.nlmsg_seq, 77u);
  CHECK_EQ(event->header.nlmsg_pid, actor.address().nl_pid);
  CHECK_EQ(event->source.nl_pid, 0u);
  CHECK_EQ(event->source.nl_groups, bit(RTNLGRP_IPV4_IFADDR));
  CHECK_EQ(change_address(actor, RTM_DELADDR, AF_INET, "10.9.8.7", 32), 0);
  event = next(listener, RTM_DELADDR);
  CHECK(event && names(*event, AF_INET, "10.9.8.7"));
  CHECK(other.is_quiet());
}
PROPERTY(ipv6_addresses_come_and_go) {
  NEED_ROOT();
  Netlink listener(RTMGRP_IPV6_IFADDR), actor;
  if (change_address(actor, RTM_NEWADDR, AF_INET6, "fd00:9::7", 128) != 0) return;  // no IPv6
  auto event = next(listener, RTM_NEWADDR);
  CHECK(event && names(*event, AF_INET6, "fd00:9::7"));
  CHECK_EQ(change_address(actor, RTM_DELADDR, AF_INET6, "fd00:9::7", 128), 0);
  event = next(listener, RTM_DELADDR);
  CHECK(event && names(*event, AF_INET6, "fd00:9::7"));
}
PROPERTY(routes_come_and_go) {
  NEED_ROOT();
  Netlink listener, actor;
  CHECK_EQ(listener.member(NETLINK_ADD_MEMBERSHIP, RTNLGRP_IPV4_ROUTE), 0);
  CHECK_EQ(listener.member(NETLINK_ADD_MEMBERSHIP, RTNLGRP_IPV6_ROUTE), 0);
  CHECK_EQ(change_route(actor, RTM_NEWROUTE, AF_INET, "192.0.2.0", 24), 0);
  auto event = next(listener, RTM_NEWROUTE);
  CHECK(event && names(*event, AF_INET, "192.0.2.0"));
  CHECK_EQ(change_route(actor, RTM_DELROUTE, AF_INET, "192.0.2.0", 24), 0);
  event = next(listener, RTM_DELROUTE);
  CHECK(event && names(*event, AF_INET, "192.0.2.0"));
  if (change_route(actor, RTM_NEWROUTE, AF_INET6, "2001:db8:7::", 48) != 0) return;  // no IPv6
  event = next(listener, RTM_NEWROUTE);
  CHECK(event && names(*event, AF_INET6, "2001:db8:7::"));
  CHECK_EQ(change_route(actor, RTM_DELROUTE, AF_INET6, "2001:db8:7::", 48), 0);
  event = next(listener, RTM_DELROUTE);
  CHECK(event && names(*event, AF_INET6, "2001:db8:7::"));
}
PROPERTY(who_asks_is_told_before_the_outcome) {
  NEED_ROOT();
  Netlink actor(RTMGRP_IPV4_IFADDR);
  Request<ifaddrmsg> request = {};
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof request.body);
  request.header.nlmsg_type = RTM_NEWADDR;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
  request.body = {AF_INET, 32, 0, 0, if_nametoindex("lo")};
  in_addr address = {htonl(0x0a090806)};
  add(request, IFA_LOCAL, &address, sizeof address);
  CHECK(send(actor.fd, &request, request.header.nlmsg_len, 0) > 0);
  CHECK(next(actor, RTM_NEWADDR).has_value());
  CHECK(next(actor, NLMSG_ERROR).has_value());
  CHECK_EQ(change_address(actor, RTM_DELADDR, AF_INET, "10.9.8.6", 32), 0);
}
PROPERTY(leaving_a_group_ends_its_messages) {
  NEED_ROOT();
  Netlink listener(RTMGRP_IPV4_IFADDR), actor;
  CHECK_EQ(listener.member(NETLINK_DROP_MEMBERSHIP, RTNLGRP_IPV4_IFADDR), 0);
  CHECK_EQ(change_address(actor, RTM_NEWADDR, AF_INET, "10.9.8.5", 32), 0);
  CHECK_EQ(change_address(actor, RTM_DELADDR, AF_INET, "10.9.8.5", 32), 0);
  CHECK(listener.is_quiet());
}
PROPERTY(what_is_not_read_is_lost_and_told) {
  NEED_ROOT();
  Netlink listener(RTMGRP_IPV4_IFADDR), actor;
  int size = 1;  // the least there is
  setsockopt(listener.fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  for (int i = 0; i < 700; ++i) {
    CHECK_EQ(change_address(actor, RTM_NEWADDR, AF_INET, "10.9.8.4", 32), 0);
    CHECK_EQ(change_address(actor, RTM_DELADDR, AF_INET, "10.9.8.4", 32), 0);
  }
  int losses = 0, messages = 0;
  while (!listener.is_quiet() && messages < 2000) {
    char buffer[1024];
    if (recv(listener.fd, buffer, sizeof buffer, MSG_DONTWAIT) >= 0) {
      ++messages;
    } else if (errno == ENOBUFS) {
      ++losses;
    } else {
      break;
    }
  }
  CHECK_EQ(losses, 1);
  CHECK(messages > 0 && messages < 1400);
  CHECK_EQ(change_address(actor, RTM_NEWADDR, AF_INET, "10.9.8.4", 32), 0);
  CHECK(next(listener, RTM_NEWADDR).has_value());
  CHECK_EQ(change_address(actor, RTM_DELADDR, AF_INET, "10.9.8.4", 32), 0);
}
