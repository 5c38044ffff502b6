#include "machine/qemu_process.hpp"

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

QemuProcess QemuProcess::start(const std::vector<std::string>& command) {
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
  ChildProcess process(command, {.descriptors = {{null.get(), 0},
                                                 {writer.get(), 1},
                                                 {writer.get(), 2},
                                                 {console.theirs.get(), kConsoleDescriptor},
                                                 {error.theirs.get(), kErrorDescriptor},
                                                 {control.theirs.get(), kControlDescriptor},
                                                 {monitor.theirs.get(), kMonitorDescriptor}}});
  return {.process = std::move(process),
          .console = std::move(console.ours),
          .error = std::move(error.ours),
          .control = std::move(control.ours),
          .monitor = std::move(monitor.ours),
          .messages = std::move(reader)};
}

}  // namespace aril::tool
