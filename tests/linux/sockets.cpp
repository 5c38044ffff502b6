// Sockets over loopback: TCP, UDP, Unix.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

#include "check.hpp"

static sockaddr_in loopback(uint16_t port = 0) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}
static sockaddr_in name_of(int fd) {
  sockaddr_in address = {};
  socklen_t length = sizeof address;
  getsockname(fd, (sockaddr*)&address, &length);
  return address;
}
static int listener(sockaddr_in* address, int backlog = 16) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  *address = loopback();
  if (bind(fd, (sockaddr*)address, sizeof *address) || listen(fd, backlog)) return -1;
  *address = name_of(fd);
  return fd;
}
struct Connection {
  int client = -1, server = -1;
  Connection() {
    sockaddr_in address;
    int fd = listener(&address);
    client = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(client, (sockaddr*)&address, sizeof address) == 0)
      server = accept(fd, nullptr, nullptr);
    close(fd);
  }
  ~Connection() {
    close(client);
    close(server);
  }
};

PROPERTY(tcp_connects_and_carries_bytes) {
  Connection c;
  CHECK(c.server >= 0);
  CHECK_EQ(send(c.client, "ping", 4, 0), 4);
  char text[8] = {};
  CHECK_EQ(recv(c.server, text, 8, 0), 4);
  CHECK(!strcmp(text, "ping"));
  CHECK_EQ(write(c.server, "pong!", 5), 5);
  CHECK_EQ(recv(c.client, text, 5, MSG_WAITALL), 5);
}
PROPERTY(tcp_names_agree) {
  Connection c;
  sockaddr_in peer = {};
  socklen_t length = sizeof peer;
  CHECK_EQ(getpeername(c.server, (sockaddr*)&peer, &length), 0);
  CHECK_EQ(length, sizeof peer);
  CHECK_EQ(peer.sin_port, name_of(c.client).sin_port);
  int fresh = socket(AF_INET, SOCK_STREAM, 0);
  CHECK_ERRNO(getpeername(fresh, (sockaddr*)&peer, &length), ENOTCONN);
  close(fresh);
}
PROPERTY(a_megabyte_arrives_intact) {
  Connection c;
  std::string sent;
  for (int i = 0; i < 1 << 20; ++i) sent += (char)(i * 7 + i / 251);
  std::thread writer([&] {
    for (size_t done = 0; done < sent.size();) {
      ssize_t n = write(c.client, sent.data() + done, sent.size() - done);
      if (n <= 0) break;
      done += (size_t)n;
    }
    shutdown(c.client, SHUT_WR);
  });
  std::string received;
  char buffer[10000];
  ssize_t n;
  while ((n = read(c.server, buffer, sizeof buffer)) > 0) received.append(buffer, (size_t)n);
  writer.join();
  CHECK_EQ(n, 0);
  CHECK(received == sent);
}
PROPERTY(half_close_lets_the_other_way_go_on) {
  Connection c;
  CHECK_EQ(shutdown(c.client, SHUT_WR), 0);
  char text[8];
  CHECK_EQ(read(c.server, text, 8), 0);
  CHECK_EQ(write(c.server, "late", 4), 4);
  CHECK_EQ(read(c.client, text, 8), 4);
  signal(SIGPIPE, SIG_IGN);
  CHECK_ERRNO(write(c.client, "x", 1), EPIPE);
}
PROPERTY(connection_to_nobody_is_refused) {
  sockaddr_in address;
  int fd = listener(&address);
  close(fd);
  fd = socket(AF_INET, SOCK_STREAM, 0);
  CHECK_ERRNO(connect(fd, (sockaddr*)&address, sizeof address), ECONNREFUSED);
  close(fd);
}
PROPERTY(nonblocking_connect_and_accept) {
  sockaddr_in address;
  int fd = listener(&address);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  CHECK_ERRNO(accept(fd, nullptr, nullptr), EAGAIN);
  int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  int result = connect(client, (sockaddr*)&address, sizeof address);
  CHECK(result == 0 || errno == EINPROGRESS);
  pollfd wait = {client, POLLOUT, 0};
  CHECK_EQ(poll(&wait, 1, 5000), 1);
  int error = -1;
  socklen_t length = sizeof error;
  CHECK_EQ(getsockopt(client, SOL_SOCKET, SO_ERROR, &error, &length), 0);
  CHECK_EQ(error, 0);
  wait = {fd, POLLIN, 0};
  CHECK_EQ(poll(&wait, 1, 5000), 1);
  int server = accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  CHECK(server >= 0);
  CHECK_EQ(fcntl(server, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  char byte;
  CHECK_ERRNO(read(server, &byte, 1), EAGAIN);
  close(server);
  close(client);
  close(fd);
}
PROPERTY(an_abortive_close_resets) {
  Connection c;
  linger now = {1, 0};
  CHECK_EQ(setsockopt(c.client, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
  close(c.client);
  c.client = -1;
  char byte;
  CHECK_ERRNO(read(c.server, &byte, 1), ECONNRESET);
}
PROPERTY(peeking_leaves_the_bytes) {
  Connection c;
  CHECK_EQ(send(c.client, "abc", 3, 0), 3);
  char text[4] = {};
  CHECK_EQ(recv(c.server, text, 2, MSG_PEEK), 2);
  CHECK_EQ(recv(c.server, text, 3, 0), 3);
  CHECK(!strcmp(text, "abc"));
  CHECK_ERRNO(recv(c.server, text, 3, MSG_DONTWAIT), EAGAIN);
}
PROPERTY(options_are_kept) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  int value = 1, got = 0;
  socklen_t length = sizeof got;
  CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &value, sizeof value), 0);
  CHECK_EQ(getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &got, &length), 0);
  CHECK_EQ(got, 1);
  CHECK_EQ(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, sizeof value), 0);
  CHECK_EQ(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &got, &length), 0);
  CHECK_EQ(got, 1);
  CHECK_EQ(getsockopt(fd, SOL_SOCKET, SO_TYPE, &got, &length), 0);
  CHECK_EQ(got, SOCK_STREAM);
  value = 20000;
  CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, sizeof value), 0);
  CHECK_EQ(getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &got, &length), 0);
  CHECK_EQ(got, 40000);
  CHECK_ERRNO(setsockopt(fd, SOL_SOCKET, 9999, &value, sizeof value), ENOPROTOOPT);
  CHECK_ERRNO(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &value, 1), EINVAL);
  CHECK_ERRNO(setsockopt(1, SOL_SOCKET, SO_REUSEADDR, &value, sizeof value), ENOTSOCK);
  CHECK_ERRNO(socket(AF_INET, 99, 0), EINVAL);
  CHECK_ERRNO(socket(200, SOCK_STREAM, 0), EAFNOSUPPORT);
  close(fd);
}
PROPERTY(ports_are_exclusive) {
  sockaddr_in address;
  int fd = listener(&address);
  int second = socket(AF_INET, SOCK_STREAM, 0);
  CHECK_ERRNO(bind(second, (sockaddr*)&address, sizeof address), EADDRINUSE);
  sockaddr_in foreign = loopback(1234);
  foreign.sin_addr.s_addr = htonl(0x08080808);
  CHECK_ERRNO(bind(second, (sockaddr*)&foreign, sizeof foreign), EADDRNOTAVAIL);
  CHECK_ERRNO(bind(second, (sockaddr*)&address, 3), EINVAL);
  close(second);
  close(fd);
}
PROPERTY(many_short_connections) {
  sockaddr_in address;
  int fd = listener(&address, 128);
  std::thread server([&] {
    for (int i = 0; i < 200; ++i) {
      int connection = accept(fd, nullptr, nullptr);
      (void)!write(connection, "x", 1);
      close(connection);
    }
  });
  int good = 0;
  for (int i = 0; i < 200; ++i) {
    int client = socket(AF_INET, SOCK_STREAM, 0);
    char text[2];
    if (connect(client, (sockaddr*)&address, sizeof address) == 0 && read(client, text, 2) == 1 &&
        read(client, text, 2) == 0)
      ++good;
    close(client);
  }
  server.join();
  CHECK_EQ(good, 200);
  close(fd);
}
PROPERTY(receive_timeouts_expire) {
  Connection c;
  timeval timeout = {0, 20000};
  CHECK_EQ(setsockopt(c.server, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout), 0);
  char byte;
  CHECK_ERRNO(recv(c.server, &byte, 1, 0), EAGAIN);
}
PROPERTY(udp_keeps_datagrams_apart) {
  int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in address = loopback();
  CHECK_EQ(bind(a, (sockaddr*)&address, sizeof address), 0);
  address = name_of(a);
  CHECK_EQ(sendto(b, "one", 3, 0, (sockaddr*)&address, sizeof address), 3);
  CHECK_EQ(sendto(b, "three", 5, 0, (sockaddr*)&address, sizeof address), 5);
  CHECK_EQ(sendto(b, "", 0, 0, (sockaddr*)&address, sizeof address), 0);
  char text[8] = {};
  sockaddr_in from = {};
  socklen_t length = sizeof from;
  CHECK_EQ(recvfrom(a, text, 8, 0, (sockaddr*)&from, &length), 3);
  CHECK_EQ(from.sin_port, name_of(b).sin_port);
  CHECK_EQ(recv(a, text, 2, MSG_TRUNC), 5);
  CHECK_EQ(recv(a, text, 8, 0), 0);
  CHECK_ERRNO(recv(a, text, 8, MSG_DONTWAIT), EAGAIN);
  close(a);
  close(b);
}
PROPERTY(connected_udp_hears_of_refusals) {
  int probe = socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in address = loopback();
  CHECK_EQ(bind(probe, (sockaddr*)&address, sizeof address), 0);
  address = name_of(probe);
  close(probe);
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK_ERRNO(send(fd, "x", 1, 0), EDESTADDRREQ);
  CHECK_EQ(connect(fd, (sockaddr*)&address, sizeof address), 0);
  CHECK_EQ(send(fd, "x", 1, 0), 1);
  usleep(20000);
  char byte;
  CHECK_ERRNO(recv(fd, &byte, 1, 0), ECONNREFUSED);
  close(fd);
}
PROPERTY(scatter_and_gather_messages) {
  Connection c;
  char a[] = "head", b[] = "body";
  iovec out[] = {{a, 4}, {b, 4}};
  msghdr message = {};
  message.msg_iov = out;
  message.msg_iovlen = 2;
  CHECK_EQ(sendmsg(c.client, &message, 0), 8);
  char x[3] = {}, y[8] = {};
  iovec in[] = {{x, 2}, {y, 7}};
  message.msg_iov = in;
  CHECK_EQ(recvmsg(c.server, &message, MSG_WAITALL & 0), 8);
  CHECK(!strcmp(x, "he") && !strcmp(y, "adbody"));
}
PROPERTY(unix_stream_pairs_talk) {
  int ends[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  CHECK_EQ(write(ends[0], "abc", 3), 3);
  char text[8] = {};
  CHECK_EQ(read(ends[1], text, 8), 3);
  CHECK_EQ(shutdown(ends[0], SHUT_WR), 0);
  CHECK_EQ(read(ends[1], text, 8), 0);
  CHECK_EQ(write(ends[1], "d", 1), 1);
  CHECK_EQ(read(ends[0], text, 8), 1);
  close(ends[1]);
  CHECK_EQ(read(ends[0], text, 8), 0);
  close(ends[0]);
}
PROPERTY(unix_datagrams_and_seqpackets_keep_boundaries) {
  for (int type : {SOCK_DGRAM, SOCK_SEQPACKET}) {
    int ends[2];
    CHECK_EQ(socketpair(AF_UNIX, type, 0, ends), 0);
    CHECK_EQ(write(ends[0], "ab", 2), 2);
    CHECK_EQ(write(ends[0], "cde", 3), 3);
    char text[8];
    CHECK_EQ(read(ends[1], text, 8), 2);
    CHECK_EQ(read(ends[1], text, 8), 3);
    close(ends[0]);
    close(ends[1]);
  }
}
PROPERTY(unix_sockets_have_names_in_the_file_system) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  strcpy(address.sun_path, "/tmp/aril-socket-test");
  unlink(address.sun_path);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK_EQ(bind(fd, (sockaddr*)&address, sizeof address), 0);
  CHECK_EQ(listen(fd, 4), 0);
  int second = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK_ERRNO(bind(second, (sockaddr*)&address, sizeof address), EADDRINUSE);
  CHECK_EQ(connect(second, (sockaddr*)&address, sizeof address), 0);
  int server = accept(fd, nullptr, nullptr);
  CHECK(server >= 0);
  CHECK_EQ(write(second, "x", 1), 1);
  char byte;
  CHECK_EQ(read(server, &byte, 1), 1);
  close(server);
  close(second);
  close(fd);
  int late = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK_ERRNO(connect(late, (sockaddr*)&address, sizeof address), ECONNREFUSED);
  CHECK_EQ(unlink(address.sun_path), 0);
  CHECK_ERRNO(connect(late, (sockaddr*)&address, sizeof address), ENOENT);
  close(late);
}
PROPERTY(descriptors_travel_over_unix_sockets) {
  int ends[2], pipe_ends[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  CHECK_EQ(pipe(pipe_ends), 0);
  char control[CMSG_SPACE(sizeof(int))] = {}, byte = 'f';
  iovec data = {&byte, 1};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &pipe_ends[1], sizeof(int));
  CHECK_EQ(sendmsg(ends[0], &message, 0), 1);
  close(pipe_ends[1]);
  memset(control, 0, sizeof control);
  message.msg_controllen = sizeof control;
  CHECK_EQ(recvmsg(ends[1], &message, 0), 1);
  header = CMSG_FIRSTHDR(&message);
  CHECK(header && header->cmsg_type == SCM_RIGHTS);
  int received;
  memcpy(&received, CMSG_DATA(header), sizeof(int));
  CHECK_EQ(write(received, "through", 7), 7);
  char text[8] = {};
  CHECK_EQ(read(pipe_ends[0], text, 8), 7);
  close(received);
  CHECK_EQ(read(pipe_ends[0], text, 8), 0);
  for (int fd : {ends[0], ends[1], pipe_ends[0]}) close(fd);
}
PROPERTY(credentials_are_the_senders) {
  // Not those of the process that made the socket.
  int pair[2], on = 1;
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  CHECK_EQ(setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
  pid_t child = fork();
  if (child == 0) _exit(write(pair[1], "x", 1) == 1 ? 0 : 1);
  char byte;
  iovec vector{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))];
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  CHECK_EQ(recvmsg(pair[0], &message, 0), 1);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  CHECK(header != nullptr && header->cmsg_type == SCM_CREDENTIALS);
  ucred sender;
  memcpy(&sender, CMSG_DATA(header), sizeof sender);
  CHECK_EQ(sender.pid, child);
  waitpid(child, nullptr, 0);
  close(pair[0]);
  close(pair[1]);
}
PROPERTY(peer_credentials_are_known) {
  int ends[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  ucred credentials;
  socklen_t length = sizeof credentials;
  CHECK_EQ(getsockopt(ends[0], SOL_SOCKET, SO_PEERCRED, &credentials, &length), 0);
  CHECK_EQ(credentials.pid, getpid());
  CHECK_EQ(credentials.uid, getuid());
  close(ends[0]);
  close(ends[1]);
}
PROPERTY(abstract_names_need_no_file) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, "\0aril-abstract", 14);
  socklen_t length = offsetof(sockaddr_un, sun_path) + 14;
  int fd = socket(AF_UNIX, SOCK_DGRAM, 0), client = socket(AF_UNIX, SOCK_DGRAM, 0);
  CHECK_EQ(bind(fd, (sockaddr*)&address, length), 0);
  CHECK_EQ(sendto(client, "hi", 2, 0, (sockaddr*)&address, length), 2);
  char text[4];
  CHECK_EQ(recv(fd, text, 4, 0), 2);
  close(fd);
  close(client);
}
