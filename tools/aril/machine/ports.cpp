#include "machine/ports.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "support/error.hpp"
#include "support/file.hpp"

namespace aril::tool {

namespace {

/// Binds as QEMU will; 0 or the error.
int try_bind(Protocol protocol, const std::string& address, uint16_t port, uint16_t* bound) {
  const int type = protocol == Protocol::kUdp ? SOCK_DGRAM : SOCK_STREAM;
  const Descriptor fd(socket(AF_INET, type | SOCK_CLOEXEC, 0));
  if (!fd) return errno;
  // As QEMU does: connections in TIME_WAIT do not count.
  const int on = 1;
  if (protocol == Protocol::kTcp) setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in name = {};
  name.sin_family = AF_INET;
  name.sin_port = htons(port);
  inet_pton(AF_INET, address.c_str(), &name.sin_addr);
  auto* generic = reinterpret_cast<sockaddr*>(&name);  // as the sockets interface wants it
  if (bind(fd.get(), generic, sizeof name) != 0) return errno;
  if (protocol == Protocol::kTcp && listen(fd.get(), 1) != 0) return errno;
  socklen_t size = sizeof name;
  getsockname(fd.get(), generic, &size);
  if (bound != nullptr) *bound = ntohs(name.sin_port);
  return 0;
}

/// As try_bind, for a port that may be free soon: of an instance that has just ended, passt lets go
/// of it a moment later.
int try_bind_patiently(const PortForward& port) {
  constexpr std::chrono::milliseconds kPatience{1000}, kStep{5};
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    const int error = try_bind(port.protocol, port.address, port.host, nullptr);
    if (error != EADDRINUSE || std::chrono::steady_clock::now() >= deadline) return error;
    std::this_thread::sleep_for(kStep);
  }
}

}  // namespace

void check_ports(const std::vector<PortForward>& ports) {
  for (size_t i = 0; i < ports.size(); ++i) {
    const PortForward& port = ports[i];
    for (size_t j = 0; j < i; ++j) {
      if (ports[j].host == port.host && ports[j].protocol == port.protocol &&
          ports[j].address == port.address) {
        throw Error(std::format("port {} is forwarded twice", port.host));
      }
    }
    const int error = try_bind_patiently(port);
    const char* protocol = port.protocol == Protocol::kUdp ? "UDP" : "TCP";
    if (error == EADDRINUSE) {
      throw Error(
          std::format("{} port {} of {} is already taken", protocol, port.host, port.address),
          std::format("choose another one: --port OTHER:{}", port.guest));
    }
    if (error == EACCES) {
      throw Error(std::format("{} port {} may only be opened by root", protocol, port.host),
                  std::format("choose one from 1024 on: --port OTHER:{}", port.guest));
    }
    if (error != 0) {
      fail_with_errno(std::format("{} port {} of {}", protocol, port.host, port.address), error);
    }
  }
}

uint16_t free_port(uint16_t preferred) {
  uint16_t port = 0;
  if (try_bind(Protocol::kTcp, "127.0.0.1", preferred, &port) == 0) return port;
  const int error = try_bind(Protocol::kTcp, "127.0.0.1", 0, &port);
  if (error != 0) fail_with_errno("no free port", error);
  return port;
}

}  // namespace aril::tool
