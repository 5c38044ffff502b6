// Pipes, poll, epoll, eventfd, timerfd.
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "check.hpp"

struct Pipe {
  int in = -1, out = -1;
  explicit Pipe(int flags = 0) {
    int ends[2];
    if (pipe2(ends, flags) == 0) in = ends[0], out = ends[1];
  }
  ~Pipe() {
    close(in);
    close(out);
  }
};
static int wait_events(int epoll, epoll_event* events, int timeout = 0) {
  return epoll_wait(epoll, events, 8, timeout);
}
static bool watch(int epoll, int fd, uint32_t events, int operation = EPOLL_CTL_ADD) {
  epoll_event event = {};
  event.events = events;
  event.data.fd = fd;
  return epoll_ctl(epoll, operation, fd, &event) == 0;
}

PROPERTY(pipes_carry_bytes_in_order) {
  Pipe pipe;
  CHECK_EQ(write(pipe.out, "abc", 3), 3);
  CHECK_EQ(write(pipe.out, "def", 3), 3);
  char text[8] = {};
  CHECK_EQ(read(pipe.in, text, 2), 2);
  CHECK_EQ(read(pipe.in, text, 8), 4);
  CHECK(!memcmp(text, "cdef", 4));
}
PROPERTY(pipes_hold_64_kib) {
  Pipe pipe(O_NONBLOCK);
  std::vector<char> bytes(200000, 'p');
  CHECK_EQ(write(pipe.out, bytes.data(), bytes.size()), 65536);
  CHECK_ERRNO(write(pipe.out, "x", 1), EAGAIN);
  int available = 0;
  CHECK_EQ(ioctl(pipe.in, FIONREAD, &available), 0);
  CHECK_EQ(available, 65536);
  CHECK_EQ(fcntl(pipe.out, F_GETPIPE_SZ), 65536);
}
PROPERTY(pipes_end) {
  Pipe pipe(O_NONBLOCK);
  char byte;
  CHECK_ERRNO(read(pipe.in, &byte, 1), EAGAIN);
  CHECK_EQ(write(pipe.out, "x", 1), 1);
  close(pipe.out);
  pipe.out = -1;
  CHECK_EQ(read(pipe.in, &byte, 1), 1);
  CHECK_EQ(read(pipe.in, &byte, 1), 0);
}
PROPERTY(poll_reports_what_is_ready) {
  Pipe pipe;
  pollfd fds[3] = {{pipe.in, POLLIN, 0}, {pipe.out, POLLOUT, 0}, {-1, POLLIN, 77}};
  CHECK_EQ(poll(fds, 3, 0), 1);
  CHECK(fds[0].revents == 0 && fds[1].revents == POLLOUT && fds[2].revents == 0);
  CHECK_EQ(write(pipe.out, "x", 1), 1);
  CHECK_EQ(poll(fds, 2, -1), 2);
  CHECK_EQ(fds[0].revents, POLLIN);
  pollfd bad = {999, POLLIN, 0};
  CHECK_EQ(poll(&bad, 1, 0), 1);
  CHECK_EQ(bad.revents, POLLNVAL);
  close(pipe.out);
  pipe.out = -1;
  char byte;
  CHECK_EQ(read(pipe.in, &byte, 1), 1);
  CHECK_EQ(poll(fds, 1, 0), 1);
  CHECK_EQ(fds[0].revents, POLLHUP);
}
PROPERTY(poll_waits_and_times_out) {
  Pipe pipe;
  pollfd fd = {pipe.in, POLLIN, 0};
  CHECK_EQ(poll(&fd, 1, 10), 0);
  std::thread writer([&] {
    usleep(10000);
    (void)!write(pipe.out, "x", 1);
  });
  CHECK_EQ(poll(&fd, 1, 5000), 1);
  writer.join();
}
PROPERTY(select_marks_sets) {
  Pipe pipe;
  fd_set in, out;
  FD_ZERO(&in);
  FD_ZERO(&out);
  FD_SET(pipe.in, &in);
  FD_SET(pipe.out, &out);
  timeval none = {};
  CHECK_EQ(select(pipe.out + 1, &in, &out, nullptr, &none), 1);
  CHECK(!FD_ISSET(pipe.in, &in) && FD_ISSET(pipe.out, &out));
  FD_ZERO(&in);
  FD_SET(40, &in);
  CHECK_ERRNO(select(41, &in, nullptr, nullptr, &none), EBADF);
}
PROPERTY(epoll_level_triggered_repeats) {
  Pipe pipe;
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  CHECK(watch(epoll, pipe.in, EPOLLIN));
  epoll_event events[8];
  CHECK_EQ(wait_events(epoll, events), 0);
  CHECK_EQ(write(pipe.out, "x", 1), 1);
  for (int i = 0; i < 2; ++i) {
    CHECK_EQ(wait_events(epoll, events), 1);
    CHECK(events[0].events == EPOLLIN && events[0].data.fd == pipe.in);
  }
  char byte;
  CHECK_EQ(read(pipe.in, &byte, 1), 1);
  CHECK_EQ(wait_events(epoll, events), 0);
  close(epoll);
}
PROPERTY(epoll_edge_triggered_reports_once) {
  Pipe pipe;
  int epoll = epoll_create1(0);
  CHECK(watch(epoll, pipe.in, EPOLLIN | EPOLLET));
  epoll_event events[8];
  CHECK_EQ(write(pipe.out, "x", 1), 1);
  CHECK_EQ(wait_events(epoll, events), 1);
  CHECK_EQ(wait_events(epoll, events), 0);
  CHECK_EQ(write(pipe.out, "y", 1), 1);
  CHECK_EQ(wait_events(epoll, events), 1);
  CHECK_EQ(wait_events(epoll, events), 0);
  close(epoll);
}
PROPERTY(epoll_oneshot_needs_rearming) {
  Pipe pipe;
  int epoll = epoll_create1(0);
  CHECK(watch(epoll, pipe.in, EPOLLIN | EPOLLONESHOT));
  epoll_event events[8];
  CHECK_EQ(write(pipe.out, "x", 1), 1);
  CHECK_EQ(wait_events(epoll, events), 1);
  CHECK_EQ(wait_events(epoll, events), 0);
  CHECK(watch(epoll, pipe.in, EPOLLIN | EPOLLONESHOT, EPOLL_CTL_MOD));
  CHECK_EQ(wait_events(epoll, events), 1);
  close(epoll);
}
PROPERTY(epoll_checks_its_arguments) {
  Pipe pipe;
  int epoll = epoll_create1(0);
  CHECK(watch(epoll, pipe.in, EPOLLIN));
  epoll_event event = {};
  CHECK_ERRNO(epoll_ctl(epoll, EPOLL_CTL_ADD, pipe.in, &event), EEXIST);
  CHECK_ERRNO(epoll_ctl(epoll, EPOLL_CTL_MOD, pipe.out, &event), ENOENT);
  CHECK_ERRNO(epoll_ctl(epoll, EPOLL_CTL_DEL, pipe.out, &event), ENOENT);
  CHECK_ERRNO(epoll_ctl(epoll, EPOLL_CTL_ADD, epoll, &event), EINVAL);
  CHECK_ERRNO(epoll_ctl(epoll, EPOLL_CTL_ADD, 999, &event), EBADF);
  CHECK_ERRNO(epoll_ctl(pipe.in, EPOLL_CTL_ADD, pipe.out, &event), EINVAL);
  CHECK_ERRNO(epoll_wait(epoll, &event, 0, 0), EINVAL);
  CHECK_ERRNO(epoll_create(0), EINVAL);
  int file = open("/etc/passwd", O_RDONLY);
  CHECK_ERRNO(epoll_ctl(epoll, EPOLL_CTL_ADD, file, &event), EPERM);
  close(file);
  close(epoll);
}
PROPERTY(epoll_forgets_closed_files) {
  int epoll = epoll_create1(0);
  epoll_event events[8];
  {
    Pipe pipe;
    CHECK(watch(epoll, pipe.in, EPOLLIN));
    CHECK_EQ(write(pipe.out, "x", 1), 1);
    CHECK_EQ(wait_events(epoll, events), 1);
  }
  CHECK_EQ(wait_events(epoll, events), 0);
  close(epoll);
}
PROPERTY(epoll_wakes_a_waiting_thread) {
  Pipe pipe;
  int epoll = epoll_create1(0);
  CHECK(watch(epoll, pipe.in, EPOLLIN));
  std::thread writer([&] {
    usleep(10000);
    (void)!write(pipe.out, "x", 1);
  });
  epoll_event events[8];
  CHECK_EQ(wait_events(epoll, events, 5000), 1);
  writer.join();
  close(epoll);
}
PROPERTY(epoll_can_be_polled_and_nested) {
  Pipe pipe;
  int inner = epoll_create1(0), outer = epoll_create1(0);
  CHECK(watch(inner, pipe.in, EPOLLIN));
  CHECK(watch(outer, inner, EPOLLIN));
  epoll_event events[8];
  CHECK_EQ(wait_events(outer, events), 0);
  CHECK_EQ(write(pipe.out, "x", 1), 1);
  CHECK_EQ(wait_events(outer, events), 1);
  pollfd fd = {inner, POLLIN, 0};
  CHECK_EQ(poll(&fd, 1, 0), 1);
  epoll_event event = {};
  CHECK_ERRNO(epoll_ctl(inner, EPOLL_CTL_ADD, outer, &event), ELOOP);
  close(outer);
  close(inner);
}
PROPERTY(epoll_reports_hangups_unasked) {
  int ends[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  int epoll = epoll_create1(0);
  CHECK(watch(epoll, ends[0], EPOLLIN | EPOLLRDHUP));
  close(ends[1]);
  epoll_event events[8];
  CHECK_EQ(wait_events(epoll, events), 1);
  CHECK_EQ(events[0].events, (uint32_t)(EPOLLIN | EPOLLRDHUP | EPOLLHUP));
  close(epoll);
  close(ends[0]);
}
PROPERTY(eventfd_counts) {
  int fd = eventfd(3, EFD_NONBLOCK);
  uint64_t value;
  CHECK_EQ(read(fd, &value, 8), 8);
  CHECK_EQ(value, 3u);
  CHECK_ERRNO(read(fd, &value, 8), EAGAIN);
  CHECK_ERRNO(read(fd, &value, 4), EINVAL);
  value = 5;
  CHECK_EQ(write(fd, &value, 8), 8);
  CHECK_EQ(write(fd, &value, 8), 8);
  CHECK_EQ(read(fd, &value, 8), 8);
  CHECK_EQ(value, 10u);
  value = ~0ull;
  CHECK_ERRNO(write(fd, &value, 8), EINVAL);
  value = ~0ull - 1;
  CHECK_EQ(write(fd, &value, 8), 8);
  value = 1;
  CHECK_ERRNO(write(fd, &value, 8), EAGAIN);
  close(fd);
  fd = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
  CHECK_EQ(read(fd, &value, 8), 8);
  CHECK_EQ(value, 1u);
  CHECK_EQ(read(fd, &value, 8), 8);
  CHECK_ERRNO(read(fd, &value, 8), EAGAIN);
  close(fd);
}
PROPERTY(timerfd_expires) {
  int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  uint64_t value;
  CHECK_ERRNO(read(fd, &value, 8), EAGAIN);
  itimerspec when = {{0, 0}, {0, 5'000'000}};
  CHECK_EQ(timerfd_settime(fd, 0, &when, nullptr), 0);
  pollfd wait = {fd, POLLIN, 0};
  CHECK_EQ(poll(&wait, 1, 5000), 1);
  CHECK_EQ(read(fd, &value, 8), 8);
  CHECK_EQ(value, 1u);
  when = {{0, 1'000'000}, {0, 1'000'000}};
  CHECK_EQ(timerfd_settime(fd, 0, &when, nullptr), 0);
  usleep(20000);
  CHECK_EQ(read(fd, &value, 8), 8);
  CHECK(value >= 5);
  itimerspec now;
  CHECK_EQ(timerfd_gettime(fd, &now), 0);
  CHECK_EQ(now.it_interval.tv_nsec, 1'000'000);
  close(fd);
}
PROPERTY(tee_and_splice_move_pipe_bytes) {
  Pipe a, b;
  CHECK_EQ(write(a.out, "hello", 5), 5);
  CHECK_EQ(tee(a.in, b.out, 5, 0), 5);
  char text[6] = {};
  CHECK_EQ(read(b.in, text, 5), 5);
  CHECK(!strcmp(text, "hello"));
  CHECK_EQ(splice(a.in, nullptr, b.out, nullptr, 5, 0), 5);
  CHECK_EQ(read(b.in, text, 5), 5);
}
