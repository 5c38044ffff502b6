// NETLINK_SOCK_DIAG: filters that the kernel runs, and Unix sockets, as `ss` asks [sock_diag(7)].
// options: --net user
#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "check.hpp"

namespace {

ino_t inode_of(int fd) {
  struct stat status = {};
  fstat(fd, &status);
  return status.st_ino;
}

template <typename T>
std::string bytes(const T& value) {
  return std::string((const char*)&value, sizeof value);
}

/// The bodies of what answers one request; `error` when it is refused.
std::vector<std::string> ask(const std::string& body, int flags, int& error) {
  int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
  nlmsghdr header = {(uint32_t)(sizeof header + body.size()), SOCK_DIAG_BY_FAMILY,
                     (uint16_t)(NLM_F_REQUEST | flags), 1, 0};
  std::string message = bytes(header) + body;
  send(fd, message.data(), message.size(), 0);
  std::vector<std::string> answers;
  static char buffer[65536];
  error = 0;
  for (bool more = true; more;) {
    ssize_t count = recv(fd, buffer, sizeof buffer, 0);
    if (count <= 0) break;
    auto left = (unsigned)count;
    for (auto* part = (nlmsghdr*)buffer; NLMSG_OK(part, left); part = NLMSG_NEXT(part, left)) {
      if (part->nlmsg_type == NLMSG_ERROR) error = -((nlmsgerr*)NLMSG_DATA(part))->error;
      if ((part->nlmsg_flags & NLM_F_MULTI) == 0 || part->nlmsg_type == NLMSG_DONE) more = false;
      if (part->nlmsg_type == SOCK_DIAG_BY_FAMILY)
        answers.emplace_back((char*)NLMSG_DATA(part), NLMSG_PAYLOAD(part, 0));
    }
  }
  close(fd);
  return answers;
}

std::string operation(int code, int yes, int no) {
  return bytes(inet_diag_bc_op{(uint8_t)code, (uint8_t)yes, (uint16_t)no});
}
std::string port(int number) { return operation(0, 0, number); }
std::string host(int family, int prefix, int number, const char* text) {
  char address[16];
  inet_pton(family, text, address);
  struct {
    uint8_t family, prefix;
    uint16_t padding;
    int port;
  } condition = {(uint8_t)family, (uint8_t)prefix, 0, number};
  return bytes(condition) + std::string(address, family == AF_INET ? 4 : 16);
}

struct Listener {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  uint16_t number;
  Listener() {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    bind(fd, (sockaddr*)&address, length);
    listen(fd, 1);
    getsockname(fd, (sockaddr*)&address, &length);
    number = ntohs(address.sin_port);
  }
  ~Listener() { close(fd); }
};

/// Which of the listeners (a bit each) the filter lets through; -errno when it is refused.
int filtered(const std::vector<const Listener*>& listeners, const std::string& program) {
  inet_diag_req_v2 request = {};
  request.sdiag_family = AF_INET;
  request.sdiag_protocol = IPPROTO_TCP;
  request.idiag_states = 1u << 10;
  rtattr attribute = {(unsigned short)RTA_LENGTH(program.size()), INET_DIAG_REQ_BYTECODE};
  int error, found = 0;
  for (const std::string& body :
       ask(bytes(request) + bytes(attribute) + program, NLM_F_DUMP, error)) {
    auto* message = (const inet_diag_msg*)body.data();
    for (size_t i = 0; i < listeners.size(); ++i)
      if (message->idiag_inode == inode_of(listeners[i]->fd)) found |= 1 << i;
  }
  return error != 0 ? -error : found;
}

struct UnixEntry {
  unix_diag_msg message;
  std::string attributes[8];
  bool has[8];
};
std::vector<UnixEntry> unix_sockets(ino_t inode, unsigned states = ~0u, int flags = NLM_F_DUMP,
                                    int* refused = nullptr) {
  unix_diag_req request = {};
  request.sdiag_family = AF_UNIX;
  request.udiag_states = states;
  request.udiag_ino = flags == 0 ? inode : 0;
  request.udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN | UDIAG_SHOW_UID;
  request.udiag_cookie[0] = request.udiag_cookie[1] = ~0u;
  int error;
  std::vector<UnixEntry> found;
  for (const std::string& body : ask(bytes(request), flags, error)) {
    UnixEntry entry = {};
    memcpy(&entry.message, body.data(), sizeof entry.message);
    if (entry.message.udiag_ino != inode) continue;
    int size = (int)(body.size() - sizeof entry.message);
    for (auto* attribute = (rtattr*)(body.data() + sizeof entry.message); RTA_OK(attribute, size);
         attribute = RTA_NEXT(attribute, size))
      if (attribute->rta_type < 8) {
        entry.has[attribute->rta_type] = true;
        entry.attributes[attribute->rta_type] =
            std::string((char*)RTA_DATA(attribute), RTA_PAYLOAD(attribute));
      }
    found.push_back(entry);
  }
  if (refused != nullptr) *refused = error;
  return found;
}
uint32_t number(const std::string& value, size_t index = 0) {
  uint32_t result = 0;
  if (value.size() >= 4 * (index + 1)) memcpy(&result, value.data() + 4 * index, 4);
  return result;
}

}  // namespace

PROPERTY(ports_are_compared) {
  Listener a, b;
  std::vector<const Listener*> both = {&a, &b};
  int is_a = 1 << 0, is_b = 1 << 1;
  CHECK_EQ(filtered(both, operation(INET_DIAG_BC_S_EQ, 8, 12) + port(a.number)), is_a);
  CHECK_EQ(filtered(both, operation(INET_DIAG_BC_D_EQ, 8, 12) + port(a.number)), 0);
  CHECK_EQ(filtered(both, operation(INET_DIAG_BC_D_EQ, 8, 12) + port(0)), is_a | is_b);
  int low = std::min(a.number, b.number), high = std::max(a.number, b.number);
  CHECK_EQ(filtered(both, operation(INET_DIAG_BC_S_GE, 8, 12) + port(high)),
           high == a.number ? is_a : is_b);
  CHECK_EQ(filtered(both, operation(INET_DIAG_BC_S_LE, 8, 12) + port(low)),
           low == a.number ? is_a : is_b);
  CHECK_EQ(filtered(both, operation(INET_DIAG_BC_NOP, 4, 4)), is_a | is_b);
  // Not a: when it is, past the end.
  CHECK_EQ(filtered(both, operation(INET_DIAG_BC_S_EQ, 8, 12) + port(a.number) +
                              operation(INET_DIAG_BC_JMP, 4, 8)),
           is_b);
  // a or b: when it is a, over the question about b.
  CHECK_EQ(filtered(both, operation(INET_DIAG_BC_S_EQ, 8, 12) + port(a.number) +
                              operation(INET_DIAG_BC_JMP, 4, 12) +
                              operation(INET_DIAG_BC_S_EQ, 8, 12) + port(b.number)),
           is_a | is_b);
}
PROPERTY(hosts_are_compared) {
  Listener a, b;
  std::vector<const Listener*> both = {&a, &b};
  auto ask_for = [&](int code, const std::string& condition) {
    int length = 4 + (int)condition.size();
    return filtered(both, operation(code, length, length + 4) + condition);
  };
  CHECK_EQ(ask_for(INET_DIAG_BC_S_COND, host(AF_INET, 32, -1, "127.0.0.1")), 3);
  CHECK_EQ(ask_for(INET_DIAG_BC_S_COND, host(AF_INET, 32, a.number, "127.0.0.1")), 1);
  CHECK_EQ(ask_for(INET_DIAG_BC_S_COND, host(AF_INET, 32, -1, "127.0.0.2")), 0);
  CHECK_EQ(ask_for(INET_DIAG_BC_S_COND, host(AF_INET, 30, -1, "127.0.0.2")), 3);
  CHECK_EQ(ask_for(INET_DIAG_BC_D_COND, host(AF_INET, 32, -1, "127.0.0.1")), 0);
  CHECK_EQ(ask_for(INET_DIAG_BC_S_COND, host(AF_INET6, 128, -1, "::1")), 0);
  CHECK_EQ(ask_for(INET_DIAG_BC_S_COND, host(AF_INET, 33, -1, "127.0.0.1")), -EINVAL);
}
PROPERTY(bad_programs_are_refused) {
  CHECK_EQ(filtered({}, ""), -EINVAL);
  CHECK_EQ(filtered({}, operation(99, 4, 8)), -EINVAL);
  CHECK_EQ(filtered({}, operation(INET_DIAG_BC_JMP, 4, 0)), -EINVAL);
  CHECK_EQ(filtered({}, operation(INET_DIAG_BC_JMP, 4, 12)), -EINVAL);
  CHECK_EQ(filtered({}, operation(INET_DIAG_BC_JMP, 3, 8)), -EINVAL);
  CHECK_EQ(filtered({}, operation(INET_DIAG_BC_S_EQ, 8, 12)), -EINVAL);
  CHECK_EQ(filtered({}, operation(INET_DIAG_BC_S_COND, 8, 12) + port(1)), -EINVAL);
  // Into the middle of an operation.
  CHECK_EQ(filtered({}, operation(INET_DIAG_BC_JMP, 4, 8) + operation(INET_DIAG_BC_S_EQ, 8, 12) +
                            port(1)),
           -EINVAL);
}
PROPERTY(unix_pairs_know_their_peers) {
  int pair[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  CHECK_EQ(write(pair[0], "hello", 5), 5);
  auto found = unix_sockets(inode_of(pair[1]));
  CHECK_EQ(found.size(), 1u);
  CHECK_EQ(found[0].message.udiag_family, AF_UNIX);
  CHECK_EQ(found[0].message.udiag_type, SOCK_STREAM);
  CHECK_EQ(found[0].message.udiag_state, 1);
  CHECK_EQ(number(found[0].attributes[UNIX_DIAG_PEER]), inode_of(pair[0]));
  CHECK_EQ(number(found[0].attributes[UNIX_DIAG_RQLEN]), 5u);
  CHECK(!found[0].has[UNIX_DIAG_NAME]);
  CHECK_EQ(number(found[0].attributes[UNIX_DIAG_UID]), geteuid());
  CHECK_EQ(found[0].attributes[UNIX_DIAG_SHUTDOWN][0], 0);
  CHECK_EQ(unix_sockets(inode_of(pair[1]), 1u << 10).size(), 0u);
  CHECK_EQ(unix_sockets(inode_of(pair[1]), ~0u, 0).size(), 1u);
  close(pair[0]);
  found = unix_sockets(inode_of(pair[1]));
  CHECK_EQ(found.size(), 1u);
  CHECK(number(found[0].attributes[UNIX_DIAG_PEER]) == 0);
  close(pair[1]);
}
PROPERTY(unix_listeners_have_names_and_queues) {
  sockaddr_un address = {AF_UNIX, {}};
  snprintf(address.sun_path + 1, 100, "socket-lists-%d", (int)getpid());
  std::string name(address.sun_path, 1 + strlen(address.sun_path + 1));
  socklen_t length = offsetof(sockaddr_un, sun_path) + name.size();
  int listener = socket(AF_UNIX, SOCK_SEQPACKET, 0), client = socket(AF_UNIX, SOCK_SEQPACKET, 0);
  CHECK_EQ(bind(listener, (sockaddr*)&address, length), 0);
  CHECK_EQ(unix_sockets(inode_of(listener))[0].message.udiag_state, 7);
  CHECK_EQ(listen(listener, 5), 0);
  CHECK_EQ(connect(client, (sockaddr*)&address, length), 0);
  auto found = unix_sockets(inode_of(listener), 1u << 10);
  CHECK_EQ(found.size(), 1u);
  CHECK_EQ(found[0].message.udiag_type, SOCK_SEQPACKET);
  CHECK(found[0].attributes[UNIX_DIAG_NAME] == name);
  CHECK_EQ(number(found[0].attributes[UNIX_DIAG_RQLEN]), 1u);
  CHECK_EQ(number(found[0].attributes[UNIX_DIAG_RQLEN], 1), 5u);
  close(client);
  close(listener);
  std::string path = "/tmp/socket-lists-" + std::to_string(getpid());
  sockaddr_un file = {AF_UNIX, {}};
  strcpy(file.sun_path, path.c_str());
  int datagrams = socket(AF_UNIX, SOCK_DGRAM, 0);
  CHECK_EQ(bind(datagrams, (sockaddr*)&file, sizeof file), 0);
  found = unix_sockets(inode_of(datagrams));
  CHECK_EQ(found.size(), 1u);
  CHECK(found[0].attributes[UNIX_DIAG_NAME] == path + '\0');
  unlink(path.c_str());
  ino_t gone = inode_of(datagrams);
  close(datagrams);
  CHECK_EQ(unix_sockets(gone).size(), 0u);
  int error;
  unix_sockets(gone, ~0u, 0, &error);
  CHECK_EQ(error, ENOENT);
  unix_sockets(0, ~0u, 0, &error);
  CHECK_EQ(error, EINVAL);
}
