#pragma once
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#include "unnamed_file.hpp"

// What the programs about io_uring share: a ring, by its system calls alone.

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

inline int temporary_file() { return unnamed_file(O_RDWR); }

inline __kernel_timespec milliseconds(int count) {
  return {count / 1000, count % 1000 * 1000000LL};
}
