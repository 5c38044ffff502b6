#include "support/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>

#include "support/error.hpp"
#include "support/text.hpp"

namespace aril::tool {

namespace {

constexpr size_t kMaxDescriptors = 80;

/// Runs in the child between fork and exec; reports failure through `report`.
[[noreturn]] void become(const std::vector<char*>& arguments, const ChildOptions& options,
                         pid_t parent, int report) {
  setsid();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);  // the parent died before the line above
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  // First out of the way of the numbers that are going to be assigned.
  std::array<int, kMaxDescriptors> moved = {};
  for (size_t i = 0; i < options.descriptors.size() && i < moved.size(); ++i) {
    moved[i] = fcntl(options.descriptors[i].first, F_DUPFD_CLOEXEC, 100);
  }
  for (size_t i = 0; i < options.descriptors.size() && i < moved.size(); ++i) {
    dup2(moved[i], options.descriptors[i].second);
  }
  for (const std::string& variable : options.environment) {
    putenv(const_cast<char*>(variable.c_str()));  // only until exec
  }
  execvp(arguments[0], arguments.data());
  const int error = errno;
  (void)!write(report, &error, sizeof error);
  _exit(127);
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& arguments, const ChildOptions& options) {
  if (options.descriptors.size() > kMaxDescriptors)
    throw Error("too many descriptors for a child process");
  std::vector<char*> pointers;
  for (const std::string& argument : arguments) {
    pointers.push_back(const_cast<char*>(argument.c_str()));  // exec does not write to them
  }
  pointers.push_back(nullptr);
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) fail_with_errno("pipe", errno);
  Descriptor reader(report[0]);
  Descriptor writer(report[1]);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) fail_with_errno("fork", errno);
  if (pid_ == 0) become(pointers, options, parent, writer.get());
  writer.reset();
  pidfd_ = Descriptor(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
  int error = 0;
  if (read(reader.get(), &error, sizeof error) == sizeof error) {
    wait();
    fail_with_errno(arguments[0], error);
  }
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pidfd_(std::move(other.pidfd_)),
      status_(other.status_) {}

ChildProcess::~ChildProcess() {
  if (pid_ < 0 || status_) return;
  ::kill(pid_, SIGKILL);
  wait();
}

void ChildProcess::kill(int signal) const {
  if (!status_) ::kill(pid_, signal);
}

std::optional<int> ChildProcess::wait(std::optional<std::chrono::milliseconds> timeout) {
  if (status_) return status_;
  if (timeout) {
    pollfd ended = {pidfd_.get(), POLLIN, 0};
    if (poll(&ended, 1, static_cast<int>(timeout->count())) <= 0) return std::nullopt;
  }
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {}
  status_ = status;
  return status_;
}

CommandResult run_command(const std::vector<std::string>& arguments, const ChildOptions& options) {
  int output[2];
  int error[2];
  if (pipe2(output, O_CLOEXEC) != 0) fail_with_errno("pipe", errno);
  Descriptor output_reader(output[0]);
  Descriptor output_writer(output[1]);
  if (pipe2(error, O_CLOEXEC) != 0) fail_with_errno("pipe", errno);
  Descriptor error_reader(error[0]);
  Descriptor error_writer(error[1]);
  const Descriptor null(open("/dev/null", O_RDONLY | O_CLOEXEC));

  ChildOptions with_pipes = options;
  with_pipes.descriptors.insert(
      with_pipes.descriptors.end(),
      {{null.get(), 0}, {output_writer.get(), 1}, {error_writer.get(), 2}});
  ChildProcess child(arguments, with_pipes);
  output_writer.reset();
  error_writer.reset();

  CommandResult result;
  pollfd polled[2] = {{output_reader.get(), POLLIN, 0}, {error_reader.get(), POLLIN, 0}};
  std::string* texts[2] = {&result.output, &result.error};
  while (polled[0].fd >= 0 || polled[1].fd >= 0) {
    if (poll(polled, 2, -1) < 0 && errno != EINTR) break;
    for (int i = 0; i < 2; ++i) {
      if (polled[i].fd < 0 || polled[i].revents == 0) continue;
      char buffer[16384];
      const ssize_t count = read(polled[i].fd, buffer, sizeof buffer);
      if (count > 0) {
        texts[i]->append(buffer, static_cast<size_t>(count));
      } else if (count == 0 || errno != EINTR) {
        polled[i].fd = -1;
      }
    }
  }
  result.status = child.wait().value_or(0);
  return result;
}

std::optional<std::filesystem::path> find_executable(std::string_view name) {
  if (name.contains('/')) return std::filesystem::path(name);
  const char* variable = getenv("PATH");
  const std::string directories = std::string(variable == nullptr ? "" : variable) +
                                  ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin";
  for (const std::string& directory : split(directories, ':')) {
    if (directory.empty()) continue;
    std::filesystem::path candidate = std::filesystem::path(directory) / name;
    std::error_code ignored;
    if (std::filesystem::is_regular_file(candidate, ignored) &&
        access(candidate.c_str(), X_OK) == 0) {
      return candidate;
    }
  }
  return std::nullopt;
}

std::string shell_quote(const std::vector<std::string>& arguments) {
  std::string line;
  for (const std::string& argument : arguments) {
    if (!line.empty()) line += ' ';
    const bool plain = !argument.empty() && std::ranges::all_of(argument, [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
             std::string_view("-_./=,:+@%").contains(c);
    });
    if (plain) {
      line += argument;
      continue;
    }
    line += '\'';
    for (const char c : argument) {
      if (c == '\'') {
        line += "'\\''";
      } else {
        line += c;
      }
    }
    line += '\'';
  }
  return line;
}

}  // namespace aril::tool
