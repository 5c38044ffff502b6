// NETLINK_SOCK_DIAG over loopback, as `ss` uses it [sock_diag(7)].
// options: --net user
#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "check.hpp"

namespace {

constexpr unsigned kEstablished = 1, kTimeWait = 6, kClose = 7, kListen = 10;

struct Entry {
  inet_diag_msg message;
  std::string attributes[16];
};

struct Diag {
  int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
  int error = 0;
  bool done = false;
  ~Diag() { close(fd); }

  std::vector<Entry> ask(inet_diag_req_v2 request, int flags = NLM_F_DUMP) {
    struct {
      nlmsghdr header;
      inet_diag_req_v2 request;
    } message = {{sizeof message, SOCK_DIAG_BY_FAMILY, (uint16_t)(NLM_F_REQUEST | flags), 7, 0},
                 request};
    std::vector<Entry> entries;
    error = 0;
    done = false;
    if (send(fd, &message, sizeof message, 0) != sizeof message) return entries;
    static char buffer[65536];
    for (bool more = true; more;) {
      ssize_t count = recv(fd, buffer, sizeof buffer, 0);
      if (count <= 0) break;
      auto left = (unsigned)count;
      for (auto* header = (nlmsghdr*)buffer; NLMSG_OK(header, left);
           header = NLMSG_NEXT(header, left)) {
        if (header->nlmsg_type == NLMSG_DONE)
          done = true, more = false, error = -*(int*)NLMSG_DATA(header);
        if (header->nlmsg_type == NLMSG_ERROR)
          error = -((nlmsgerr*)NLMSG_DATA(header))->error, more = false;
        if ((header->nlmsg_flags & NLM_F_MULTI) == 0) more = false;
        if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY || header->nlmsg_seq != 7) continue;
        Entry entry;
        auto* body = (inet_diag_msg*)NLMSG_DATA(header);
        entry.message = *body;
        int size = (int)NLMSG_PAYLOAD(header, sizeof *body);
        for (auto* attribute = (rtattr*)(body + 1); RTA_OK(attribute, size);
             attribute = RTA_NEXT(attribute, size))
          if (attribute->rta_type < 16)
            entry.attributes[attribute->rta_type] =
                std::string((char*)RTA_DATA(attribute), RTA_PAYLOAD(attribute));
        entries.push_back(entry);
      }
    }
    return entries;
  }
  // Those with this local port.
  std::vector<Entry> at(uint16_t port, uint8_t family, uint8_t protocol, unsigned states = ~0u,
                        uint8_t extensions = 0) {
    std::vector<Entry> found;
    inet_diag_req_v2 request = {};
    request.sdiag_family = family;
    request.sdiag_protocol = protocol;
    request.idiag_states = states;
    request.idiag_ext = extensions;
    for (const Entry& entry : ask(request))
      if (ntohs(entry.message.id.idiag_sport) == port) found.push_back(entry);
    return found;
  }
};

ino_t inode_of(int fd) {
  struct stat status = {};
  fstat(fd, &status);
  return status.st_ino;
}

struct Pair {
  int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0), server;
  sockaddr_in address = {};
  uint16_t client_port;
  Pair() {
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    bind(listener, (sockaddr*)&address, length);
    getsockname(listener, (sockaddr*)&address, &length);
    listen(listener, 5);
    connect(client, (sockaddr*)&address, length);
    server = accept(listener, nullptr, nullptr);
    sockaddr_in own = {};
    getsockname(client, (sockaddr*)&own, &length);
    client_port = ntohs(own.sin_port);
  }
  uint16_t port() const { return ntohs(address.sin_port); }
  ~Pair() {
    close(client);
    close(server);
    close(listener);
  }
};

}  // namespace

PROPERTY(listeners_are_listed_with_their_inode) {
  Pair pair;
  Diag diag;
  auto found = diag.at(pair.port(), AF_INET, IPPROTO_TCP, 1u << kListen);
  CHECK(diag.done);
  CHECK_EQ(found.size(), 1);
  const inet_diag_msg& message = found[0].message;
  CHECK_EQ(message.idiag_family, AF_INET);
  CHECK_EQ(message.idiag_state, kListen);
  CHECK_EQ(message.id.idiag_src[0], htonl(INADDR_LOOPBACK));
  CHECK_EQ(message.id.idiag_dst[0], 0);
  CHECK_EQ(message.id.idiag_dport, 0);
  CHECK_EQ(message.idiag_inode, inode_of(pair.listener));
  CHECK_EQ(message.idiag_uid, getuid());
  CHECK_EQ(message.idiag_rqueue, 0);
  CHECK_EQ(message.idiag_wqueue, 5);
}

PROPERTY(connections_are_listed_from_both_ends) {
  Pair pair;
  Diag diag;
  auto client = diag.at(pair.client_port, AF_INET, IPPROTO_TCP, 1u << kEstablished);
  CHECK_EQ(client.size(), 1);
  CHECK_EQ(client[0].message.idiag_inode, inode_of(pair.client));
  CHECK_EQ(ntohs(client[0].message.id.idiag_dport), pair.port());
  CHECK_EQ(send(pair.client, "hello", 5, 0), 5);
  char byte;
  CHECK_EQ(recv(pair.server, &byte, 1, MSG_PEEK), 1);
  auto server = diag.at(pair.port(), AF_INET, IPPROTO_TCP, 1u << kEstablished);
  CHECK_EQ(server.size(), 1);
  CHECK_EQ(server[0].message.idiag_inode, inode_of(pair.server));
  CHECK_EQ(server[0].message.idiag_rqueue, 5);
  CHECK_EQ(server[0].message.id.idiag_src[0], htonl(INADDR_LOOPBACK));
}

PROPERTY(what_waits_for_accept_is_counted) {
  Pair pair;
  int client = socket(AF_INET, SOCK_STREAM, 0);
  CHECK_EQ(connect(client, (sockaddr*)&pair.address, sizeof pair.address), 0);
  Diag diag;
  auto found = diag.at(pair.port(), AF_INET, IPPROTO_TCP, 1u << kListen);
  CHECK_EQ(found.size(), 1);
  CHECK_EQ(found[0].message.idiag_rqueue, 1);
  close(client);
}

PROPERTY(time_wait_has_a_timer) {
  uint16_t port;
  {
    Pair pair;
    port = pair.client_port;
    shutdown(pair.client, SHUT_WR);
    char byte;
    CHECK_EQ(recv(pair.server, &byte, 1, 0), 0);
    shutdown(pair.server, SHUT_WR);
    CHECK_EQ(recv(pair.client, &byte, 1, 0), 0);
  }
  Diag diag;
  auto found = diag.at(port, AF_INET, IPPROTO_TCP, 1u << kTimeWait);
  CHECK_EQ(found.size(), 1);
  CHECK_EQ(found[0].message.idiag_timer, 3);
  CHECK_EQ(found[0].message.idiag_inode, 0);
  CHECK(found[0].message.idiag_expires > 30000 && found[0].message.idiag_expires <= 61000);
}

PROPERTY(extensions_come_when_they_are_asked_for) {
  Pair pair;
  Diag diag;
  auto plain = diag.at(pair.client_port, AF_INET, IPPROTO_TCP, 1u << kEstablished);
  CHECK_EQ(plain.size(), 1);
  CHECK(plain[0].attributes[INET_DIAG_INFO].empty());
  CHECK(plain[0].attributes[INET_DIAG_CONG].empty());
  auto full = diag.at(pair.client_port, AF_INET, IPPROTO_TCP, 1u << kEstablished,
                      1 << (INET_DIAG_INFO - 1) | 1 << (INET_DIAG_CONG - 1) |
                          1 << (INET_DIAG_MEMINFO - 1) | 1 << (INET_DIAG_SKMEMINFO - 1));
  CHECK_EQ(full.size(), 1);
  CHECK(full[0].attributes[INET_DIAG_INFO].size() >= sizeof(tcp_info));
  tcp_info info;
  memcpy(&info, full[0].attributes[INET_DIAG_INFO].data(), sizeof info);
  CHECK_EQ(info.tcpi_state, kEstablished);
  char congestion[16] = {};
  socklen_t length = sizeof congestion;
  getsockopt(pair.client, IPPROTO_TCP, TCP_CONGESTION, congestion, &length);
  CHECK(full[0].attributes[INET_DIAG_CONG].c_str() == std::string(congestion));
  CHECK_EQ(full[0].attributes[INET_DIAG_MEMINFO].size(), 16);
  CHECK_EQ(full[0].attributes[INET_DIAG_SKMEMINFO].size(), 36);
}

PROPERTY(shutdowns_are_told) {
  Pair pair;
  Diag diag;
  shutdown(pair.client, SHUT_WR);
  auto found = diag.at(pair.client_port, AF_INET, IPPROTO_TCP);
  CHECK_EQ(found.size(), 1);
  CHECK_EQ(found[0].attributes[INET_DIAG_SHUTDOWN].size(), 1);
  CHECK_EQ(found[0].attributes[INET_DIAG_SHUTDOWN][0] & 2, 2);
}

PROPERTY(the_states_that_are_asked_for_are_listed) {
  Pair pair;
  Diag diag;
  CHECK_EQ(diag.at(pair.port(), AF_INET, IPPROTO_TCP, 1u << kTimeWait).size(), 0);
  CHECK_EQ(diag.at(pair.port(), AF_INET, IPPROTO_TCP, 1u << kListen | 1u << kEstablished).size(),
           2);
  CHECK_EQ(diag.at(pair.port(), AF_INET6, IPPROTO_TCP).size(), 0);
  CHECK_EQ(diag.at(pair.port(), AF_INET, IPPROTO_UDP).size(), 0);
}

PROPERTY(one_socket_is_found_by_its_ends) {
  Pair pair;
  Diag diag;
  auto listed = diag.at(pair.client_port, AF_INET, IPPROTO_TCP, 1u << kEstablished);
  CHECK_EQ(listed.size(), 1);
  inet_diag_req_v2 request = {};
  request.sdiag_family = AF_INET;
  request.sdiag_protocol = IPPROTO_TCP;
  request.id = listed[0].message.id;
  request.id.idiag_cookie[0] = request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  auto found = diag.ask(request, 0);
  CHECK_EQ(found.size(), 1);
  CHECK_EQ(found[0].message.idiag_inode, inode_of(pair.client));
  request.id.idiag_dport = htons(1);
  CHECK_EQ(diag.ask(request, 0).size(), 0);
  CHECK_EQ(diag.error, ENOENT);
}

PROPERTY(datagram_sockets_are_listed) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  CHECK_EQ(bind(fd, (sockaddr*)&address, length), 0);
  getsockname(fd, (sockaddr*)&address, &length);
  Diag diag;
  auto found = diag.at(ntohs(address.sin_port), AF_INET, IPPROTO_UDP, 1u << kClose);
  CHECK_EQ(found.size(), 1);
  CHECK_EQ(found[0].message.idiag_inode, inode_of(fd));
  CHECK_EQ(connect(fd, (sockaddr*)&address, length), 0);
  CHECK_EQ(diag.at(ntohs(address.sin_port), AF_INET, IPPROTO_UDP, 1u << kClose).size(), 0);
  found = diag.at(ntohs(address.sin_port), AF_INET, IPPROTO_UDP, 1u << kEstablished);
  CHECK_EQ(found.size(), 1);
  CHECK_EQ(found[0].message.id.idiag_dport, address.sin_port);
  close(fd);
}

PROPERTY(many_sockets_come_in_several_messages) {
  constexpr int kCount = 300;
  int fds[kCount];
  for (int& fd : fds) {
    fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_EQ(listen(fd, 1), 0);
  }
  Diag diag;
  inet_diag_req_v2 request = {};
  request.sdiag_family = AF_INET;
  request.sdiag_protocol = IPPROTO_TCP;
  request.idiag_states = 1u << kListen;
  size_t found = 0;
  for (const Entry& entry : diag.ask(request))
    for (int fd : fds) found += entry.message.idiag_inode == inode_of(fd);
  CHECK(diag.done);
  CHECK_EQ(found, kCount);
  for (int fd : fds) close(fd);
}

PROPERTY(bad_requests_are_refused) {
  Diag diag;
  inet_diag_req_v2 request = {};
  request.sdiag_family = AF_INET;
  request.sdiag_protocol = 200;
  diag.ask(request);
  CHECK_EQ(diag.error, ENOENT);
  diag.ask(request, 0);
  CHECK_EQ(diag.error, ENOENT);
  nlmsghdr header = {sizeof header, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 7, 0};
  CHECK_EQ(send(diag.fd, &header, sizeof header, 0), sizeof header);
  char buffer[256];
  CHECK(recv(diag.fd, buffer, sizeof buffer, 0) > 0);
  CHECK_EQ(((nlmsghdr*)buffer)->nlmsg_type, NLMSG_ERROR);
  CHECK_EQ(((nlmsgerr*)NLMSG_DATA((nlmsghdr*)buffer))->error, -EINVAL);
}
