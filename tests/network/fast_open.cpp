// The machine's end of TCP fast open, as tests/network/fast_open.py is Linux's.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>

namespace {

constexpr int kPort = 77, kConnections = 3;

void report(int connection) {
  tcp_info info = {};
  socklen_t length = sizeof info;
  getsockopt(connection, IPPROTO_TCP, TCP_INFO, &info, &length);
  std::printf("syn data %d\n", (info.tcpi_options & TCPI_OPT_SYN_DATA) != 0);
}

int serve() {
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(kPort);
  int queue = 5;
  if (bind(listener, (sockaddr*)&address, sizeof address) != 0 || listen(listener, 8) != 0 ||
      setsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN, &queue, sizeof queue) != 0)
    return 1;
  std::puts("ready");
  for (int i = 0; i < kConnections; ++i) {
    int connection = accept(listener, nullptr, nullptr);
    char text[100];
    ssize_t count = recv(connection, text, sizeof text, 0);
    if (count <= 0) return 2;
    std::string answer = "answer to " + std::string(text, count);
    if (send(connection, answer.data(), answer.size(), 0) != (ssize_t)answer.size()) return 3;
    report(connection);
    close(connection);
  }
  return 0;
}

int ask(const char* server) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(kPort);
  inet_pton(AF_INET, server, &address.sin_addr);
  for (int i = 0; i < kConnections; ++i) {
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    if (sendto(connection, "question", 8, MSG_FASTOPEN, (sockaddr*)&address, sizeof address) != 8)
      return 4;
    std::string answer;
    char text[100];
    for (ssize_t count; (count = recv(connection, text, sizeof text, 0)) > 0;)
      answer.append(text, count);
    if (answer != "answer to question") return 5;
    report(connection);
    close(connection);
  }
  return 0;
}

}  // namespace

int main(int, char** arguments) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  int mode = open("/proc/sys/net/ipv4/tcp_fastopen", O_WRONLY);
  if (write(mode, "3\n", 2) != 2) return 6;
  close(mode);
  return std::strcmp(arguments[1], "serve") == 0 ? serve() : ask(arguments[2]);
}
