// Linux's own asynchronous I/O, as libaio uses it.
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <thread>

#include "check.hpp"
#include "unnamed_file.hpp"

namespace {

long setup(unsigned count, aio_context_t* context) { return syscall(SYS_io_setup, count, context); }
long destroy(aio_context_t context) { return syscall(SYS_io_destroy, context); }
long submit(aio_context_t context, long count, iocb** requests) {
  return syscall(SYS_io_submit, context, count, requests);
}
long events_of(aio_context_t context, long least, long most, io_event* events, timespec* limit) {
  return syscall(SYS_io_getevents, context, least, most, events, limit);
}

iocb request(int operation, int fd, void* buffer, size_t length, long offset, uint64_t data = 0) {
  iocb made = {};
  made.aio_data = data;
  made.aio_lio_opcode = (uint16_t)operation;
  made.aio_fildes = (uint32_t)fd;
  made.aio_buf = (uint64_t)buffer;
  made.aio_nbytes = length;
  made.aio_offset = offset;
  return made;
}

struct UnnamedFile {
  int fd = unnamed_file(O_RDWR);
  ~UnnamedFile() { close(fd); }
  operator int() const { return fd; }
};

struct Context {
  aio_context_t id = 0;
  explicit Context(unsigned count = 8) { setup(count, &id); }
  ~Context() { destroy(id); }
};

}  // namespace

PROPERTY(contexts_come_and_go) {
  aio_context_t context = 0;
  CHECK_EQ(setup(4, &context), 0);
  CHECK(context != 0);
  aio_context_t again = context;
  CHECK_ERRNO(setup(4, &again), EINVAL);
  CHECK_EQ(destroy(context), 0);
  CHECK_ERRNO(destroy(context), EINVAL);
  CHECK_ERRNO(submit(context, 0, nullptr), EINVAL);
  CHECK_ERRNO(events_of(context, 0, 1, nullptr, nullptr), EINVAL);
  context = 0;
  CHECK_ERRNO(setup(0, &context), EINVAL);
  CHECK_ERRNO(setup(4, nullptr), EFAULT);
  CHECK_ERRNO(setup(100000000, &context), EINVAL);
  CHECK_ERRNO(setup(1000000, &context), EAGAIN);
  CHECK_ERRNO(destroy(4096), EINVAL);
}
PROPERTY(writes_and_reads_end_as_events) {
  Context context;
  UnnamedFile file;
  char out[] = "hello", in[6] = {};
  iocb write_it = request(IOCB_CMD_PWRITE, file, out, 5, 100, 1);
  iocb sync_it = request(IOCB_CMD_FSYNC, file, nullptr, 0, 0, 2);
  iocb* first[] = {&write_it, &sync_it};
  CHECK_EQ(submit(context.id, 2, first), 2);
  io_event events[4];
  CHECK_EQ(events_of(context.id, 2, 4, events, nullptr), 2);
  for (int i = 0; i < 2; ++i) {
    bool is_write = events[i].data == 1;
    CHECK_EQ(events[i].res, is_write ? 5 : 0);
    CHECK(events[i].obj == (uint64_t)(is_write ? &write_it : &sync_it));
  }
  iocb read_it = request(IOCB_CMD_PREAD, file, in, 5, 100, 3);
  iocb* second[] = {&read_it};
  CHECK_EQ(submit(context.id, 1, second), 1);
  CHECK_EQ(events_of(context.id, 1, 4, events, nullptr), 1);
  CHECK_EQ(events[0].res, 5);
  CHECK_EQ(strcmp(in, "hello"), 0);
}
PROPERTY(vectors_too) {
  Context context;
  UnnamedFile file;
  char a[] = "ab", b[] = "cde", in[5];
  iovec parts[] = {{a, 2}, {b, 3}}, whole[] = {{in, 5}};
  iocb write_it = request(IOCB_CMD_PWRITEV, file, parts, 2, 0);
  iocb read_it = request(IOCB_CMD_PREADV, file, whole, 1, 0);
  iocb* one = &write_it;
  io_event event;
  CHECK_EQ(submit(context.id, 1, &one), 1);
  CHECK_EQ(events_of(context.id, 1, 1, &event, nullptr), 1);
  one = &read_it;
  CHECK_EQ(submit(context.id, 1, &one), 1);
  CHECK_EQ(events_of(context.id, 1, 1, &event, nullptr), 1);
  CHECK_EQ(event.res, 5);
  CHECK_EQ(memcmp(in, "abcde", 5), 0);
}
PROPERTY(an_operation_that_fails_says_so_in_its_event) {
  Context context;
  UnnamedFile file;
  (void)!write(file, "x", 1);
  iocb bad = request(IOCB_CMD_PREAD, file, (void*)8, 1, 0);
  iocb* one = &bad;
  CHECK_EQ(submit(context.id, 1, &one), 1);
  io_event event;
  CHECK_EQ(events_of(context.id, 1, 1, &event, nullptr), 1);
  CHECK_EQ(event.res, -EFAULT);
}
PROPERTY(what_cannot_be_submitted_is_refused) {
  Context context;
  UnnamedFile file;
  char byte;
  iocb no_file = request(IOCB_CMD_PREAD, 987, &byte, 1, 0);
  iocb unknown = request(99, file, &byte, 1, 0);
  iocb good = request(IOCB_CMD_PREAD, file, &byte, 1, 0);
  iocb reserved = good;
  reserved.aio_reserved2 = 1;
  iocb* one = &no_file;
  CHECK_ERRNO(submit(context.id, 1, &one), EBADF);
  one = &unknown;
  CHECK_ERRNO(submit(context.id, 1, &one), EINVAL);
  one = &reserved;
  CHECK_ERRNO(submit(context.id, 1, &one), EINVAL);
  one = (iocb*)16;
  CHECK_ERRNO(submit(context.id, 1, &one), EFAULT);
  CHECK_ERRNO(submit(context.id, -1, &one), EINVAL);
  CHECK_EQ(submit(context.id, 0, &one), 0);
  iocb* some[] = {&good, &no_file, &good};
  CHECK_EQ(submit(context.id, 3, some), 1);
  io_event event;
  CHECK_EQ(events_of(context.id, 1, 1, &event, nullptr), 1);
  CHECK_EQ(event.res, 0);
}
PROPERTY(waiting_ends_in_time) {
  Context context;
  io_event event;
  timespec none = {}, moment = {0, 20'000'000};
  CHECK_EQ(events_of(context.id, 1, 1, &event, &none), 0);
  CHECK_EQ(events_of(context.id, 1, 1, &event, &moment), 0);
  CHECK_ERRNO(events_of(context.id, 2, 1, &event, &none), EINVAL);
  CHECK_ERRNO(events_of(context.id, -1, 1, &event, &none), EINVAL);
}
PROPERTY(another_thread_may_submit_what_is_waited_for) {
  Context context;
  UnnamedFile file;
  char bytes[] = "late";
  std::thread other([&] {
    usleep(30000);
    iocb one = request(IOCB_CMD_PWRITE, file, bytes, 4, 0, 77);
    iocb* list = &one;
    submit(context.id, 1, &list);
  });
  io_event event = {};
  CHECK_EQ(events_of(context.id, 1, 1, &event, nullptr), 1);
  other.join();
  CHECK_EQ(event.data, 77u);
  CHECK_EQ(event.res, 4);
}
PROPERTY(a_signal_ends_the_waiting) {
  Context context;
  struct sigaction action = {};
  action.sa_handler = [](int) {};
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, nullptr);
  ualarm(30000, 0);
  io_event event;
  CHECK_ERRNO(events_of(context.id, 1, 1, &event, nullptr), EINTR);
  signal(SIGALRM, SIG_DFL);
}
PROPERTY(an_eventfd_is_told) {
  Context context;
  UnnamedFile file;
  int told = eventfd(0, EFD_NONBLOCK);
  char byte = 'x';
  iocb one = request(IOCB_CMD_PWRITE, file, &byte, 1, 0);
  one.aio_flags = IOCB_FLAG_RESFD;
  one.aio_resfd = (uint32_t)told;
  iocb* list[] = {&one, &one};
  CHECK_EQ(submit(context.id, 2, list), 2);
  io_event events[2];
  CHECK_EQ(events_of(context.id, 2, 2, events, nullptr), 2);
  uint64_t count = 0;
  CHECK_EQ(read(told, &count, sizeof count), 8);
  CHECK_EQ(count, 2u);
  one.aio_resfd = (uint32_t)(int)file;
  CHECK_ERRNO(submit(context.id, 1, list), EINVAL);
  close(told);
}
PROPERTY(a_child_has_no_contexts) {
  Context context;
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) _exit(submit(context.id, 0, nullptr) == -1 && errno == EINVAL ? 42 : 1);
  int status = 0;
  waitpid(pid, &status, 0);
  CHECK_EQ(WEXITSTATUS(status), 42);
}
