// Groups by source, over loopback: IP_ADD_SOURCE_MEMBERSHIP and its like, IP_MSFILTER, and the
// same for either family [RFC 3678].
// Where the machine has no ::1, or no groups over loopback (a container), IPv6's properties pass
// untried.
// options: --net user
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <unistd.h>

#include <initializer_list>

#include "check.hpp"
#include "own_network.hpp"

#ifndef IPV6_MULTICAST_ALL
#define IPV6_MULTICAST_ALL 29
#endif

constexpr uint16_t kPort = 5353;
constexpr const char* kGroup = "239.1.2.3";
constexpr const char* kGroup6 = "ff02::4321";

static in_addr address(const char* text) {
  in_addr result = {};
  inet_pton(AF_INET, text, &result);
  return result;
}
static sockaddr_storage name_of(const char* text, uint16_t port = 0) {
  sockaddr_storage result = {};
  if (strchr(text, ':') != nullptr) {
    auto* six = (sockaddr_in6*)&result;
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    six->sin6_scope_id = if_nametoindex("lo");
    inet_pton(AF_INET6, text, &six->sin6_addr);
  } else {
    auto* four = (sockaddr_in*)&result;
    four->sin_family = AF_INET;
    four->sin_port = htons(port);
    four->sin_addr = address(text);
  }
  return result;
}
static socklen_t length_of(const sockaddr_storage& name) {
  return name.ss_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
}

/// A socket that hears nothing but its own groups.
static int listener(int family, uint16_t port = kPort) {
  int fd = socket(family, SOCK_DGRAM, 0);
  int on = 1, off = 0;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (family == AF_INET6) {
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, &off, sizeof off);
  } else {
    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_ALL, &off, sizeof off);
  }
  sockaddr_storage name = name_of(family == AF_INET6 ? "::" : "0.0.0.0", port);
  bind(fd, (sockaddr*)&name, length_of(name));
  return fd;
}
static void say(const char* from, const char* group) {
  sockaddr_storage own = name_of(from), to = name_of(group, kPort);
  int fd = socket(own.ss_family, SOCK_DGRAM, 0);
  bind(fd, (sockaddr*)&own, length_of(own));
  ip_mreqn link = {};
  link.imr_ifindex = (int)if_nametoindex("lo");
  if (own.ss_family == AF_INET) {
    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &link, sizeof link);
  }
  sendto(fd, "x", 1, 0, (sockaddr*)&to, length_of(to));
  close(fd);
}
/// Loopback delivers before sendto() returns, so what has not come will not.
static bool hears(int fd, const char* from, const char* group = kGroup) {
  say(from, group);
  char byte;
  return recv(fd, &byte, 1, MSG_DONTWAIT) == 1;
}
static int source_option(int fd, int name, const char* source, const char* group = kGroup) {
  ip_mreq_source request = {};
  request.imr_multiaddr = address(group);
  request.imr_interface = address("127.0.0.1");
  request.imr_sourceaddr = address(source);
  return setsockopt(fd, IPPROTO_IP, name, &request, sizeof request);
}
static int any_option(int fd, int level, int name, const char* group, const char* source) {
  group_source_req request = {};
  request.gsr_interface = if_nametoindex("lo");
  request.gsr_group = name_of(group);
  request.gsr_source = name_of(source);
  return setsockopt(fd, level, name, &request, sizeof request);
}
static int join(int fd) {
  ip_mreqn request = {};
  request.imr_multiaddr = address(kGroup);
  request.imr_ifindex = (int)if_nametoindex("lo");
  return setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request);
}
/// A network of this process's own, whose loopback carries groups of IPv6 too: Linux wants a route.
static const bool own_network = [] {
  enter_own_network();
  struct {
    nlmsghdr head;
    rtmsg route;
    rtattr destination_head;
    in6_addr destination;
    rtattr link_head;
    uint32_t link;
  } request = {};
  request.head.nlmsg_len = sizeof request;
  request.head.nlmsg_type = RTM_NEWROUTE;
  request.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE;
  request.route.rtm_family = AF_INET6;
  request.route.rtm_dst_len = 8;
  request.route.rtm_table = RT_TABLE_LOCAL;
  request.route.rtm_protocol = RTPROT_BOOT;
  request.route.rtm_scope = RT_SCOPE_UNIVERSE;
  request.route.rtm_type = RTN_LOCAL;
  request.destination_head = {sizeof(rtattr) + sizeof(in6_addr), RTA_DST};
  inet_pton(AF_INET6, "ff00::", &request.destination);
  request.link_head = {sizeof(rtattr) + sizeof(uint32_t), RTA_OIF};
  request.link = if_nametoindex("lo");
  int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  send(fd, &request, sizeof request, 0);
  close(fd);
  return true;
}();
static bool has_ipv6() {
  static const bool answer = [] {
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    sockaddr_storage name = name_of("::1");
    sockaddr_storage group = name_of(kGroup6, kPort);
    bool is_there = fd >= 0 && bind(fd, (sockaddr*)&name, length_of(name)) == 0 &&
                    connect(fd, (sockaddr*)&group, length_of(group)) == 0;
    close(fd);
    return is_there;
  }();
  return answer;
}
static bool file_has(const char* path, const char* text) {
  char content[8192] = {};
  int fd = open(path, O_RDONLY);
  read(fd, content, sizeof content - 1);
  close(fd);
  return strstr(content, text) != nullptr;
}

PROPERTY(only_joined_sources_are_heard) {
  int fd = listener(AF_INET);
  CHECK_EQ(source_option(fd, IP_ADD_SOURCE_MEMBERSHIP, "127.0.0.5"), 0);
  CHECK_ERRNO(source_option(fd, IP_ADD_SOURCE_MEMBERSHIP, "127.0.0.5"), EADDRNOTAVAIL);
  CHECK(hears(fd, "127.0.0.5"));
  CHECK(!hears(fd, "127.0.0.6"));
  CHECK_EQ(source_option(fd, IP_ADD_SOURCE_MEMBERSHIP, "127.0.0.6"), 0);
  CHECK(hears(fd, "127.0.0.6"));
  CHECK_EQ(source_option(fd, IP_DROP_SOURCE_MEMBERSHIP, "127.0.0.5"), 0);
  CHECK(!hears(fd, "127.0.0.5"));
  CHECK_ERRNO(source_option(fd, IP_DROP_SOURCE_MEMBERSHIP, "127.0.0.5"), EADDRNOTAVAIL);
  // The last one ends the membership.
  CHECK_EQ(source_option(fd, IP_DROP_SOURCE_MEMBERSHIP, "127.0.0.6"), 0);
  CHECK(!hears(fd, "127.0.0.6"));
  CHECK_ERRNO(source_option(fd, IP_DROP_SOURCE_MEMBERSHIP, "127.0.0.6"), EINVAL);
  close(fd);
}
PROPERTY(blocked_sources_are_not_heard) {
  int fd = listener(AF_INET);
  CHECK_ERRNO(source_option(fd, IP_BLOCK_SOURCE, "127.0.0.5"), EINVAL);
  CHECK_EQ(join(fd), 0);
  CHECK_EQ(source_option(fd, IP_BLOCK_SOURCE, "127.0.0.5"), 0);
  CHECK_ERRNO(source_option(fd, IP_BLOCK_SOURCE, "127.0.0.5"), EADDRNOTAVAIL);
  CHECK(!hears(fd, "127.0.0.5"));
  CHECK(hears(fd, "127.0.0.6"));
  CHECK_ERRNO(source_option(fd, IP_ADD_SOURCE_MEMBERSHIP, "127.0.0.7"), EINVAL);
  CHECK_ERRNO(source_option(fd, IP_UNBLOCK_SOURCE, "127.0.0.6"), EADDRNOTAVAIL);
  CHECK_EQ(source_option(fd, IP_UNBLOCK_SOURCE, "127.0.0.5"), 0);
  CHECK(hears(fd, "127.0.0.5"));
  close(fd);
  // A filter that has named nobody may change its mode.
  fd = listener(AF_INET);
  CHECK_EQ(join(fd), 0);
  CHECK_EQ(source_option(fd, IP_ADD_SOURCE_MEMBERSHIP, "127.0.0.7"), 0);
  CHECK(hears(fd, "127.0.0.7"));
  CHECK(!hears(fd, "127.0.0.5"));
  CHECK_ERRNO(join(fd), EADDRINUSE);
  close(fd);
}
PROPERTY(each_socket_has_its_filter) {
  int first = listener(AF_INET), second = listener(AF_INET);
  CHECK_EQ(source_option(first, IP_ADD_SOURCE_MEMBERSHIP, "127.0.0.5"), 0);
  CHECK_EQ(join(second), 0);
  CHECK_EQ(source_option(second, IP_BLOCK_SOURCE, "127.0.0.5"), 0);
  CHECK(hears(first, "127.0.0.5"));
  CHECK(!hears(first, "127.0.0.6"));
  char byte;
  CHECK_EQ(recv(second, &byte, 1, MSG_DONTWAIT), 1);
  CHECK_ERRNO(recv(second, &byte, 1, MSG_DONTWAIT), EAGAIN);
  CHECK(file_has("/proc/net/mcfilter", " 0xef010203 0x7f000005      1      1\n"));
  close(first);
  close(second);
  CHECK(!file_has("/proc/net/mcfilter", "0xef010203"));
}
PROPERTY(filters_are_set_and_read_whole) {
  struct {
    ip_msfilter head;
    in_addr more[3];
  } filter = {};
  int fd = listener(AF_INET);
  auto set = [&](uint32_t mode, std::initializer_list<const char*> sources) {
    memset(&filter, 0, sizeof filter);
    filter.head.imsf_multiaddr = address(kGroup);
    filter.head.imsf_interface = address("127.0.0.1");
    filter.head.imsf_fmode = mode;
    for (const char* source : sources)
      filter.head.imsf_slist[filter.head.imsf_numsrc++] = address(source);
    return setsockopt(fd, IPPROTO_IP, IP_MSFILTER, &filter,
                      IP_MSFILTER_SIZE(filter.head.imsf_numsrc));
  };
  CHECK_ERRNO(set(MCAST_EXCLUDE, {"127.0.0.5"}), EINVAL);
  CHECK_EQ(join(fd), 0);
  CHECK_EQ(set(MCAST_INCLUDE, {"127.0.0.5", "127.0.0.6"}), 0);
  CHECK(hears(fd, "127.0.0.6"));
  CHECK(!hears(fd, "127.0.0.7"));
  filter.head.imsf_fmode = 7;
  filter.head.imsf_numsrc = 1;  // room for one
  memset(filter.head.imsf_slist, 0, 8);
  socklen_t length = sizeof filter;
  CHECK_EQ(getsockopt(fd, IPPROTO_IP, IP_MSFILTER, &filter, &length), 0);
  CHECK_EQ(filter.head.imsf_fmode, uint32_t(MCAST_INCLUDE));
  CHECK_EQ(filter.head.imsf_numsrc, 2u);
  CHECK_EQ(length, socklen_t(IP_MSFILTER_SIZE(1)));
  CHECK_EQ(filter.head.imsf_slist[0].s_addr, address("127.0.0.5").s_addr);
  CHECK_ERRNO(set(5, {"127.0.0.5"}), EINVAL);
  CHECK_EQ(set(MCAST_EXCLUDE, {"127.0.0.5"}), 0);
  CHECK(!hears(fd, "127.0.0.5"));
  CHECK(hears(fd, "127.0.0.7"));
  CHECK_EQ(set(MCAST_INCLUDE, {}), 0);  // to hear nobody is to leave
  CHECK_EQ(join(fd), 0);
  close(fd);
}
PROPERTY(too_many_sources_are_refused) {
  int fd = listener(AF_INET);
  char text[20];
  for (int i = 0; i < 10; ++i) {
    snprintf(text, sizeof text, "127.0.0.%d", 20 + i);
    CHECK_EQ(source_option(fd, IP_ADD_SOURCE_MEMBERSHIP, text), 0);
  }
  CHECK_ERRNO(source_option(fd, IP_ADD_SOURCE_MEMBERSHIP, "127.0.0.99"), ENOBUFS);
  close(fd);
}
PROPERTY(either_family_has_the_same_options) {
  int fd = listener(AF_INET);
  CHECK_EQ(any_option(fd, IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP, kGroup, "127.0.0.5"), 0);
  CHECK(hears(fd, "127.0.0.5"));
  CHECK(!hears(fd, "127.0.0.6"));
  CHECK_EQ(any_option(fd, IPPROTO_IP, MCAST_LEAVE_SOURCE_GROUP, kGroup, "127.0.0.5"), 0);
  CHECK(!hears(fd, "127.0.0.5"));
  CHECK_ERRNO(any_option(fd, IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP, kGroup, "::1"), EADDRNOTAVAIL);
  CHECK_ERRNO(any_option(fd, IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP, "10.0.0.1", "127.0.0.5"), EINVAL);
  close(fd);
}
PROPERTY(sources_of_ipv6_groups) {
  if (!has_ipv6()) return;
  int fd = listener(AF_INET6);
  auto option = [&](int name, const char* source) {
    return any_option(fd, IPPROTO_IPV6, name, kGroup6, source);
  };
  CHECK_EQ(option(MCAST_JOIN_SOURCE_GROUP, "fd00::5"), 0);
  CHECK(!hears(fd, "::1", kGroup6));
  CHECK_EQ(option(MCAST_JOIN_SOURCE_GROUP, "::1"), 0);
  CHECK(hears(fd, "::1", kGroup6));
  CHECK_ERRNO(option(MCAST_BLOCK_SOURCE, "::1"), EINVAL);
  CHECK_EQ(option(MCAST_LEAVE_SOURCE_GROUP, "::1"), 0);
  CHECK(!hears(fd, "::1", kGroup6));
  CHECK_EQ(option(MCAST_LEAVE_SOURCE_GROUP, "fd00::5"), 0);
  group_req request = {};
  request.gr_interface = if_nametoindex("lo");
  request.gr_group = name_of(kGroup6);
  CHECK_EQ(setsockopt(fd, IPPROTO_IPV6, MCAST_JOIN_GROUP, &request, sizeof request), 0);
  CHECK(hears(fd, "::1", kGroup6));
  CHECK_EQ(option(MCAST_BLOCK_SOURCE, "::1"), 0);
  CHECK(!hears(fd, "::1", kGroup6));
  // All at once, and back.
  struct {
    group_filter head;
    sockaddr_storage more[2];
  } filter = {};
  filter.head.gf_interface = request.gr_interface;
  filter.head.gf_group = request.gr_group;
  filter.head.gf_fmode = MCAST_INCLUDE;
  filter.head.gf_numsrc = 2;
  filter.head.gf_slist[0] = name_of("fd00::5");
  filter.head.gf_slist[1] = name_of("::1");
  CHECK_EQ(setsockopt(fd, IPPROTO_IPV6, MCAST_MSFILTER, &filter, GROUP_FILTER_SIZE(2)), 0);
  CHECK(hears(fd, "::1", kGroup6));
  filter.head.gf_fmode = MCAST_EXCLUDE;
  memset(filter.head.gf_slist, 0, sizeof(sockaddr_storage) * 2);
  socklen_t length = sizeof filter;
  CHECK_EQ(getsockopt(fd, IPPROTO_IPV6, MCAST_MSFILTER, &filter, &length), 0);
  CHECK_EQ(filter.head.gf_fmode, uint32_t(MCAST_INCLUDE));
  CHECK_EQ(filter.head.gf_numsrc, 2u);
  auto* second = (sockaddr_in6*)&filter.head.gf_slist[1];
  CHECK(IN6_IS_ADDR_LOOPBACK(&second->sin6_addr));
  CHECK(file_has("/proc/net/mcfilter6", "fd000000000000000000000000000005"));
  close(fd);
}
PROPERTY(groups_of_others_are_heard_unless_refused) {
  int member = listener(AF_INET, kPort + 1), other = listener(AF_INET), on = 1;
  CHECK_EQ(join(member), 0);
  CHECK(!hears(other, "127.0.0.5"));
  CHECK_EQ(setsockopt(other, IPPROTO_IP, IP_MULTICAST_ALL, &on, sizeof on), 0);
  CHECK(hears(other, "127.0.0.5"));
  // Also beside groups of its own.
  ip_mreqn request = {};
  request.imr_multiaddr = address("239.1.2.4");
  request.imr_ifindex = (int)if_nametoindex("lo");
  CHECK_EQ(setsockopt(other, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request), 0);
  CHECK(hears(other, "127.0.0.5"));
  close(member);
  close(other);
  if (!has_ipv6()) return;
  member = listener(AF_INET6, kPort + 1), other = listener(AF_INET6);
  CHECK_EQ(any_option(member, IPPROTO_IPV6, MCAST_JOIN_SOURCE_GROUP, kGroup6, "::1"), 0);
  CHECK(!hears(other, "::1", kGroup6));
  CHECK_EQ(setsockopt(other, IPPROTO_IPV6, IPV6_MULTICAST_ALL, &on, sizeof on), 0);
  CHECK(hears(other, "::1", kGroup6));
  close(member);
  close(other);
}
