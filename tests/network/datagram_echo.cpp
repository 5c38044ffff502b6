// Sends COUNT datagrams back that come to port 7000, by IPv4 or IPv6: `datagram_echo COUNT`.
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>

int main(int, char** words) {
  static char data[65536];
  const int receiver = socket(AF_INET6, SOCK_DGRAM, 0);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(7000);
  if (bind(receiver, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    std::perror("bind");
    return 1;
  }
  std::puts("ready");
  std::fflush(stdout);
  for (int left = std::atoi(words[1]); left > 0; --left) {
    socklen_t length = sizeof address;
    auto* sender = reinterpret_cast<sockaddr*>(&address);
    const ssize_t size = recvfrom(receiver, data, sizeof data, 0, sender, &length);
    if (size < 0 || sendto(receiver, data, static_cast<size_t>(size), 0, sender, length) != size) {
      std::perror("echo");
      return 1;
    }
  }
  return 0;
}
