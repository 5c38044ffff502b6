#include "volume/volume_process.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <format>

#include "support/error.hpp"
#include "volume/volume_confinement.hpp"
#include "volume/volume_server.hpp"

namespace aril::tool {
namespace {

/// Nothing but the streams and these two.
void keep_descriptors(int socket, int directory) {
  const unsigned low = static_cast<unsigned>(std::min(socket, directory));
  const unsigned high = static_cast<unsigned>(std::max(socket, directory));
  if (low > 3) syscall(SYS_close_range, 3, low - 1, 0);
  if (high > low + 1) syscall(SYS_close_range, low + 1, high - 1, 0);
  syscall(SYS_close_range, high + 1, ~0u, 0);
}

/// Others may wait for the streams' end. The last thing before the filter: until then errors are
/// told there.
void let_go_of_streams(int null) {
  for (int stream = 0; stream < 3; ++stream) need(dup2(null, stream) >= 0, "dup2");
  close(null);
}

/// A fid is a descriptor, and guests have many.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

[[noreturn]] void serve(int socket, Descriptor directory, VolumeServer::Access access,
                        VolumeServer::Owners owners) {
  setsid();
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, nullptr);
  umask(0);
  keep_descriptors(socket, directory.get());
  raise_descriptor_limit();
  // Before there is another root.
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  need(null >= 0, "/dev/null");
  const int root = directory.get();
  VolumeServer server(std::move(directory), access, owners);
  confine_to_directory(root);
  std::vector<std::byte> message(VolumeServer::kMostMessage);
  let_go_of_streams(null);
  allow_only_serving();
  for (;;) {
    const ssize_t size = recv(socket, message.data(), message.size(), MSG_TRUNC);
    if (size <= 0 || static_cast<size_t>(size) > message.size()) break;
    const auto answer = server.answer(std::span(message).first(static_cast<size_t>(size)));
    if (answer.empty() || send(socket, answer.data(), answer.size(), MSG_NOSIGNAL) < 0) break;
  }
  _exit(0);
}

}  // namespace

Descriptor start_volume_server(const SharedDirectory& shared) {
  const Volume& volume = shared.volume;
  const std::string name = volume.host.string();
  Descriptor directory(open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) throw Error(std::format("volume {}: {}", name, std::strerror(errno)));
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    throw Error(std::format("socketpair: {}", std::strerror(errno)));
  Descriptor ours(ends[0]), theirs(ends[1]);
  // The largest message goes into the buffer of either end at once.
  const int room = 2 * static_cast<int>(VolumeServer::kMostMessage);
  for (const int end : ends) setsockopt(end, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  const pid_t child = fork();
  if (child < 0) throw Error(std::format("fork: {}", std::strerror(errno)));
  if (child == 0)
    serve(theirs.get(), std::move(directory),
          volume.read_only ? VolumeServer::Access::kReadOnly : VolumeServer::Access::kReadWrite,
          shared.security_model == "none" ? VolumeServer::Owners::kHost
                                          : VolumeServer::Owners::kAttributes);
  return ours;
}

}  // namespace aril::tool
