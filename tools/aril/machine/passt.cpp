#include "machine/passt.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <format>

#include "support/error.hpp"
#include "support/process.hpp"

namespace aril::tool {

namespace {

constexpr int kSocketInPasst = 3;

/// "-t 127.0.0.1/8080:80" for each port of a protocol; "none" when there is none.
void add_ports(std::vector<std::string>& command, const std::vector<PortForward>& ports,
               Protocol protocol, const char* option) {
  bool any = false;
  for (const PortForward& port : ports) {
    if (port.protocol != protocol) continue;
    command.insert(command.end(),
                   {option, std::format("{}/{}:{}", port.address, port.host, port.guest)});
    any = true;
  }
  if (!any) command.insert(command.end(), {option, "none"});
}

}  // namespace

Descriptor start_passt(const std::vector<PortForward>& ports) {
  const auto passt = find_executable("passt");
  if (!passt) {
    throw Error("passt is missing, which --net user needs with --platform process",
                "apt-get install passt; or --net tap:NAME,ip=ADDRESS/PREFIX; or --net none");
  }
  std::vector<std::string> command = {*passt,      "--foreground",
                                      "--quiet",   "--ipv4-only",
                                      "--address", "10.0.2.15",
                                      "--netmask", "24",
                                      "--gateway", "10.0.2.2",
                                      "--mtu",     "1500",
                                      "--fd",      std::to_string(kSocketInPasst)};
  add_ports(command, ports, Protocol::kTcp, "--tcp-ports");
  add_ports(command, ports, Protocol::kUdp, "--udp-ports");
  std::vector<char*> words;
  for (std::string& word : command) words.push_back(word.data());
  words.push_back(nullptr);

  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) fail_with_errno("socketpair", errno);
  Descriptor ours(ends[0]);
  const Descriptor theirs(ends[1]);
  // Not a ChildProcess: it belongs to what this process becomes, and sees that end by its socket.
  const pid_t child = fork();
  if (child < 0) fail_with_errno("fork", errno);
  if (child == 0) {
    setsid();  // the terminal's signals are for the program
    dup2(theirs.get(), kSocketInPasst);
    close_range(kSocketInPasst + 1, ~0u, 0);
    const int null = open("/dev/null", O_RDWR);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    execv(words.front(), words.data());
    _exit(127);
  }
  return ours;
}

}  // namespace aril::tool
