// io_uring, by its system calls alone.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <vector>

#include "check.hpp"
#include "unnamed_file.hpp"

namespace {

struct Ring {
  int fd = -1;
  io_uring_params params{};
  char* rings = nullptr;
  io_uring_sqe* sqes = nullptr;
  std::atomic<unsigned>*sq_tail, *cq_head, *cq_tail;
  unsigned *sq_array, sq_mask, cq_mask;
  io_uring_cqe* cqes;
  unsigned queued = 0;

  bool open(unsigned entries, unsigned flags = 0, unsigned cq_entries = 0) {
    params.flags = flags;
    params.cq_entries = cq_entries;
    fd = (int)syscall(SYS_io_uring_setup, entries, &params);
    if (fd < 0) return false;
    size_t length = params.sq_off.array + params.sq_entries * 4;
    size_t cq_length = params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe);
    rings = (char*)mmap(nullptr, length > cq_length ? length : cq_length, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_SQ_RING);
    sqes = (io_uring_sqe*)mmap(nullptr, params.sq_entries * sizeof(io_uring_sqe),
                               PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);
    if (rings == MAP_FAILED || sqes == MAP_FAILED) return false;
    sq_tail = (std::atomic<unsigned>*)(rings + params.sq_off.tail);
    sq_mask = *(unsigned*)(rings + params.sq_off.ring_mask);
    sq_array = (unsigned*)(rings + params.sq_off.array);
    cq_head = (std::atomic<unsigned>*)(rings + params.cq_off.head);
    cq_tail = (std::atomic<unsigned>*)(rings + params.cq_off.tail);
    cq_mask = *(unsigned*)(rings + params.cq_off.ring_mask);
    cqes = (io_uring_cqe*)(rings + params.cq_off.cqes);
    return true;
  }
  ~Ring() { close(fd); }
  io_uring_sqe& next(int opcode, int file, uint64_t data) {
    unsigned tail = sq_tail->load() + queued++;
    sq_array[tail & sq_mask] = tail & sq_mask;
    io_uring_sqe& sqe = sqes[tail & sq_mask];
    memset(&sqe, 0, sizeof sqe);
    sqe.opcode = opcode;
    sqe.fd = file;
    sqe.user_data = data;
    return sqe;
  }
  int submit(unsigned wait = 0) {
    unsigned count = queued;
    sq_tail->fetch_add(queued);
    queued = 0;
    return (int)syscall(SYS_io_uring_enter, fd, count, wait, wait ? IORING_ENTER_GETEVENTS : 0,
                        nullptr, 0);
  }
  unsigned ready() { return cq_tail->load() - cq_head->load(); }
  bool take(io_uring_cqe& out) {
    if (ready() == 0) syscall(SYS_io_uring_enter, fd, 0, 1, IORING_ENTER_GETEVENTS, nullptr, 0);
    if (ready() == 0) return false;
    out = cqes[cq_head->load() & cq_mask];
    cq_head->fetch_add(1);
    return true;
  }
  // The result of the one completion with this data; others are dropped.
  int result(uint64_t data) {
    io_uring_cqe cqe;
    while (take(cqe))
      if (cqe.user_data == data) return cqe.res;
    return -9999;
  }
  // One operation from start to end.
  int run() { return submit(1) == 1 ? result(1) : -8888; }
};

int temporary_file() { return unnamed_file(O_RDWR); }

__kernel_timespec milliseconds(int count) { return {count / 1000, count % 1000 * 1000000LL}; }

}  // namespace

PROPERTY(setup_reports_sizes_and_features) {
  Ring ring;
  CHECK(ring.open(5));
  CHECK_EQ(ring.params.sq_entries, 8u);
  CHECK_EQ(ring.params.cq_entries, 16u);
  CHECK(ring.params.features & IORING_FEAT_SINGLE_MMAP);
  CHECK(ring.params.features & IORING_FEAT_NODROP);
  CHECK(ring.params.features & IORING_FEAT_EXT_ARG);
  CHECK_EQ(fcntl(ring.fd, F_GETFD), FD_CLOEXEC);
}

PROPERTY(setup_refuses_bad_arguments) {
  io_uring_params params{};
  CHECK_ERRNO(syscall(SYS_io_uring_setup, 0, &params), EINVAL);
  CHECK_ERRNO(syscall(SYS_io_uring_setup, 1 << 20, &params), EINVAL);
  CHECK_ERRNO(syscall(SYS_io_uring_setup, 8, nullptr), EFAULT);
  params.flags = 1u << 31;
  CHECK_ERRNO(syscall(SYS_io_uring_setup, 8, &params), EINVAL);
  CHECK_ERRNO(syscall(SYS_io_uring_enter, 0, 0, 0, 0, nullptr, 0), EOPNOTSUPP);
  CHECK_ERRNO(syscall(SYS_io_uring_enter, 999, 0, 0, 0, nullptr, 0), EBADF);
}

PROPERTY(clamp_and_cq_size) {
  Ring ring;
  CHECK(ring.open(4, IORING_SETUP_CQSIZE, 100));
  CHECK_EQ(ring.params.cq_entries, 128u);
  io_uring_params params{};
  params.flags = IORING_SETUP_CLAMP;
  int fd = (int)syscall(SYS_io_uring_setup, 1 << 20, &params);
  CHECK(fd >= 0);
  CHECK_EQ(params.sq_entries, 32768u);
  close(fd);
}

PROPERTY(nop_completes) {
  Ring ring;
  CHECK(ring.open(4));
  ring.next(IORING_OP_NOP, -1, 1);
  CHECK_EQ(ring.run(), 0);
}

PROPERTY(unknown_operations_are_einval) {
  Ring ring;
  CHECK(ring.open(4));
  ring.next(200, -1, 1);
  CHECK_EQ(ring.run(), -EINVAL);
  ring.next(IORING_OP_READ, 999, 1);
  CHECK_EQ(ring.run(), -EBADF);
}

PROPERTY(read_and_write_at_offsets) {
  Ring ring;
  CHECK(ring.open(4));
  int fd = temporary_file();
  char text[] = "completion", back[16] = {};
  auto& write = ring.next(IORING_OP_WRITE, fd, 1);
  write.addr = (uint64_t)text;
  write.len = 10;
  write.off = 4096;
  CHECK_EQ(ring.run(), 10);
  auto& read = ring.next(IORING_OP_READ, fd, 1);
  read.addr = (uint64_t)back;
  read.len = 16;
  read.off = 4096;
  CHECK_EQ(ring.run(), 10);
  CHECK_EQ(memcmp(text, back, 10), 0);
  close(fd);
}

PROPERTY(offset_minus_one_moves_the_position) {
  Ring ring;
  CHECK(ring.open(4));
  int fd = temporary_file();
  char text[] = "abcdef";
  for (int i = 0; i < 2; ++i) {
    auto& write = ring.next(IORING_OP_WRITE, fd, 1);
    write.addr = (uint64_t)text;
    write.len = 3;
    write.off = (uint64_t)-1;
    CHECK_EQ(ring.run(), 3);
  }
  CHECK_EQ(lseek(fd, 0, SEEK_CUR), 6);
  close(fd);
}

PROPERTY(vectors_fixed_buffers_and_files) {
  Ring ring;
  CHECK(ring.open(4));
  int fd = temporary_file();
  char buffer[64] = "registered";
  iovec whole{buffer, sizeof buffer};
  CHECK_EQ(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &whole, 1), 0);
  CHECK_ERRNO(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &whole, 1), EBUSY);
  CHECK_EQ(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES, &fd, 1), 0);
  auto& write = ring.next(IORING_OP_WRITE_FIXED, 0, 1);
  write.flags = IOSQE_FIXED_FILE;
  write.addr = (uint64_t)buffer;
  write.len = 10;
  CHECK_EQ(ring.run(), 10);
  auto& outside = ring.next(IORING_OP_READ_FIXED, fd, 1);
  outside.addr = (uint64_t)buffer + 60;
  outside.len = 10;
  CHECK_EQ(ring.run(), -EFAULT);
  char a[4], b[8];
  iovec parts[2] = {{a, 4}, {b, 8}};
  auto& readv = ring.next(IORING_OP_READV, fd, 1);
  readv.addr = (uint64_t)parts;
  readv.len = 2;
  CHECK_EQ(ring.run(), 10);
  CHECK_EQ(memcmp(b, "stered", 6), 0);
  auto& bad = ring.next(IORING_OP_READV, 7, 1);
  bad.flags = IOSQE_FIXED_FILE;
  CHECK_EQ(ring.run(), -EBADF);
  CHECK_EQ(syscall(SYS_io_uring_register, ring.fd, IORING_UNREGISTER_FILES, nullptr, 0), 0);
  CHECK_ERRNO(syscall(SYS_io_uring_register, ring.fd, IORING_UNREGISTER_FILES, nullptr, 0), ENXIO);
  close(fd);
}

PROPERTY(fsync_and_fallocate) {
  Ring ring;
  CHECK(ring.open(4));
  int fd = temporary_file();
  auto& allocate = ring.next(IORING_OP_FALLOCATE, fd, 1);
  allocate.addr = 5000;
  CHECK_EQ(ring.run(), 0);
  struct stat status;
  CHECK_EQ(fstat(fd, &status), 0);
  CHECK_EQ(status.st_size, 5000);
  ring.next(IORING_OP_FSYNC, fd, 1);
  CHECK_EQ(ring.run(), 0);
  close(fd);
}

PROPERTY(a_read_of_an_empty_pipe_waits) {
  Ring ring;
  CHECK(ring.open(4));
  int fds[2];
  CHECK_EQ(pipe(fds), 0);
  char buffer[8] = {};
  auto& read = ring.next(IORING_OP_READ, fds[0], 7);
  read.addr = (uint64_t)buffer;
  read.len = 8;
  CHECK_EQ(ring.submit(), 1);
  CHECK_EQ(ring.ready(), 0u);
  CHECK_EQ(write(fds[1], "late", 4), 4);
  CHECK_EQ(ring.result(7), 4);
  CHECK_EQ(memcmp(buffer, "late", 4), 0);
  close(fds[0]);
  close(fds[1]);
}

PROPERTY(a_nonblocking_pipe_is_waited_for_unless_told) {
  Ring ring;
  CHECK(ring.open(4));
  int fds[2];
  CHECK_EQ(pipe2(fds, O_NONBLOCK), 0);
  char buffer[8];
  auto& now = ring.next(IORING_OP_READ, fds[0], 1);
  now.addr = (uint64_t)buffer;
  now.len = 8;
  now.rw_flags = RWF_NOWAIT;
  CHECK_EQ(ring.run(), -EAGAIN);
  auto& read = ring.next(IORING_OP_READ, fds[0], 2);
  read.addr = (uint64_t)buffer;
  read.len = 8;
  CHECK_EQ(ring.submit(), 1);
  CHECK_EQ(ring.ready(), 0u);
  CHECK_EQ(write(fds[1], "x", 1), 1);
  CHECK_EQ(ring.result(2), 1);
  close(fds[0]);
  close(fds[1]);
}

PROPERTY(poll_add_and_remove) {
  Ring ring;
  CHECK(ring.open(4));
  int fd = eventfd(0, 0);
  ring.next(IORING_OP_POLL_ADD, fd, 5).poll32_events = POLLIN;
  CHECK_EQ(ring.submit(), 1);
  CHECK_EQ(ring.ready(), 0u);
  CHECK_EQ(eventfd_write(fd, 1), 0);
  CHECK_EQ(ring.result(5), POLLIN);
  eventfd_t value;
  eventfd_read(fd, &value);
  ring.next(IORING_OP_POLL_ADD, fd, 6).poll32_events = POLLIN;
  CHECK_EQ(ring.submit(), 1);
  ring.next(IORING_OP_POLL_REMOVE, -1, 1).addr = 6;
  CHECK_EQ(ring.submit(2), 1);
  int removed = 1, polled = 1;
  io_uring_cqe cqe;
  for (int i = 0; i < 2 && ring.take(cqe); ++i) (cqe.user_data == 6 ? polled : removed) = cqe.res;
  CHECK_EQ(removed, 0);
  CHECK_EQ(polled, -ECANCELED);
  ring.next(IORING_OP_POLL_REMOVE, -1, 1).addr = 77;
  CHECK_EQ(ring.run(), -ENOENT);
  close(fd);
}

PROPERTY(multishot_poll_completes_again) {
  Ring ring;
  CHECK(ring.open(4));
  int fd = eventfd(0, 0);
  auto& poll = ring.next(IORING_OP_POLL_ADD, fd, 5);
  poll.poll32_events = POLLIN;
  poll.len = IORING_POLL_ADD_MULTI;
  CHECK_EQ(ring.submit(), 1);
  for (int i = 0; i < 3; ++i) {
    CHECK_EQ(eventfd_write(fd, 1), 0);
    io_uring_cqe cqe;
    CHECK(ring.take(cqe));
    CHECK_EQ(cqe.res, POLLIN);
    CHECK(cqe.flags & IORING_CQE_F_MORE);
    eventfd_t value;
    eventfd_read(fd, &value);
  }
  close(fd);
}

PROPERTY(timeouts_expire_count_and_go) {
  Ring ring;
  CHECK(ring.open(8));
  auto time = milliseconds(20);
  auto& expires = ring.next(IORING_OP_TIMEOUT, -1, 1);
  expires.addr = (uint64_t)&time;
  expires.len = 1;
  CHECK_EQ(ring.run(), -ETIME);
  auto long_time = milliseconds(60000);
  auto& counts = ring.next(IORING_OP_TIMEOUT, -1, 2);
  counts.addr = (uint64_t)&long_time;
  counts.len = 1;
  counts.off = 1;
  ring.next(IORING_OP_NOP, -1, 3);
  CHECK_EQ(ring.submit(2), 2);
  CHECK_EQ(ring.result(2), 0);
  auto& removed = ring.next(IORING_OP_TIMEOUT, -1, 4);
  removed.addr = (uint64_t)&long_time;
  removed.len = 1;
  CHECK_EQ(ring.submit(), 1);
  ring.next(IORING_OP_TIMEOUT_REMOVE, -1, 5).addr = 4;
  CHECK_EQ(ring.submit(2), 1);
  int first = ring.result(4);
  CHECK_EQ(first, -ECANCELED);
  auto& bad = ring.next(IORING_OP_TIMEOUT, -1, 1);
  bad.len = 2;
  CHECK_EQ(ring.run(), -EINVAL);
}

PROPERTY(links_run_in_order_and_break) {
  Ring ring;
  CHECK(ring.open(8));
  int fd = temporary_file();
  char out[] = "linked", in[8] = {};
  auto& write = ring.next(IORING_OP_WRITE, fd, 1);
  write.addr = (uint64_t)out;
  write.len = 6;
  write.flags = IOSQE_IO_LINK;
  auto& read = ring.next(IORING_OP_READ, fd, 2);
  read.addr = (uint64_t)in;
  read.len = 6;
  CHECK_EQ(ring.submit(2), 2);
  CHECK_EQ(ring.result(2), 6);
  CHECK_EQ(memcmp(in, "linked", 6), 0);

  auto& fails = ring.next(IORING_OP_READ, fd, 3);
  fails.addr = (uint64_t)in;
  fails.len = 8;  // short: breaks the chain
  fails.off = 0;
  fails.flags = IOSQE_IO_LINK;
  ring.next(IORING_OP_NOP, -1, 4);
  CHECK_EQ(ring.submit(2), 2);
  CHECK_EQ(ring.result(4), -ECANCELED);

  auto& hard = ring.next(IORING_OP_READ, fd, 5);
  hard.addr = (uint64_t)in;
  hard.len = 8;
  hard.flags = IOSQE_IO_HARDLINK;
  ring.next(IORING_OP_NOP, -1, 6);
  CHECK_EQ(ring.submit(2), 2);
  CHECK_EQ(ring.result(6), 0);
  close(fd);
}

PROPERTY(a_link_timeout_ends_a_read) {
  Ring ring;
  CHECK(ring.open(8));
  int fds[2];
  CHECK_EQ(pipe(fds), 0);
  char buffer[8];
  auto time = milliseconds(20);
  auto& read = ring.next(IORING_OP_READ, fds[0], 1);
  read.addr = (uint64_t)buffer;
  read.len = 8;
  read.flags = IOSQE_IO_LINK;
  auto& timeout = ring.next(IORING_OP_LINK_TIMEOUT, -1, 2);
  timeout.addr = (uint64_t)&time;
  timeout.len = 1;
  CHECK_EQ(ring.submit(2), 2);
  int results[3] = {};
  io_uring_cqe cqe;
  for (int i = 0; i < 2 && ring.take(cqe); ++i) results[cqe.user_data] = cqe.res;
  CHECK_EQ(results[1], -ECANCELED);
  CHECK_EQ(results[2], -ETIME);

  auto& quick = ring.next(IORING_OP_NOP, -1, 1);
  quick.flags = IOSQE_IO_LINK;
  auto& unused = ring.next(IORING_OP_LINK_TIMEOUT, -1, 2);
  unused.addr = (uint64_t)&time;
  unused.len = 1;
  CHECK_EQ(ring.submit(2), 2);
  for (int i = 0; i < 2 && ring.take(cqe); ++i) results[cqe.user_data] = cqe.res;
  CHECK_EQ(results[1], 0);
  CHECK_EQ(results[2], -ECANCELED);
  close(fds[0]);
  close(fds[1]);
}

PROPERTY(a_drain_waits_for_all_before) {
  Ring ring;
  CHECK(ring.open(8));
  int fds[2];
  CHECK_EQ(pipe(fds), 0);
  char buffer[8];
  auto& read = ring.next(IORING_OP_READ, fds[0], 1);
  read.addr = (uint64_t)buffer;
  read.len = 8;
  ring.next(IORING_OP_NOP, -1, 2).flags = IOSQE_IO_DRAIN;
  ring.next(IORING_OP_NOP, -1, 3);
  CHECK_EQ(ring.submit(), 3);
  CHECK_EQ(ring.ready(), 0u);
  CHECK_EQ(write(fds[1], "x", 1), 1);
  io_uring_cqe cqe;
  for (uint64_t expected = 1; expected <= 3; ++expected) {
    CHECK(ring.take(cqe));
    CHECK_EQ(cqe.user_data, expected);
  }
  close(fds[0]);
  close(fds[1]);
}

PROPERTY(cancel_by_data_and_by_file) {
  Ring ring;
  CHECK(ring.open(8));
  int fds[2];
  CHECK_EQ(pipe(fds), 0);
  char buffer[8];
  for (uint64_t data : {11, 12, 13}) {
    auto& read = ring.next(IORING_OP_READ, fds[0], data);
    read.addr = (uint64_t)buffer;
    read.len = 8;
  }
  CHECK_EQ(ring.submit(), 3);
  ring.next(IORING_OP_ASYNC_CANCEL, -1, 1).addr = 11;
  CHECK_EQ(ring.submit(2), 1);
  CHECK_EQ(ring.result(11), -ECANCELED);
  auto& all = ring.next(IORING_OP_ASYNC_CANCEL, fds[0], 2);
  all.cancel_flags = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL;
  CHECK_EQ(ring.submit(3), 1);
  int sum = 0;
  io_uring_cqe cqe;
  for (int i = 0; i < 4 && ring.ready() && ring.take(cqe); ++i)
    if (cqe.user_data == 12 || cqe.user_data == 13) sum += cqe.res;
  CHECK_EQ(sum, -2 * ECANCELED);
  ring.next(IORING_OP_ASYNC_CANCEL, -1, 1).addr = 99;
  CHECK_EQ(ring.run(), -ENOENT);
  close(fds[0]);
  close(fds[1]);
}

PROPERTY(sockets_accept_connect_send_and_receive) {
  Ring ring;
  CHECK(ring.open(8));
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  CHECK_EQ(bind(listener, (sockaddr*)&address, length), 0);
  CHECK_EQ(listen(listener, 4), 0);
  CHECK_EQ(getsockname(listener, (sockaddr*)&address, &length), 0);
  int client = socket(AF_INET, SOCK_STREAM, 0);
  ring.next(IORING_OP_ACCEPT, listener, 1);
  auto& connect = ring.next(IORING_OP_CONNECT, client, 2);
  connect.addr = (uint64_t)&address;
  connect.off = sizeof address;
  CHECK_EQ(ring.submit(2), 2);
  int results[3] = {-1, -1, -1};
  io_uring_cqe cqe;
  for (int i = 0; i < 2 && ring.take(cqe); ++i) results[cqe.user_data] = cqe.res;
  CHECK(results[1] > 0);
  CHECK_EQ(results[2], 0);
  int server = results[1];

  char in[16] = {};
  auto& receive = ring.next(IORING_OP_RECV, server, 3);
  receive.addr = (uint64_t)in;
  receive.len = sizeof in;
  CHECK_EQ(ring.submit(), 1);
  auto& send = ring.next(IORING_OP_SEND, client, 4);
  send.addr = (uint64_t)"hello";
  send.len = 5;
  CHECK_EQ(ring.submit(), 1);
  CHECK_EQ(ring.result(3), 5);
  CHECK_EQ(memcmp(in, "hello", 5), 0);

  char text[] = "message";
  iovec vector{text, 7};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  auto& send_message = ring.next(IORING_OP_SENDMSG, server, 1);
  send_message.addr = (uint64_t)&header;
  send_message.len = 1;
  CHECK_EQ(ring.run(), 7);
  char a[3], b[16];
  iovec parts[2] = {{a, 3}, {b, 16}};
  msghdr into{};
  into.msg_iov = parts;
  into.msg_iovlen = 2;
  auto& receive_message = ring.next(IORING_OP_RECVMSG, client, 1);
  receive_message.addr = (uint64_t)&into;
  receive_message.len = 1;
  CHECK_EQ(ring.run(), 7);
  CHECK_EQ(memcmp(b, "sage", 4), 0);

  auto& shut = ring.next(IORING_OP_SHUTDOWN, client, 1);
  shut.len = SHUT_WR;
  CHECK_EQ(ring.run(), 0);
  auto& end = ring.next(IORING_OP_RECV, server, 1);
  end.addr = (uint64_t)in;
  end.len = sizeof in;
  CHECK_EQ(ring.run(), 0);
  auto& wrong = ring.next(IORING_OP_SEND, 1, 1);
  wrong.addr = (uint64_t)in;
  CHECK_EQ(ring.run(), -ENOTSOCK);
  close(server);
  close(client);
  close(listener);
}

PROPERTY(wait_all_collects_a_stream) {
  Ring ring;
  CHECK(ring.open(8));
  int fds[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
  char in[8] = {};
  auto& receive = ring.next(IORING_OP_RECV, fds[0], 3);
  receive.addr = (uint64_t)in;
  receive.len = 8;
  receive.msg_flags = MSG_WAITALL;
  CHECK_EQ(ring.submit(), 1);
  CHECK_EQ(write(fds[1], "1234", 4), 4);
  CHECK_EQ(write(fds[1], "5678", 4), 4);
  CHECK_EQ(ring.result(3), 8);
  CHECK_EQ(memcmp(in, "12345678", 8), 0);
  close(fds[0]);
  close(fds[1]);
}

PROPERTY(names_open_stat_rename_unlink) {
  Ring ring;
  CHECK(ring.open(8));
  auto& make = ring.next(IORING_OP_MKDIRAT, AT_FDCWD, 1);
  make.addr = (uint64_t)"/tmp/ring-test";
  make.len = 0755;
  CHECK_EQ(ring.run(), 0);
  auto& open = ring.next(IORING_OP_OPENAT, AT_FDCWD, 1);
  open.addr = (uint64_t)"/tmp/ring-test/a";
  open.len = 0600;
  open.open_flags = O_CREAT | O_RDWR;
  int fd = ring.run();
  CHECK(fd > 0);
  ring.next(IORING_OP_CLOSE, fd, 1);
  CHECK_EQ(ring.run(), 0);
  CHECK_ERRNO(fcntl(fd, F_GETFD), EBADF);
  auto& rename = ring.next(IORING_OP_RENAMEAT, AT_FDCWD, 1);
  rename.addr = (uint64_t)"/tmp/ring-test/a";
  rename.len = (unsigned)AT_FDCWD;
  rename.addr2 = (uint64_t)"/tmp/ring-test/b";
  CHECK_EQ(ring.run(), 0);
  struct statx status;
  auto& stat = ring.next(IORING_OP_STATX, AT_FDCWD, 1);
  stat.addr = (uint64_t)"/tmp/ring-test/b";
  stat.len = STATX_BASIC_STATS;
  stat.addr2 = (uint64_t)&status;
  CHECK_EQ(ring.run(), 0);
  CHECK_EQ(status.stx_mode & 07777, 0600);
  auto& missing = ring.next(IORING_OP_UNLINKAT, AT_FDCWD, 1);
  missing.addr = (uint64_t)"/tmp/ring-test/a";
  CHECK_EQ(ring.run(), -ENOENT);
  auto& file = ring.next(IORING_OP_UNLINKAT, AT_FDCWD, 1);
  file.addr = (uint64_t)"/tmp/ring-test/b";
  CHECK_EQ(ring.run(), 0);
  auto& folder = ring.next(IORING_OP_UNLINKAT, AT_FDCWD, 1);
  folder.addr = (uint64_t)"/tmp/ring-test";
  folder.unlink_flags = AT_REMOVEDIR;
  CHECK_EQ(ring.run(), 0);
}

PROPERTY(splice_moves_from_a_file_to_a_pipe) {
  Ring ring;
  CHECK(ring.open(8));
  int fd = temporary_file(), fds[2];
  CHECK_EQ(write(fd, "0123456789", 10), 10);
  CHECK_EQ(pipe(fds), 0);
  auto& splice = ring.next(IORING_OP_SPLICE, fds[1], 1);
  splice.splice_fd_in = fd;
  splice.splice_off_in = 2;
  splice.off = (uint64_t)-1;
  splice.len = 5;
  CHECK_EQ(ring.run(), 5);
  char buffer[8];
  CHECK_EQ(read(fds[0], buffer, 8), 5);
  CHECK_EQ(memcmp(buffer, "23456", 5), 0);
  close(fd);
  close(fds[0]);
  close(fds[1]);
}

PROPERTY(completions_beyond_the_ring_are_kept) {
  Ring ring;
  CHECK(ring.open(2));
  for (uint64_t i = 0; i < 10; i += 2) {
    ring.next(IORING_OP_NOP, -1, i);
    ring.next(IORING_OP_NOP, -1, i + 1);
    CHECK_EQ(ring.submit(), 2);
  }
  CHECK_EQ(ring.ready(), 4u);
  unsigned flags = *(unsigned*)(ring.rings + ring.params.sq_off.flags);
  CHECK(flags & IORING_SQ_CQ_OVERFLOW);
  io_uring_cqe cqe;
  for (uint64_t i = 0; i < 10; ++i) {
    CHECK(ring.take(cqe));
    CHECK_EQ(cqe.user_data, i);
  }
}

PROPERTY(enter_waits_no_longer_than_told) {
  Ring ring;
  CHECK(ring.open(2));
  auto time = milliseconds(20);
  io_uring_getevents_arg argument{};
  argument.ts = (uint64_t)&time;
  CHECK_ERRNO(syscall(SYS_io_uring_enter, ring.fd, 0, 1,
                      IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &argument, sizeof argument),
              ETIME);
  CHECK_ERRNO(syscall(SYS_io_uring_enter, ring.fd, 0, 1,
                      IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &argument, 3),
              EINVAL);
}

PROPERTY(eventfd_and_poll_tell_of_completions) {
  Ring ring;
  CHECK(ring.open(2));
  int fd = eventfd(0, EFD_NONBLOCK);
  CHECK_EQ(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_EVENTFD, &fd, 1), 0);
  pollfd poller{ring.fd, POLLIN, 0};
  CHECK_EQ(poll(&poller, 1, 0), 0);
  ring.next(IORING_OP_NOP, -1, 1);
  CHECK_EQ(ring.submit(), 1);
  eventfd_t value = 0;
  CHECK_EQ(eventfd_read(fd, &value), 0);
  CHECK_EQ(value, 1u);
  CHECK_EQ(poll(&poller, 1, 0), 1);
  close(fd);
}

PROPERTY(probe_lists_operations) {
  Ring ring;
  CHECK(ring.open(2));
  std::vector<char> memory(sizeof(io_uring_probe) + 64 * sizeof(io_uring_probe_op));
  auto* probe = (io_uring_probe*)memory.data();
  CHECK_EQ(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_PROBE, probe, 64), 0);
  CHECK(probe->last_op >= IORING_OP_SHUTDOWN);
  for (int operation : {IORING_OP_NOP, IORING_OP_READ, IORING_OP_ACCEPT, IORING_OP_SPLICE})
    CHECK(probe->ops[operation].flags & IO_URING_OP_SUPPORTED);
}

PROPERTY(a_disabled_ring_must_be_enabled) {
  Ring ring;
  CHECK(ring.open(2, IORING_SETUP_R_DISABLED));
  CHECK_ERRNO(syscall(SYS_io_uring_enter, ring.fd, 0, 0, 0, nullptr, 0), EBADFD);
  CHECK_EQ(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0), 0);
  ring.next(IORING_OP_NOP, -1, 1);
  CHECK_EQ(ring.run(), 0);
}

PROPERTY(a_polled_ring_needs_no_call) {
  Ring ring;
  CHECK(ring.open(4, IORING_SETUP_SQPOLL));
  ring.next(IORING_OP_NOP, -1, 1);
  ring.sq_tail->fetch_add(1);
  ring.queued = 0;
  for (int i = 0; i < 2000 && ring.ready() == 0; ++i) usleep(1000);
  CHECK_EQ(ring.ready(), 1u);
}

PROPERTY(closing_a_ring_cancels_what_waits) {
  int fds[2];
  CHECK_EQ(pipe(fds), 0);
  {
    Ring ring;
    CHECK(ring.open(4));
    char buffer[8];
    auto& read = ring.next(IORING_OP_READ, fds[0], 1);
    read.addr = (uint64_t)buffer;
    read.len = 8;
    CHECK_EQ(ring.submit(), 1);
  }
  // Linux cancels a moment later: the read may have the first byte, but no other.
  pollfd readable{fds[0], POLLIN, 0};
  int writes = 0;
  while (writes < 3 && poll(&readable, 1, 50) == 0) writes += write(fds[1], "x", 1) == 1;
  CHECK(writes <= 2);
  close(fds[0]);
  close(fds[1]);
}

PROPERTY(many_reads_of_many_pipes) {
  Ring ring;
  CHECK(ring.open(64));
  constexpr int kPipes = 50;
  static int fds[kPipes][2];
  static char bytes[kPipes];
  for (int i = 0; i < kPipes; ++i) {
    CHECK_EQ(pipe(fds[i]), 0);
    auto& read = ring.next(IORING_OP_READ, fds[i][0], (uint64_t)i);
    read.addr = (uint64_t)&bytes[i];
    read.len = 1;
  }
  CHECK_EQ(ring.submit(), kPipes);
  for (int i = kPipes; i-- > 0;) CHECK_EQ(write(fds[i][1], "abcdefghij" + i % 10, 1), 1);
  uint64_t seen = 0;
  for (int i = 0; i < kPipes; ++i) {
    io_uring_cqe cqe;
    CHECK(ring.take(cqe));
    CHECK_EQ(cqe.res, 1);
    CHECK_EQ(bytes[cqe.user_data], 'a' + (int)cqe.user_data % 10);
    seen |= uint64_t{1} << cqe.user_data;
  }
  CHECK_EQ(seen, (uint64_t{1} << kPipes) - 1);
  for (auto& pair : fds) {
    close(pair[0]);
    close(pair[1]);
  }
}
