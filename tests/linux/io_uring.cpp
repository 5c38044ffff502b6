// io_uring: rings, and operations on files.
#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <vector>

#include "check.hpp"
#include "io_uring_ring.hpp"

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

PROPERTY(a_polled_ring_needs_no_call_but_to_wake_it) {
  Ring ring;
  ring.params.sq_thread_idle = 60'000;  // milliseconds
  CHECK(ring.open(4, IORING_SETUP_SQPOLL));
  ring.next(IORING_OP_NOP, -1, 1);
  ring.sq_tail->fetch_add(1);
  ring.queued = 0;
  // Linux' poller sleeps at once when it starts before the entry is there.
  auto& flags = *(std::atomic<unsigned>*)(ring.rings + ring.params.sq_off.flags);
  for (int i = 0; i < 20'000 && ring.ready() == 0; ++i) {
    if ((flags.load() & IORING_SQ_NEED_WAKEUP) != 0)
      CHECK(syscall(SYS_io_uring_enter, ring.fd, 0, 0, IORING_ENTER_SQ_WAKEUP, nullptr, 0) >= 0);
    usleep(1000);
  }
  CHECK_EQ(ring.ready(), 1u);
}
