#include "machine/machine_process.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "support/error.hpp"

namespace aril::tool {

namespace {

struct Line {
  Descriptor ours;
  Descriptor theirs;
};

Line make_line() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    fail_with_errno("socketpair", errno);
  }
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

}  // namespace

MachineProcess MachineProcess::start_qemu(const std::vector<std::string>& command,
                                          std::vector<Descriptor> taps) {
  Line console = make_line();
  Line error = make_line();
  Line control = make_line();
  Line monitor = make_line();
  int pipe_ends[2];
  if (pipe2(pipe_ends, O_CLOEXEC) != 0) fail_with_errno("pipe", errno);
  Descriptor reader(pipe_ends[0]);
  const Descriptor writer(pipe_ends[1]);
  fcntl(reader.get(), F_SETFL, O_NONBLOCK);
  const Descriptor null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  std::vector<std::pair<int, int>> inherited = {{null.get(), 0},
                                                {writer.get(), 1},
                                                {writer.get(), 2},
                                                {console.theirs.get(), kConsoleDescriptor},
                                                {error.theirs.get(), kErrorDescriptor},
                                                {control.theirs.get(), kControlDescriptor},
                                                {monitor.theirs.get(), kMonitorDescriptor}};
  for (size_t i = 0; i < taps.size(); ++i)
    inherited.emplace_back(taps[i].get(), kFirstTapDescriptor + static_cast<int>(i));
  ChildProcess process(command, {.descriptors = std::move(inherited), .environment = {}});
  return {.process = std::move(process),
          .console = std::move(console.ours),
          .error = std::move(error.ours),
          .control = std::move(control.ours),
          .monitor = std::move(monitor.ours),
          .messages = std::move(reader),
          .name = "QEMU",
          .ends_with_status = false};
}

MachineProcess MachineProcess::start_tender(const std::vector<std::string>& command,
                                            std::vector<std::pair<int, int>> inherited) {
  Line console = make_line();
  Line error = make_line();
  Line control = make_line();
  inherited.insert(inherited.end(), {{console.theirs.get(), STDIN_FILENO},
                                     {console.theirs.get(), STDOUT_FILENO},
                                     {error.theirs.get(), STDERR_FILENO},
                                     {control.theirs.get(), kTenderControl}});
  ChildProcess process(command, {.descriptors = std::move(inherited), .environment = {}});
  return {.process = std::move(process),
          .console = std::move(console.ours),
          .error = std::move(error.ours),
          .control = std::move(control.ours),
          .monitor = Descriptor(),
          .messages = Descriptor(),
          .name = "the instance",
          .ends_with_status = true};
}

}  // namespace aril::tool
