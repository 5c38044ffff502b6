// POSIX message queues [mq_overview(7)].
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <string>

#include "check.hpp"
#include "children.hpp"

namespace {

constexpr char kName[] = "/aril-check";

/// A queue that is gone at the end.
struct TestQueue {
  mqd_t fd;
  explicit TestQueue(long messages = 4, long bytes = 64, int flags = O_RDWR) {
    mq_unlink(kName);
    mq_attr attributes{};
    attributes.mq_maxmsg = messages;
    attributes.mq_msgsize = bytes;
    fd = mq_open(kName, flags | O_CREAT | O_EXCL, 0600, &attributes);
  }
  ~TestQueue() {
    mq_close(fd);
    mq_unlink(kName);
  }
  std::string take(unsigned* priority = nullptr) const {
    char text[64];
    ssize_t size = mq_receive(fd, text, sizeof text, priority);
    return size < 0 ? "error " + std::to_string(errno) : std::string(text, size_t(size));
  }
  bool put(const char* text, unsigned priority = 0) const {
    return mq_send(fd, text, strlen(text), priority) == 0;
  }
};

timespec soon(int milliseconds) {
  timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  time.tv_nsec += milliseconds * 1000000L;
  time.tv_sec += time.tv_nsec / 1000000000;
  time.tv_nsec %= 1000000000;
  return time;
}

}  // namespace

PROPERTY(messages_come_by_priority_then_age) {
  TestQueue queue(8);
  CHECK(queue.fd >= 0);
  CHECK(queue.put("low", 1) && queue.put("first", 5) && queue.put("second", 5) &&
        queue.put("zero"));
  unsigned priority = 99;
  CHECK(queue.take(&priority) == "first");
  CHECK_EQ(priority, 5u);
  CHECK(queue.take() == "second");
  CHECK(queue.take(&priority) == "low");
  CHECK_EQ(priority, 1u);
  CHECK(queue.put(""));
  CHECK(queue.take() == "zero");
  CHECK(queue.take() == "");
}
PROPERTY(opening_follows_the_flags) {
  mq_unlink(kName);
  CHECK_ERRNO(mq_open(kName, O_RDWR), ENOENT);
  CHECK_ERRNO(mq_unlink(kName), ENOENT);
  TestQueue queue;
  CHECK(queue.fd >= 0);
  CHECK_ERRNO(mq_open(kName, O_RDWR | O_CREAT | O_EXCL, 0600, nullptr), EEXIST);
  // An existing queue keeps its attributes, whatever is asked for.
  mq_attr wrong{};
  mqd_t other = mq_open(kName, O_RDONLY | O_CREAT, 0600, &wrong);
  CHECK(other >= 0);
  CHECK(fcntl(other, F_GETFD) == FD_CLOEXEC);
  CHECK_ERRNO(mq_send(other, "x", 1, 0), EBADF);
  mq_close(other);
  other = mq_open(kName, O_WRONLY);
  char text[64];
  CHECK_ERRNO(mq_receive(other, text, sizeof text, nullptr), EBADF);
  mq_close(other);
  CHECK_ERRNO(mq_open("/a/b", O_RDWR | O_CREAT, 0600, nullptr), EACCES);
  CHECK_ERRNO(mq_open("/", O_RDWR | O_CREAT, 0600, nullptr), ENOENT);
  CHECK_ERRNO(mq_open(("/" + std::string(300, 'x')).c_str(), O_RDWR), ENAMETOOLONG);
}
PROPERTY(bad_attributes_are_refused) {
  for (auto [messages, bytes] :
       {std::pair{0L, 64L}, {4L, 0L}, {-1L, 64L}, {65537L, 1L}, {1L, 16777217L}}) {
    mq_unlink("/aril-bad");
    mq_attr attributes{};
    attributes.mq_maxmsg = messages;
    attributes.mq_msgsize = bytes;
    CHECK_ERRNO(mq_open("/aril-bad", O_RDWR | O_CREAT, 0600, &attributes), EINVAL);
  }
  CHECK_ERRNO(mq_open("/aril-bad", O_RDWR), ENOENT);
}
PROPERTY(sizes_and_priorities_are_checked) {
  TestQueue queue;
  char text[128] = {};
  CHECK_ERRNO(mq_send(queue.fd, text, 65, 0), EMSGSIZE);
  CHECK_EQ(mq_send(queue.fd, text, 64, 32767), 0);
  CHECK_ERRNO(mq_send(queue.fd, text, 1, 32768), EINVAL);
  CHECK_ERRNO(mq_receive(queue.fd, text, 63, nullptr), EMSGSIZE);
  CHECK_EQ(mq_receive(queue.fd, text, sizeof text, nullptr), 64);
  int fds[2];
  CHECK_EQ(pipe(fds), 0);
  CHECK_ERRNO(mq_send(fds[1], text, 1, 0), EBADF);
  CHECK_ERRNO(mq_send(-1, text, 1, 0), EBADF);
  close(fds[0]);
  close(fds[1]);
}
PROPERTY(a_full_or_empty_queue_says_so) {
  TestQueue queue(2, 64, O_RDWR | O_NONBLOCK);
  char text[64];
  CHECK_ERRNO(mq_receive(queue.fd, text, sizeof text, nullptr), EAGAIN);
  CHECK(queue.put("1") && queue.put("2"));
  CHECK_ERRNO(mq_send(queue.fd, "3", 1, 0), EAGAIN);
  mq_attr attributes;
  CHECK_EQ(mq_getattr(queue.fd, &attributes), 0);
  CHECK_EQ(attributes.mq_flags, (long)O_NONBLOCK);
  CHECK_EQ(attributes.mq_maxmsg, 2);
  CHECK_EQ(attributes.mq_msgsize, 64);
  CHECK_EQ(attributes.mq_curmsgs, 2);
  mq_attr blocking{};
  CHECK_EQ(mq_setattr(queue.fd, &blocking, &attributes), 0);
  CHECK_EQ(attributes.mq_flags, (long)O_NONBLOCK);
  CHECK_EQ(fcntl(queue.fd, F_GETFL) & O_NONBLOCK, 0);
  blocking.mq_flags = O_APPEND;
  CHECK_ERRNO(mq_setattr(queue.fd, &blocking, nullptr), EINVAL);
}
PROPERTY(waits_end_at_their_deadline) {
  TestQueue queue(1);
  char text[64];
  timespec past{1, 0}, wrong{1, 1000000000}, deadline = soon(30);
  CHECK_ERRNO(mq_timedreceive(queue.fd, text, sizeof text, nullptr, &past), ETIMEDOUT);
  CHECK_ERRNO(mq_timedreceive(queue.fd, text, sizeof text, nullptr, &deadline), ETIMEDOUT);
  CHECK_ERRNO(mq_timedreceive(queue.fd, text, sizeof text, nullptr, &wrong), EINVAL);
  CHECK(queue.put("x"));
  deadline = soon(30);
  CHECK_ERRNO(mq_timedsend(queue.fd, "y", 1, 0, &deadline), ETIMEDOUT);
  CHECK_EQ(mq_timedreceive(queue.fd, text, sizeof text, nullptr, &past), 1);
}
PROPERTY(a_signal_interrupts_a_wait) {
  TestQueue queue;
  struct sigaction action{};
  action.sa_handler = [](int) {};
  sigaction(SIGALRM, &action, nullptr);
  ualarm(20000, 0);
  char text[64];
  CHECK_ERRNO(mq_receive(queue.fd, text, sizeof text, nullptr), EINTR);
  signal(SIGALRM, SIG_DFL);
}
PROPERTY(processes_talk) {
  TestQueue queue(2);
  int status = in_child([&] {
    pid_t child = fork();
    if (child == 0) {
      for (int i = 0; i < 200; ++i)
        if (!queue.put(std::to_string(i).c_str())) _exit(1);
      _exit(0);
    }
    for (int i = 0; i < 200; ++i)
      if (queue.take() != std::to_string(i)) return 2;
    int ended = 0;
    waitpid(child, &ended, 0);
    return ended == 0 ? 42 : 3;
  });
  CHECK_EQ(status, 42);
}
PROPERTY(poll_and_epoll_tell) {
  TestQueue queue(1);
  pollfd request{queue.fd, POLLIN | POLLOUT, 0};
  CHECK_EQ(poll(&request, 1, 0), 1);
  CHECK_EQ(request.revents, POLLOUT);
  int epoll = epoll_create1(0);
  epoll_event event{EPOLLIN | EPOLLET, {}};
  CHECK_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, queue.fd, &event), 0);
  CHECK_EQ(epoll_wait(epoll, &event, 1, 0), 0);
  CHECK_EQ(in_child([&] { return queue.put("x") ? 42 : 1; }), 42);
  CHECK_EQ(epoll_wait(epoll, &event, 1, 1000), 1);
  CHECK_EQ(poll(&request, 1, 0), 1);
  CHECK_EQ(request.revents, POLLIN);
  close(epoll);
}
PROPERTY(a_notification_is_for_one_message) {
  TestQueue queue;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGUSR1;
  event.sigev_value.sival_int = 77;
  CHECK_EQ(mq_notify(queue.fd, &event), 0);
  CHECK_ERRNO(mq_notify(queue.fd, &event), EBUSY);
  pid_t child = fork();
  if (child == 0) _exit(queue.put("x") && queue.put("y") ? 0 : 1);
  int status = 0;
  waitpid(child, &status, 0);
  siginfo_t info{};
  timespec second{1, 0}, none{};
  CHECK_EQ(sigtimedwait(&set, &info, &second), SIGUSR1);
  CHECK_EQ(info.si_code, SI_MESGQ);
  CHECK_EQ(info.si_value.sival_int, 77);
  CHECK_EQ(info.si_pid, child);
  // Registered anew, with messages waiting: only an empty queue announces.
  CHECK_EQ(mq_notify(queue.fd, &event), 0);
  CHECK(queue.put("z"));
  CHECK_EQ(sigtimedwait(&set, &info, &none), -1);
  CHECK_EQ(mq_notify(queue.fd, nullptr), 0);
  CHECK_EQ(mq_notify(queue.fd, &event), 0);
  event.sigev_notify = 17;
  CHECK_ERRNO(mq_notify(queue.fd, &event), EINVAL);
  // Any close of the queue by the process takes the registration back.
  close(dup(queue.fd));
  event.sigev_notify = SIGEV_NONE;
  CHECK_EQ(mq_notify(queue.fd, &event), 0);
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
}
PROPERTY(a_notification_runs_a_function_in_a_thread) {
  TestQueue queue;
  static Pipe told;
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD;
  event.sigev_notify_function = [](sigval value) { told.say((char)value.sival_int); };
  event.sigev_value.sival_int = 'q';
  for (int i = 0; i < 3; ++i) {
    CHECK_EQ(mq_notify(queue.fd, &event), 0);
    CHECK_ERRNO(mq_notify(queue.fd, &event), EBUSY);
    CHECK(queue.put("x"));
    CHECK_EQ(told.hear(), 'q');
    CHECK(queue.take() == "x");
  }
  CHECK_EQ(mq_notify(queue.fd, &event), 0);
  CHECK_EQ(mq_notify(queue.fd, nullptr), 0);
  struct {
    uint64_t value;
    int signal, notify, unused[12];
  } raw{.value = 0, .signal = told.ends[0], .notify = SIGEV_THREAD};
  CHECK_ERRNO(syscall(SYS_mq_notify, queue.fd, &raw), EFAULT);
  char cookie[32] = {};
  raw.value = (uint64_t)cookie;
  CHECK_ERRNO(syscall(SYS_mq_notify, queue.fd, &raw), ENOTSOCK);
  raw.signal = 999;
  CHECK_ERRNO(syscall(SYS_mq_notify, queue.fd, &raw), EBADF);
}
PROPERTY(an_unlinked_queue_lives_on) {
  TestQueue queue;
  CHECK_EQ(mq_unlink(kName), 0);
  CHECK_ERRNO(mq_open(kName, O_RDWR), ENOENT);
  CHECK(queue.put("still"));
  CHECK(queue.take() == "still");
}
PROPERTY(rights_are_checked) {
  TestQueue queue;
  CHECK_EQ(in_child([] {
             if (setresuid(1234, 1234, 1234) != 0) return 1;
             if (mq_open(kName, O_RDONLY) != -1 || errno != EACCES) return 2;
             if (mq_unlink(kName) != -1 || (errno != EACCES && errno != EPERM)) return 3;
             mq_attr attributes{};
             attributes.mq_maxmsg = 100000;
             attributes.mq_msgsize = 64;
             if (mq_open("/aril-own", O_RDWR | O_CREAT, 0600, &attributes) != -1 || errno != EINVAL)
               return 4;
             return 42;
           }),
           42);
}
PROPERTY(the_bytes_of_a_user_are_limited) {
  CHECK_EQ(in_child([] {
             rlimit limit{10000, 10000};
             setrlimit(RLIMIT_MSGQUEUE, &limit);
             if (setresuid(2345, 2345, 2345) != 0) return 1;
             mq_attr attributes{};
             attributes.mq_maxmsg = 4;
             attributes.mq_msgsize = 2000;
             mqd_t first = mq_open("/aril-limit", O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
             if (first < 0) return 2;
             if (mq_open("/aril-limit2", O_RDWR | O_CREAT | O_EXCL, 0600, &attributes) != -1 ||
                 errno != EMFILE)
               return 3;
             mq_unlink("/aril-limit");
             mq_close(first);
             mqd_t second = mq_open("/aril-limit2", O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
             if (second < 0) return 4;
             mq_unlink("/aril-limit2");
             return 42;
           }),
           42);
}
PROPERTY(a_descriptor_reads_as_text) {
  TestQueue queue;
  CHECK(queue.put("12345"));
  char text[200] = {};
  CHECK(pread(queue.fd, text, sizeof text - 1, 0) > 0);
  CHECK(std::string(text).starts_with("QSIZE:5          NOTIFY:0     SIGNO:0     NOTIFY_PID:0"));
  struct stat status;
  CHECK_EQ(fstat(queue.fd, &status), 0);
  CHECK_EQ(status.st_mode, (mode_t)(S_IFREG | 0600));
  CHECK_EQ(status.st_size, 80);
}
