// TCP fast open over loopback [RFC 7413]: options, cookies, data in the SYN, counters.
// On Linux in a network namespace of its own; where none can be made, every property passes
// untried. options: --net user
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "check.hpp"
#include "own_network.hpp"

static const char kMode[] = "/proc/sys/net/ipv4/tcp_fastopen";
static const char kKey[] = "/proc/sys/net/ipv4/tcp_fastopen_key";

static std::string read_text(const char* path) {
  char buffer[16384];
  std::string text;
  int fd = open(path, O_RDONLY);
  for (ssize_t count; (count = read(fd, buffer, sizeof buffer)) > 0;) text.append(buffer, count);
  close(fd);
  return text;
}
static bool write_text(const char* path, const char* text) {
  int fd = open(path, O_WRONLY);
  bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
  close(fd);
  return written;
}
static bool has_fast_open() {
  static const bool answer = [] {
    enter_own_network();
    return write_text(kMode, "3\n") && read_text(kMode) == "3\n";
  }();
  return answer;
}
#define NEED_FAST_OPEN() \
  if (!has_fast_open()) return

static int set(int fd, int name, int value) {
  return setsockopt(fd, IPPROTO_TCP, name, &value, sizeof value);
}
static int get(int fd, int name) {
  int value = -1000;
  socklen_t length = sizeof value;
  return getsockopt(fd, IPPROTO_TCP, name, &value, &length) == 0 ? value : -1000;
}
static tcp_info info_of(int fd) {
  tcp_info info = {};
  socklen_t length = sizeof info;
  getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length);
  return info;
}
static long counter(const char* name) {
  std::string text = read_text("/proc/net/netstat");
  size_t values = text.find("\nTcpExt: ");
  size_t names = text.find("TcpExt: ");
  if (names == values + 1) return -1;
  size_t end = text.find('\n', names);
  std::string header = text.substr(names, end - names), row = text.substr(end + 1);
  size_t at = header.find(std::string(" ") + name + " ");
  if (at == std::string::npos) at = header.rfind(std::string(" ") + name);
  if (at == std::string::npos) return -1;
  size_t column = 0;
  for (size_t i = 0; i < at; ++i) column += header[i] == ' ';
  size_t cursor = 0;
  for (size_t i = 0; i <= column; ++i) cursor = row.find(' ', cursor) + 1;
  return strtol(row.c_str() + cursor, nullptr, 10);
}

struct Server {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  explicit Server(int queue = 5) {
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    bind(fd, (sockaddr*)&address, length);
    getsockname(fd, (sockaddr*)&address, &length);
    listen(fd, 8);
    if (queue != 0) set(fd, TCP_FASTOPEN, queue);
  }
  ~Server() { close(fd); }
  ssize_t send(int client, const char* text, int flags = 0) const {
    return sendto(client, text, strlen(text), MSG_FASTOPEN | flags, (const sockaddr*)&address,
                  sizeof address);
  }
  int accept() const {
    pollfd wanted = {fd, POLLIN, 0};
    return poll(&wanted, 1, 5000) == 1 ? ::accept(fd, nullptr, nullptr) : -1;
  }
};
static int stream(int flags = 0) { return socket(AF_INET, SOCK_STREAM | flags, 0); }
static std::string receive(int fd) {
  char buffer[256];
  ssize_t count = recv(fd, buffer, sizeof buffer, 0);
  return std::string(buffer, count < 0 ? 0 : count);
}
// A connection that brings a cookie for loopback.
static bool learn_cookie() {
  Server server;
  int client = stream();
  bool sent = server.send(client, "first") == 5;
  int accepted = server.accept();
  close(accepted);
  close(client);
  return sent;
}

PROPERTY(the_default_is_the_clients_side) {
  // Before has_fast_open() changes it.
  CHECK(read_text(kMode) == "1\n");
}

PROPERTY(options_have_values) {
  NEED_FAST_OPEN();
  int fd = stream();
  CHECK_EQ(get(fd, TCP_FASTOPEN), 0);
  CHECK_EQ(set(fd, TCP_FASTOPEN, 7), 0);
  CHECK_EQ(get(fd, TCP_FASTOPEN), 7);
  CHECK_ERRNO(set(fd, TCP_FASTOPEN, -1), EINVAL);
  CHECK_EQ(get(fd, TCP_FASTOPEN_CONNECT), 0);
  CHECK_EQ(set(fd, TCP_FASTOPEN_CONNECT, 1), 0);
  CHECK_EQ(get(fd, TCP_FASTOPEN_CONNECT), 1);
  CHECK_ERRNO(set(fd, TCP_FASTOPEN_CONNECT, 2), EINVAL);
  CHECK_EQ(set(fd, TCP_FASTOPEN_NO_COOKIE, 1), 0);
  CHECK_EQ(get(fd, TCP_FASTOPEN_NO_COOKIE), 1);
  close(fd);
}

PROPERTY(keys_are_of_one_or_two_times_sixteen_bytes) {
  NEED_FAST_OPEN();
  Server server;
  char key[32], got[40];
  for (int i = 0; i < 32; ++i) key[i] = (char)i;
  CHECK_EQ(setsockopt(server.fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, 32), 0);
  socklen_t length = sizeof got;
  CHECK_EQ(getsockopt(server.fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, got, &length), 0);
  CHECK_EQ(length, 32);
  CHECK(memcmp(key, got, 32) == 0);
  CHECK_EQ(setsockopt(server.fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, 16), 0);
  length = sizeof got;
  CHECK_EQ(getsockopt(server.fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, got, &length), 0);
  CHECK_EQ(length, 16);
  CHECK_ERRNO(setsockopt(server.fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, 15), EINVAL);
}

PROPERTY(the_key_of_all_is_a_file) {
  NEED_FAST_OPEN();
  CHECK(write_text(kKey, "01020304-05060708-090a0b0c-0d0e0f10\n"));
  CHECK(read_text(kKey) == "01020304-05060708-090a0b0c-0d0e0f10\n");
  CHECK(write_text(kKey,
                   "01020304-05060708-090a0b0c-0d0e0f10,00000001-00000002-00000003-00000004\n"));
  CHECK(read_text(kKey) ==
        "01020304-05060708-090a0b0c-0d0e0f10,00000001-00000002-00000003-00000004\n");
  CHECK(!write_text(kKey, "01020304-05060708-090a0b0c\n"));
  CHECK(!write_text(kKey, "no key\n"));
}

PROPERTY(the_first_connection_brings_a_cookie_and_the_next_uses_it) {
  NEED_FAST_OPEN();
  Server server;
  long active = counter("TCPFastOpenActive"), passive = counter("TCPFastOpenPassive");
  CHECK(active >= 0 && passive >= 0);
  for (bool fast : {false, true}) {
    int client = stream();
    CHECK_EQ(server.send(client, "request"), 7);
    int accepted = server.accept();
    CHECK(accepted >= 0);
    CHECK(receive(accepted) == "request");
    CHECK_EQ(send(accepted, "answer", 6, 0), 6);
    CHECK(receive(client) == "answer");
    CHECK_EQ((info_of(client).tcpi_options & TCPI_OPT_SYN_DATA) != 0, fast);
    CHECK_EQ((info_of(accepted).tcpi_options & TCPI_OPT_SYN_DATA) != 0, fast);
    CHECK_EQ(counter("TCPFastOpenActive") - active, fast);
    CHECK_EQ(counter("TCPFastOpenPassive") - passive, fast);
    close(accepted);
    CHECK(receive(client).empty());
    close(client);
  }
}

PROPERTY(without_a_cookie_a_send_that_may_not_wait_is_in_progress) {
  NEED_FAST_OPEN();
  // Cookies are of addresses: another one of loopback has none yet.
  Server server;
  server.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
  int other = stream();
  CHECK_EQ(bind(other, (sockaddr*)&server.address, sizeof server.address), 0);
  CHECK_EQ(listen(other, 8), 0);
  CHECK_EQ(set(other, TCP_FASTOPEN, 5), 0);
  int client = stream(SOCK_NONBLOCK);
  CHECK_ERRNO(server.send(client, "early"), EINPROGRESS);
  pollfd wanted = {client, POLLOUT, 0};
  CHECK_EQ(poll(&wanted, 1, 5000), 1);
  CHECK_EQ(send(client, "later", 5, 0), 5);
  int accepted = accept(other, nullptr, nullptr);
  CHECK(receive(accepted) == "later");
  close(accepted);
  close(client);
  client = stream(SOCK_NONBLOCK);
  CHECK_EQ(server.send(client, "early"), 5);
  accepted = accept(other, nullptr, nullptr);
  CHECK(receive(accepted) == "early");
  close(accepted);
  close(client);
  close(other);
}

PROPERTY(connect_waits_for_the_first_data) {
  NEED_FAST_OPEN();
  CHECK(learn_cookie());
  Server server;
  int client = stream();
  CHECK_EQ(set(client, TCP_FASTOPEN_CONNECT, 1), 0);
  CHECK_EQ(connect(client, (sockaddr*)&server.address, sizeof server.address), 0);
  pollfd wanted = {server.fd, POLLIN, 0};
  CHECK_EQ(poll(&wanted, 1, 50), 0);
  pollfd writable = {client, POLLOUT, 0};
  CHECK_EQ(poll(&writable, 1, 0), 1);
  CHECK_EQ(writable.revents, POLLOUT);
  fcntl(client, F_SETFL, O_NONBLOCK);
  CHECK_ERRNO(connect(client, (sockaddr*)&server.address, sizeof server.address), EISCONN);
  fcntl(client, F_SETFL, 0);
  CHECK_EQ(write(client, "hello", 5), 5);
  int accepted = server.accept();
  CHECK(receive(accepted) == "hello");
  CHECK((info_of(client).tcpi_options & TCPI_OPT_SYN_DATA) != 0);
  CHECK_EQ(write(client, "more", 4), 4);
  CHECK(receive(accepted) == "more");
  close(accepted);
  close(client);
}

PROPERTY(a_long_message_goes_on_behind_the_syn) {
  NEED_FAST_OPEN();
  CHECK(learn_cookie());
  Server server;
  int client = stream();
  std::string text(100000, 'x');
  CHECK_EQ(server.send(client, text.c_str()), 100000);
  int accepted = server.accept();
  size_t total = 0;
  while (total < text.size()) {
    std::string part = receive(accepted);
    CHECK(!part.empty());
    total += part.size();
  }
  CHECK_EQ(total, 100000);
  close(accepted);
  close(client);
}

PROPERTY(a_listener_without_the_option_gets_the_data_after_the_handshake) {
  NEED_FAST_OPEN();
  CHECK(learn_cookie());
  Server server(0);
  int client = stream();
  CHECK_EQ(server.send(client, "data"), 4);
  int accepted = server.accept();
  CHECK(receive(accepted) == "data");
  CHECK((info_of(client).tcpi_options & TCPI_OPT_SYN_DATA) == 0);
  close(accepted);
  close(client);
}

PROPERTY(nobody_listening_refuses) {
  NEED_FAST_OPEN();
  CHECK(learn_cookie());
  sockaddr_in address;
  {
    Server server;
    address = server.address;
  }
  int client = stream();
  CHECK_ERRNO(sendto(client, "x", 1, MSG_FASTOPEN, (sockaddr*)&address, sizeof address),
              ECONNREFUSED);
  close(client);
}

PROPERTY(connected_sockets_refuse_another) {
  NEED_FAST_OPEN();
  Server server;
  int client = stream();
  CHECK_EQ(server.send(client, "one"), 3);
  CHECK_ERRNO(server.send(client, "two"), EISCONN);
  close(client);
}

PROPERTY(the_clients_side_can_be_off) {
  NEED_FAST_OPEN();
  CHECK(write_text(kMode, "2\n"));
  Server server;
  int client = stream();
  CHECK_ERRNO(server.send(client, "one"), EOPNOTSUPP);
  CHECK_ERRNO(set(client, TCP_FASTOPEN_CONNECT, 1), EOPNOTSUPP);
  CHECK(write_text(kMode, "3\n"));
  CHECK_EQ(server.send(client, "one"), 3);
  close(client);
}
